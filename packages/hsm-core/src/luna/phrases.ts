/**
 * The texts by which the driver reads `lunacm`. They are data, because some of them are recalled and nobody has confirmed
 * them on a device: a first user with hardware replaces the file, and no code.
 *
 * Marks: `C` was read in a capture or at the vendor, `I` was deduced from a script that works, `K` is recalled.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { AntipodeError } from '@antipode/runtime';

/** The reasons for a refusal that have a known text. */
export const REFUSALS = [
  'domainMismatch',
  'wrongPassword',
  'roleLocked',
  'alreadyLoggedIn',
  'passwordExpired',
  'transportMode',
  'noSpace',
  'duplicate',
  'restricted',
  'notLoggedIn',
] as const;

const NAMES = [
  'prompt',
  'trailer',
  'success',
  'hexCode',
  'symbol',
  'errorLine',
  'banner',
  'confirmation',
  'passwordPrompt',
  'anyPrompt',
  'pedWait',
  'notInitialised',
  'lockedOut',
  'activated',
  'attemptsLeft',
  'authentication',
  'fipsOff',
  'fipsOn',
  'objectList',
  'objectCount',
  'privateKeyType',
  'secretKeyType',
  'partitionCount',
  'archiveName',
  'archiveTotal',
  'archiveUsed',
  'archiveObjects',
  'vaultFree',
  'policyLine',
  'policiesHeading',
  'capabilitiesHeading',
  'virtualSlot',
  'transportStatus',
  'verificationString',
  'fmOn',
  'fmOff',
  ...REFUSALS,
  'otherTool',
  'unknownCommand',
] as const;

export type PhraseName = (typeof NAMES)[number];
export type Mark = 'C' | 'I' | 'K';

export interface Phrase {
  readonly pattern: RegExp;
  readonly mark: Mark;
  readonly source: string;
}

export type Phrases = Readonly<Record<PhraseName, Phrase>>;

/**
 * Without regard to case, since builds differ in it. A dot is every character: a phrase is matched with one line, and a
 * label in it may hold U+2028.
 */
const FLAGS = 'is';

/**
 * Reads phrases from a file, or those that come with the program.
 * @throws CONFIG_INVALID if a phrase is missing, unknown or not a regular expression
 */
export function readPhrases(path = join(import.meta.dirname, 'phrases.json')): Phrases {
  const refuse = (why: string, cause?: unknown): never => {
    throw new AntipodeError('CONFIG_INVALID', `${path}: ${why}`, { details: { path }, cause });
  };
  const found = parsed(path, refuse);
  const unknown = Object.keys(found).filter((name) => !NAMES.some((known) => known === name));
  if (unknown.length > 0) refuse(`unknown phrase ${unknown[0]}`);
  const phraseOf = (name: PhraseName): [PhraseName, Phrase] => {
    const { pattern, mark, source } = found[name] ?? refuse(`the phrase ${name} is missing`);
    if (typeof pattern !== 'string' || typeof source !== 'string') return refuse(`the phrase ${name} is incomplete`);
    if (mark !== 'C' && mark !== 'I' && mark !== 'K') return refuse(`the mark of ${name} is not C, I or K`);
    try {
      return [name, { pattern: new RegExp(pattern, FLAGS), mark, source }];
    } catch (cause) {
      return refuse(`the phrase ${name} is not a regular expression`, cause);
    }
  };
  return Object.fromEntries(NAMES.map(phraseOf)) as Record<PhraseName, Phrase>;
}

type Raw = Record<string, { pattern?: unknown; mark?: unknown; source?: unknown } | undefined>;

function parsed(path: string, refuse: (why: string, cause?: unknown) => never): Raw {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Raw;
  } catch (cause) {
    return refuse('cannot be read as JSON', cause);
  }
}
