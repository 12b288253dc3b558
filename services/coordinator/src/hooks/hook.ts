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

/** Some notices for operators at once. */
export interface NoticeMessage {
  readonly type: 'notices';
  /** The same each time that this message is sent. */
  readonly id: string;
  /** The worst of them: `page`, `ticket` or `info`. */
  readonly severity: string;
  /** One line for all of them. */
  readonly summary: string;
  readonly notices: readonly NoticeItem[];
  /** How many others this message has no room for. */
  readonly others: number;
  /** Its place among the messages to one receiver. Absent in tests and in messages of an earlier release. */
  readonly place?: MessagePlace;
}

/**
 * The order in which the messages to one receiver were made. A message can arrive late: from a leader that stood still,
 * or from a network that held it back. A later term comes later; within a term, a higher number does.
 */
export interface MessagePlace {
  /** Of the coordinator that made it. Not always of the one that sends it. */
  readonly term: string;
  readonly number: number;
}

export interface NoticeItem {
  /** Of the occurrence. A receiver can tell by it and by `state` what it has seen already. */
  readonly id: string;
  readonly kind: string;
  readonly state: 'raised' | 'resolved' | 'test';
  readonly severity: string;
  readonly group: string;
  readonly site: string;
  readonly text: string;
  /** A path in the documents of this release. */
  readonly runbook: string;
  /** When it began and, if it has, when it ended: ISO 8601. */
  readonly since: string;
  readonly until: string;
}

export type HookMessage = RoleChange | MoveQuestion | NoticeMessage;

export interface Answer {
  readonly isAccepted: boolean;
  /** In the words of the hook: one line, printable. */
  readonly reason: string;
  /** It was accepted for some of those it is meant for; the reason says for whom it was not. */
  readonly isPartial?: boolean;
}

export interface Hook {
  readonly name: string;
  /**
   * One call, with a time limit. The receiver may get the same message twice.
   * @throws HOOK_FAILED (of a receiver of notices: NOTICE_UNDELIVERED) if the hook did not answer: it does not start,
   * takes too long, or cannot be reached
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
export function messageId(message: HookMessage): string {
  switch (message.type) {
    case 'role-change':
      return `role-change/${message.group}/${message.epoch}`;
    case 'may-move':
      return `may-move/${message.group}/${message.epoch}/${message.toSite}`;
    case 'notices':
      return message.id;
  }
}

/** The body, in JSON. Epochs are strings, as everywhere in Antipode's JSON. */
export const bodyOf = (message: HookMessage): string =>
  JSON.stringify({
    id: messageId(message),
    ...message,
    ...('epoch' in message ? { epoch: message.epoch.toString() } : {}),
  });

/** What calls: a hook, or a receiver of notices. */
export type Caller = 'hook' | 'receiver';

export function hookFailed(name: string, reason: string, caller: Caller = 'hook'): AntipodeError {
  return new AntipodeError(
    caller === 'hook' ? 'HOOK_FAILED' : 'NOTICE_UNDELIVERED',
    `${caller} ${name} gave no answer: ${reason}`,
    { details: { [caller]: name } },
  );
}
