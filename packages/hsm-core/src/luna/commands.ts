/**
 * The command lines that the driver types, as values. Long names only, since short ones differ between builds. Every
 * value is quoted. A secret is kept apart from the text, so that what is shown or kept never holds it.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { AntipodeError, invariant, type Secret } from '@antipode/runtime';
import type { Mark } from './phrases.ts';

/** The effect of a command on a device. */
export type Effect = 'reads' | 'logs in' | 'adds' | 'prepares' | 'destroys';

export interface Command {
  readonly parts: readonly (string | Secret)[];
  readonly effect: Effect;
  /** How long the tool can be silent in it. */
  readonly pace: 'command' | 'cloning' | 'ped';
  /** Answers a prompt for a password, where the session has a terminal. */
  readonly prompted?: Secret;
}

/** The roles that the driver logs in as. */
export type Role = 'co' | 'cu' | 'po' | 'so';

/** For transcripts and messages. */
export function shownOf({ parts }: Command): string {
  return parts.map((part) => (typeof part === 'string' ? part : '"********"')).join(' ');
}

/** The bytes to write to the tool. The caller wipes them. */
export function lineOf({ parts }: Command): Buffer {
  const pieces = parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : quotedSecret(part)));
  const line = Buffer.concat([...pieces.flatMap((piece, at) => (at === 0 ? [piece] : [SPACE, piece])), LINE_FEED]);
  pieces.forEach((piece) => void piece.fill(0));
  return line;
}

export const secretsOf = ({ parts, prompted }: Command): Secret[] => [
  ...parts.filter((part) => typeof part !== 'string'),
  ...(prompted === undefined ? [] : [prompted]),
];

const SPACE = Buffer.from(' ');
const LINE_FEED = Buffer.from('\n');
const QUOTE = Buffer.from('"');

/** The tool has no way to quote these. In a line of its own, the rest of a value would be a command. */
const UNQUOTABLE = ['"', '\r', '\n', '\0'];

function quoted(value: string, what: string): string {
  if (UNQUOTABLE.some((one) => value.includes(one)))
    throw new AntipodeError('CONFIG_INVALID', `${what} has a double quote, a line break or a zero byte in it`);
  return `"${value}"`;
}

function quotedSecret(secret: Secret): Buffer {
  return secret.expose((bytes) => Buffer.concat([QUOTE, bytes, QUOTE]));
}

/** @throws CONFIG_INVALID if the tool could not take the password as one word */
export function checkPassword(secret: Secret): void {
  const isUnquotable = secret.expose((bytes) => UNQUOTABLE.some((one) => bytes.includes(one)));
  if (isUnquotable)
    throw new AntipodeError('CONFIG_INVALID', 'the password has a double quote, a line break or a zero byte in it', {
      hint: 'lunacm cannot take such a password. Change it at the device. No login was tried.',
    });
}

/** Whole command lines with places for values, as data: the form of some is recalled, and not confirmed. */
const FORMS = JSON.parse(readFileSync(join(import.meta.dirname, 'forms.json'), 'utf8')) as Record<
  string,
  { readonly form: string; readonly mark: Mark; readonly source: string }
>;

type Values = Readonly<Record<string, string | Secret>>;

function partsOf(name: string, values: Values): (string | Secret)[] {
  const form = FORMS[name]?.form;
  invariant(form !== undefined, `there is no form of the command ${name}`);
  return form.split(' ').map((word) => {
    const [, place] = /^\{(\w+)\}$/.exec(word) ?? [];
    if (place === undefined) return word;
    const value = values[place];
    invariant(value !== undefined, `the command ${name} has no value for ${place}`);
    if (typeof value !== 'string') checkPassword(value);
    return value;
  });
}

/** The forms that nobody has confirmed on a device. */
export const recalledFormNames = (): string[] =>
  Object.entries(FORMS).flatMap(([name, { mark }]) => (mark === 'K' ? [name] : []));

const reads = (name: string, values: Values = {}): Command => ({
  parts: partsOf(name, values),
  effect: 'reads',
  pace: 'command',
});

