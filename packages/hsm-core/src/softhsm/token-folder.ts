/**
 * Where a SoftHSM token keeps its objects: a folder for each token, below the one that softhsm2.conf names. In it lie
 * `token.object` (label, serial number, PINs), `generation`, and for each object a file and a lock file.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';
import { AntipodeError } from '@antipode/runtime';
import { parseObjectFile, type StoredAttributes } from './object-file.ts';

/** Attributes of `token.object`, of SoftHSM's own. */
export const TOKEN_ATTRIBUTE = {
  label: 0x8000_5349,
  serial: 0x8000_534a,
  flags: 0x8000_534b,
  officerKey: 0x8000_534c,
  userKey: 0x8000_534d,
} as const;

export const TOKEN_FILE = 'token.object';
export const GENERATION_FILE = 'generation';
export const OBJECT_SUFFIX = '.object';
export const LOCK_SUFFIX = '.lock';

export interface TokenFolder {
  readonly path: string;
  /** Of files that SoftHSM makes there. */
  readonly fileMode: number;
  /** Root may work for the user whose token it is. */
  readonly uid: number;
  readonly gid: number;
}

/** The folder of the token with this serial number. @throws TOKEN_STORE_UNUSABLE */
export function findTokenFolder({
  serial,
  environment = process.env,
}: {
  readonly serial: string;
  readonly environment?: Readonly<Record<string, string | undefined>>;
}): TokenFolder {
  const configuration = readConfiguration(environment);
  const backend = configuration.get('objectstore.backend') ?? 'file';
  if (backend !== 'file')
    unusable(`SoftHSM keeps its tokens in the backend "${backend}", expected "file"`, {
      hint: 'Set `objectstore.backend = file` in softhsm2.conf and make the token again. Only files can be cloned.',
    });
  const base = configuration.get('directories.tokendir') ?? '/var/lib/softhsm/tokens';
  const names = attempt(`cannot list the tokens of SoftHSM in ${base}`, () =>
    readdirSync(base, { withFileTypes: true }),
  );
  const folders = names.filter((entry) => entry.isDirectory()).map(({ name }) => join(base, name));
  const serials = folders.map((path) => [path, serialIn(path)] as const);
  const found = serials.filter(([, one]) => one === serial).map(([path]) => path);
  const [path, second] = found;
  const unread = serials.filter(([, one]) => one === 'unread').map(([one]) => basename(one));
  const others = unread.length === 0 ? '' : `; cannot read the token in ${unread.slice(0, UNREAD_MAX).join(', ')}`;
  if (path === undefined || second !== undefined)
    unusable(`${found.length} folders in ${base} have a token with serial ${serial}, expected one${others}`, {
      hint: 'Set SOFTHSM2_CONF in the `environment` of the partition to the softhsm2.conf of this token. The user of the agent must be able to read the token folder.',
    });
  const { uid, gid } = statSync(join(path, TOKEN_FILE));
  return { path, fileMode: 0o666 & ~umaskIn(configuration), uid, gid };
}

/** @throws TOKEN_STORE_UNUSABLE */
export function readTokenObject(folder: string): StoredAttributes {
  const path = join(folder, TOKEN_FILE);
  const stored = parseObjectFile(attempt(`cannot read ${path}`, () => readFileSync(path)));
  return stored?.attributes ?? unusable(`${path} is damaged, or SoftHSM is just writing it`);
}

/** The bytes of one attribute of `token.object`. */
export function tokenBytes(attributes: StoredAttributes, type: number): Buffer | undefined {
  const stored = attributes.get(type);
  return stored?.kind === 'bytes' ? stored.value : undefined;
}

export function unusable(message: string, { hint, cause }: { hint?: string; cause?: unknown } = {}): never {
  throw new AntipodeError('TOKEN_STORE_UNUSABLE', message, { cause, ...(hint === undefined ? {} : { hint }) });
}

export function attempt<T>(what: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    return unusable(`${what}: ${(cause as Error).message}`, { cause });
  }
}

/** As many are named in a message. */
const UNREAD_MAX = 3;

/**
 * Undefined where no token is. A token of somebody else, or a damaged one, holds up no other: users share the folder of
 * all tokens, and each may read only his own.
 */
function serialIn(folder: string): string | 'unread' | undefined {
  try {
    const stat = statSync(join(folder, TOKEN_FILE), { throwIfNoEntry: false });
    if (stat === undefined) return undefined;
    return tokenBytes(readTokenObject(folder), TOKEN_ATTRIBUTE.serial)?.toString('latin1').trim();
  } catch {
    return 'unread';
  }
}

/** SoftHSM's own order of places. A line is `name = value`. */
function readConfiguration(environment: Readonly<Record<string, string | undefined>>): ReadonlyMap<string, string> {
  const home = environment['HOME'] ?? homedir();
  const path =
    environment['SOFTHSM2_CONF'] ??
    [join(home, '.config/softhsm2/softhsm2.conf'), '/etc/softhsm/softhsm2.conf', '/etc/softhsm2.conf'].find(
      (one) => statSync(one, { throwIfNoEntry: false }) !== undefined,
    );
  if (path === undefined)
    unusable('there is no softhsm2.conf', { hint: 'Set SOFTHSM2_CONF in the `environment` of the partition.' });
  const text = attempt(`cannot read ${path}`, () => readFileSync(path, 'utf8'));
  const lines = text.split('\n').map((line) => /^\s*([\w.]+)\s*=\s*(.*?)\s*$/.exec(line.replace(/#.*/, '')));
  return new Map(lines.flatMap((match) => (match === null ? [] : [[match[1]!, match[2]!] as const])));
}

/** Octal, as SoftHSM reads it. */
function umaskIn(configuration: ReadonlyMap<string, string>): number {
  const umask = Number.parseInt(configuration.get('objectstore.umask') ?? '0077', 8);
  return Number.isNaN(umask) ? 0o077 : umask;
}
