/**
 * Hooks tell other systems where a group is served (DNS, load balancers, applications), or ask them whether it may move.
 * A hook is an executable on the machine of the coordinator, or a web address. Its message names a group, sites and the
 * token, never a key.
 */
import { AntipodeError } from '@antipode/runtime';

/** Where clients of the group must go. The same message is sent again until it was accepted. */
export interface RoleChange {
  readonly type: 'role-change';
  readonly group: string;
  readonly epoch: bigint;
  readonly site: string;
  /** PKCS#11 serial number of the token. */
  readonly serial: string;
  readonly module: string;
  readonly tokenLabel: string;
  /** The site of the epoch before; empty where there was none. */
  readonly previousSite: string;
}

/** Asked before anything is changed. */
export interface MoveQuestion {
  readonly type: 'may-move';
  readonly group: string;
  /** The epoch in force. */
  readonly epoch: bigint;
  readonly fromSite: string;
  readonly toSite: string;
  readonly cause: 'automatic' | 'operator';
  /** How many generations the move would lose. */
  readonly lostGenerations: number;
}

export type HookMessage = RoleChange | MoveQuestion;

export interface Answer {
  readonly isAccepted: boolean;
  /** In the words of the hook: one line, printable. */
  readonly reason: string;
}

export interface Hook {
  readonly name: string;
  /**
   * One call, with a time limit. The receiver may get the same message twice.
   * @throws HOOK_FAILED if the hook did not answer: it does not start, takes too long, or cannot be reached
   */
  call(message: HookMessage): Promise<Answer>;
}

/** One that may refuse a move. */
export interface Veto {
  readonly hook: Hook;
  /** The meaning of no answer. A hook that is lost together with a site must not always hold up the failover. */
  readonly ifUnanswered: 'refuse' | 'allow';
}

/** The same for every call about the same thing, so that a receiver can know what it has seen already. */
export const messageId = (message: HookMessage): string =>
  message.type === 'role-change'
    ? `role-change/${message.group}/${message.epoch}`
    : `may-move/${message.group}/${message.epoch}/${message.toSite}`;

/** The body, in JSON. Epochs are strings, as everywhere in Antipode's JSON. */
export const bodyOf = (message: HookMessage): string =>
  JSON.stringify({ id: messageId(message), ...message, epoch: message.epoch.toString() });

export function hookFailed(hook: string, reason: string): AntipodeError {
  return new AntipodeError('HOOK_FAILED', `hook ${hook} gave no answer: ${reason}`, { details: { hook } });
}