const moves = (name: string, values: Values): Command => ({
  parts: partsOf(name, values),
  effect: 'adds',
  pace: 'cloning',
});

const destroys = (name: string, values: Values = {}): Command => ({
  parts: partsOf(name, values),
  effect: 'destroys',
  pace: 'command',
});

const prepares = (name: string, values: Values): Command => ({
  parts: partsOf(name, values),
  effect: 'prepares',
  pace: 'command',
});

export const exit = reads('exit');
export const slotList = reads('slotList');
export const slotSet = (slot: number): Command => reads('slotSet', { slot: `${slot}` });
export const partitionShowInfo = reads('partitionShowInfo');
export const hsmShowInfo = reads('hsmShowInfo');
export const partitionShowPolicies = reads('partitionShowPolicies');
export const hsmShowPolicies = reads('hsmShowPolicies');
export const partitionContents = reads('partitionContents');
export const roleShow = (role: Role): Command => reads('roleShow', { role });
export const roleLogout = reads('roleLogout');

/** A role without a password to type is served at the PED. With `prompted`, the password never is on a command line. */
export function roleLogin(role: Role, password: Secret | 'ped', { isPrompted }: { isPrompted: boolean }): Command {
  if (password !== 'ped') checkPassword(password);
  const isTyped = password !== 'ped' && !isPrompted;
  return {
    parts: isTyped ? partsOf('roleLogin', { role, password }) : partsOf('roleLoginAsking', { role }),
    effect: 'logs in',
    pace: password === 'ped' ? 'ped' : 'command',
    ...(password !== 'ped' && isPrompted ? { prompted: password } : {}),
  };
}

/** Erases the device in the current slot and gives it a label, an officer and a domain. The tool asks first. */
export const hsmInit = ({ label, password, domain }: { label: string; password: Secret; domain: Secret }): Command =>
  destroys('hsmInit', { label: quoted(label, 'the label of a vault'), password, domain });

export const changeHsmPolicy = ({ policy, value }: { policy: number; value: number }): Command =>
  prepares('changeHsmPolicy', { policy: `${policy}`, value: `${value}` });

/** The tool shows another string, and asks whether it is the one that came with the device. */
export const stmRecover = (random: string): Command =>
  prepares('stmRecover', { random: quoted(random, 'the random user string') });

export interface ArchiveAddress {
  readonly slot: number;
  readonly partition: string;
  /** The password of the backup partition, not of its source. */
  readonly password: Secret;
}

const valuesOf = ({ slot, partition, password }: ArchiveAddress): Values => ({
  ...{ slot: `${slot}`, partition: quoted(partition, 'the name of a backup') },
  password,
});

export const archiveList = (slot: number): Command => reads('archiveList', { slot: `${slot}` });
export const archiveContents = (address: ArchiveAddress): Command => reads('archiveContents', valuesOf(address));

/** Into a new backup: neither `-append` nor `-replace` is ever typed. */
export const archiveBackup = (address: ArchiveAddress): Command => moves('archiveBackup', valuesOf(address));
export const archiveRestore = (address: ArchiveAddress): Command => moves('archiveRestore', valuesOf(address));

/** Of all objects, or of those with these handles at the source. */
export function partitionClone({
  slot,
  password,
  handles,
}: {
  slot: number;
  password: Secret;
  handles?: readonly string[];
}): Command {
  const values = { slot: `${slot}`, password };
  return handles === undefined
    ? moves('partitionClone', values)
    : moves('partitionCloneObjects', { ...values, handles: handles.join(',') });
}

/** Destroys every object of the partition in the current slot. Without an approval, the tool asks first. */
export const partitionClear = (isApproved: boolean): Command =>
  destroys(isApproved ? 'partitionClear' : 'partitionClearAsking');

export const archiveDelete = ({ slot, partition }: { slot: number; partition: string }): Command =>
  destroys('archiveDelete', { slot: `${slot}`, partition: quoted(partition, 'the name of a backup') });
