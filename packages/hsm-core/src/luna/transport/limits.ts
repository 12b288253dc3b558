/**
 * How long `lunacm` can be silent before it counts as hanging, from the client's own settings. A limit on the whole run
 * would be wrong: a backup of 5,000 objects takes long, and is never silent.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { AntipodeError } from '@antipode/runtime';

export interface SilenceLimits {
  readonly startMs: number;
  readonly commandMs: number;
  readonly cloningMs: number;
  readonly pedMs: number;
  /** After what looks like a question that nobody knows. */
  readonly questionMs: number;
}

export interface ClientSettings {
  readonly limits: SilenceLimits;
  /** The client hides the members of its high availability. */
  readonly isHaOnly: boolean;
  /** Files of certificates that the client names: its own, and those of the appliances. */
  readonly certificates: readonly string[];
}

/** The client's own values for settings that its file does not have, in milliseconds. */
const DEFAULTS = {
  receive: 20_000,
  command: 500_000,
  cloning: 300_000,
  ped: 720_000,
} as const;

/** The tool gives up at its own limit and says so. A margin lets it do that. */
const MARGIN_MS = 30_000;

/** A question without an answer blocks for ever, while a line that is only written slowly goes on. */
const QUESTION_MS = 30_000;

type Sections = ReadonlyMap<string, ReadonlyMap<string, string>>;

export function clientSettingsIn(text: string): ClientSettings {
  const sections = sectionsIn(text);
  const msOf = (name: string, otherwise: number): number => {
    const value = sections.get('luna')?.get(name.toLowerCase());
    return value !== undefined && /^\d{1,9}$/.test(value) ? Number(value) : otherwise;
  };
  const net = sections.get('lunasa client') ?? new Map<string, string>();
  const servers = [...net.keys()].filter((key) => /^servername\d+$/.test(key)).length;
  const receive = net.get('receivetimeout') ?? '';
  const receiveMs = /^\d{1,9}$/.test(receive) ? Number(receive) : DEFAULTS.receive;
  return {
    isHaOnly: sections.get('haconfiguration')?.get('haonly') === '1',
    certificates: ['clientcertfile', 'servercafile'].flatMap((key) => net.get(key) || []),
    limits: {
      startMs: Math.max(1, servers) * receiveMs + MARGIN_MS,
      commandMs: msOf('DefaultTimeOut', DEFAULTS.command) + MARGIN_MS,
      cloningMs: msOf('CloningCommandTimeOut', DEFAULTS.cloning) + MARGIN_MS,
      pedMs: msOf('CommandTimeOutPedSet', DEFAULTS.ped) + MARGIN_MS,
      questionMs: QUESTION_MS,
    },
  };
}

/**
 * Reads `Chrystoki.conf` of a folder. It is never written.
 * @throws FILE_UNWRITABLE if it cannot be read
 */
export function readClientSettings(folder: string): ClientSettings {
  const path = join(folder, 'Chrystoki.conf');
  if (!existsSync(path)) return clientSettingsIn('');
  try {
    return clientSettingsIn(readFileSync(path, 'utf8'));
  } catch (cause) {
    throw new AntipodeError('FILE_UNWRITABLE', `cannot read ${path}`, { details: { path }, cause });
  }
}

/** `Section = {` and `Key = value;` of Unix, or `[Section]` and `Key=value` of Windows. Names without regard to case. */
function sectionsIn(text: string): Sections {
  const sections = new Map<string, Map<string, string>>();
  let current: Map<string, string> | undefined;
  for (const line of text.split(/\r?\n/)) {
    const [, section] = /^\s*([^={}]+?)\s*=\s*\{/.exec(line) ?? /^\s*\[([^\]]+)\]/.exec(line) ?? [];
    if (section !== undefined) {
      current = sections.get(section.toLowerCase()) ?? new Map<string, string>();
      sections.set(section.toLowerCase(), current);
      continue;
    }
    const [, key, value] = /^\s*([^=#]+?)\s*=\s*(.*?)\s*;?\s*$/s.exec(line) ?? [];
    if (key !== undefined && value !== undefined) current?.set(key.toLowerCase(), value);
  }
  return sections;
}
