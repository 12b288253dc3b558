/**
 * The command lines that the driver types, as values. Long names only, since short ones differ between builds. Every
 * value is quoted. A secret is kept apart from the text, so that what is shown or kept never holds it.
 */
import { AntipodeError, type Secret } from '@antipode/runtime';

/** What a command can do to a device. Each of them takes care of its own. */
export type Effect = 'reads' | 'logs in' | 'adds' | 'destroys';

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

/** What is written to the tool. The caller wipes it. */
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

const reads = (...parts: string[]): Command => ({ parts, effect: 'reads', pace: 'command' });

export const exit = reads('exit');
export const slotList = reads('slot', 'list');
export const slotSet = (slot: number): Command => reads('slot', 'set', '-slot', String(slot));
export const partitionShowInfo = reads('partition', 'showinfo');
export const hsmShowInfo = reads('hsm', 'showinfo');
export const partitionShowPolicies = reads('partition', 'showpolicies');
export const hsmShowPolicies = reads('hsm', 'showpolicies');
export const partitionContents = reads('partition', 'contents');
export const roleShow = (role: Role): Command => reads('role', 'show', '-name', role);
export const roleLogout: Command = reads('role', 'logout');
export const archiveList = (slot: number): Command => reads('partition', 'archive', 'list', '-slot', String(slot));

/** A role without a password to type is served at the PED. With `prompted`, the password never is on a command line. */
export function roleLogin(role: Role, password: Secret | 'ped', { isPrompted }: { isPrompted: boolean }): Command {
  const parts = ['role', 'login', '-name', role];
  if (password === 'ped') return { parts, effect: 'logs in', pace: 'ped' };
  checkPassword(password);
  if (isPrompted) return { parts, effect: 'logs in', pace: 'command', prompted: password };
  return { parts: [...parts, '-password', password], effect: 'logs in', pace: 'command' };
}

interface ArchiveAddress {
  readonly slot: number;
  readonly partition: string;
  /** That of the backup partition, which is not that of its source. */
  readonly password: Secret;
}

const archive = (verb: string, { slot, partition, password }: ArchiveAddress): (string | Secret)[] => {
  checkPassword(password);
  return [
    ...['partition', 'archive', verb, '-slot', String(slot)],
    ...['-partition', quoted(partition, 'the name of a backup'), '-password', password],
  ];
};

export const archiveContents = (address: ArchiveAddress): Command => ({
  parts: archive('contents', address),
  effect: 'reads',
  pace: 'command',
});

/** Into a new backup: neither `-append` nor `-replace` is ever typed. */
export const archiveBackup = (address: ArchiveAddress): Command => ({
  parts: [...archive('backup', address), '-force'],
  effect: 'adds',
  pace: 'cloning',
});

export const archiveRestore = (address: ArchiveAddress): Command => ({
  parts: [...archive('restore', address), '-force'],
  effect: 'adds',
  pace: 'cloning',
});

export function partitionClone({ slot, password }: { slot: number; password: Secret }): Command {
  checkPassword(password);
  return {
    parts: ['partition', 'clone', '-objects', 'all', '-slot', String(slot), '-password', password, '-force'],
    effect: 'adds',
    pace: 'cloning',
  };
}

/** Destroys every object of the partition in the current slot. */
export const partitionClear = (isApproved: boolean): Command => ({
  parts: ['partition', 'clear', ...(isApproved ? ['-force'] : [])],
  effect: 'destroys',
  pace: 'command',
});

export const archiveDelete = (
  { slot, partition }: { slot: number; partition: string },
  isApproved: boolean,
): Command => ({
  parts: [
    ...['partition', 'archive', 'delete', '-slot', String(slot)],
    ...['-partition', quoted(partition, 'the name of a backup'), ...(isApproved ? ['-force'] : [])],
  ],
  effect: 'destroys',
  pace: 'command',
});
