/**
 * Tells each receiver what it must know, until it has accepted it. The database has the notices, and the last state of
 * each that a receiver has accepted, so no restart and no change of leader loses one. A message is on record before it is
 * sent, and is sent again just as it is until it is accepted: a receiver that hears it twice hears the same id. Later
 * notices are the next message. A leader that has lost its lease sends nothing. A message that it had sent before can
 * arrive late, and its place tells that. Each receiver has a loop of its own, so one that hangs holds up nobody.
 */
import { AntipodeError, backoffMs, type Clock, type Log, type Prng } from '@antipode/runtime';
import type { Leadership } from '../election.ts';
import type { Answer, Hook, NoticeMessage } from '../hooks/hook.ts';
import type { Store } from '../store/store.ts';
import {
  type Batch,
  insertReceiver,
  type ReceiverRecord,
  readNotices,
  readReceivers,
  recordTold,
  setBatch,
} from '../store/tables/notices.ts';
import { declarationOf, type Severity } from './causes.ts';
import type { Notice } from './ledger.ts';
import { type Due, messageOf, testMessage } from './message.ts';

export interface Receiver {
  readonly hook: Hook;
  /** `web`, `mail` or `command`. */
  readonly way: string;
  readonly severities: readonly Severity[];
  /** Empty for all. */
  readonly groups: readonly string[];
  readonly resolved: boolean;
}

export interface ReceiversPorts {
  readonly store: Pick<Store, 'query' | 'write'>;
  readonly election: Pick<Leadership, 'epoch'>;
  /** On the timeline. */
  readonly clock: Clock;
  readonly toWallMs: (atMs: number) => number;
  /** The groups with a part at a site. */
  readonly groupsAt: (site: string) => readonly string[];
  readonly prng: Prng;
  readonly log: Log;
  /** For all waits. */
  readonly factor: number;
}

export interface ReceiverTrouble {
  readonly receiver: string;
  readonly message: string;
  /** Monotonic. */
  readonly sinceMs: number;
}

interface Try extends ReceiverTrouble {
  readonly failures: number;
  readonly nextMs: number;
}

const BACKOFF = { baseMs: 1_000, capMs: 5 * 60_000 };
/** Causes that begin together are one message. */
const COLLECT_MS = 10_000;

export class Receivers {
  readonly #ports: ReceiversPorts;
  readonly all: readonly Receiver[];
  readonly #tries = new Map<string, Try>();
  /** Messages that this process has made. No other process has its terms. */
  #made = 0;

  constructor(all: readonly Receiver[], ports: ReceiversPorts) {
    this.all = all;
    this.#ports = ports;
  }

  get troubles(): readonly ReceiverTrouble[] {
    return [...this.#tries.values()];
  }

  /** One look for one receiver. */
  async pass(name: string): Promise<void> {
    const { election, store, clock } = this.#ports;
    const { epoch } = election;
    const receiver = this.all.find(({ hook }) => hook.name === name);
    if (epoch === undefined || receiver === undefined) return void this.#tries.delete(name);
    const before = this.#tries.get(name);
    if (before !== undefined && before.nextMs > clock.monotonicMs()) return;
    const batch = await this.#batchOf(receiver, epoch);
    // While the database worked, another coordinator may have begun to lead. It sends the message.
    if (batch === undefined || election.epoch !== epoch) return;
    try {
      const { isAccepted, reason, isPartial } = await receiver.hook.call(JSON.parse(batch.message) as NoticeMessage);
      if (!isAccepted) throw refused(name, reason);
      if (isPartial)
        this.#ports.log.warn('a receiver has not passed a message on to everybody', { receiver: name, reason });
    } catch (thrown) {
      const error = AntipodeError.from(thrown);
      if (error.code !== 'NOTICE_UNDELIVERED') throw error;
      this.#failed(name, error, { before, madeMs: batch.madeMs });
      return;
    }
    await store.write(epoch, async (trx, record) => {
      await recordTold(trx, name, batch.parts);
      await setBatch(trx, name, undefined);
      record({ kind: 'notices-accepted', details: { receiver: name, message: batch.id, notices: batch.parts.length } });
    });
    this.#tries.delete(name);
    if (before !== undefined) this.#ports.log.info('a receiver accepts notices again', { receiver: name });
  }

  /** The message that is under way, or the next one. */
  async #batchOf(receiver: Receiver, epoch: bigint): Promise<Batch | undefined> {
    const { store, clock, factor, toWallMs } = this.#ports;
    const { name } = receiver.hook;
    const nowMs = clock.wallMs();
    const [notices, records] = await store.query(async (db) => [await readNotices(db), await readReceivers(db)]);
    const record = records.find((one) => one.name === name);
    if (record === undefined) {
      await store.write(epoch, (trx) => insertReceiver(trx, { name, sinceMs: nowMs }));
      return undefined;
    }
    if (record.batch !== undefined) return record.batch;
    const due = this.dueOf(receiver, { notices, record });
    const oldestMs = Math.min(
      ...due.map(({ notice, state }) => (state === 'raised' ? notice.raisedMs : notice.resolvedMs) ?? nowMs),
    );
    if (due.length === 0 || nowMs - oldestMs < COLLECT_MS * factor) return undefined;
    this.#made += 1;
    const message = messageOf(name, due, { place: { term: epoch.toString(), number: this.#made }, toWallMs });
    const parts = due.map(({ notice, state }) => ({ notice: notice.id, state }));
    const batch: Batch = { id: message.id, message: JSON.stringify(message), madeMs: nowMs, parts };
    await store.write(epoch, (trx) => setBatch(trx, name, batch));
    return batch;
  }

  /** Notices that a receiver has not accepted yet. */
  dueOf(
    { severities, groups, resolved }: Receiver,
    { notices, record }: { notices: readonly Notice[]; record: Pick<ReceiverRecord, 'sinceMs' | 'told'> },
  ): Due[] {
    return notices.flatMap((notice): Due[] => {
      const { kind, raisedMs, resolvedMs } = notice;
      const { severity, isEvent = false } = declarationOf(kind);
      if (raisedMs === undefined || !severities.includes(severity) || !this.#concerns(notice, groups)) return [];
      const told = record.told.get(notice.id);
      const isOver = resolvedMs !== undefined && !isEvent;
      if (told === undefined) {
        const endedBefore = resolvedMs !== undefined && resolvedMs < record.sinceMs;
        return endedBefore ? [] : [{ notice, state: isOver ? 'resolved' : 'raised' }];
      }
      return told === 'raised' && isOver && resolved ? [{ notice, state: 'resolved' }] : [];
    });
  }

  /** A site concerns the groups that have a part there. A notice with neither group nor site concerns everybody. */
  #concerns({ group, site }: Notice, groups: readonly string[]): boolean {
    if (groups.length === 0 || (group === '' && site === '')) return true;
    if (group !== '') return groups.includes(group);
    return this.#ports.groupsAt(site).some((one) => groups.includes(one));
  }

  /** Sends a test to one receiver, whatever else is under way to it. @throws NOTICE_UNDELIVERED */
  async test({ hook }: Receiver, id: string): Promise<Answer> {
    const now = new Date(Math.round(this.#ports.toWallMs(this.#ports.clock.wallMs()))).toISOString();
    const answer = await hook.call(testMessage(hook.name, { id, now }));
    if (!answer.isAccepted) throw refused(hook.name, answer.reason);
    return answer;
  }

  /** Since the message was made: an earlier leader may have tried as well, and its time counts. */
  #failed(
    receiver: string,
    { message }: AntipodeError,
    { before, madeMs }: { before: Try | undefined; madeMs: number },
  ): void {
    const { clock, prng, log } = this.#ports;
    const nowMs = clock.monotonicMs();
    const failures = (before?.failures ?? 0) + 1;
    const waitMs = backoffMs(failures - 1, BACKOFF, prng);
    this.#tries.set(receiver, {
      receiver,
      message,
      failures,
      sinceMs: before?.sinceMs ?? nowMs - Math.max(0, clock.wallMs() - madeMs),
      nextMs: nowMs + waitMs,
    });
    log.at(failures === 1 ? 'warn' : 'debug', 'a receiver has not accepted a notice; it is tried again', {
      receiver,
      message,
      failures,
      waitMs: Math.round(waitMs),
    });
  }
}

const refused = (name: string, reason: string): AntipodeError =>
  new AntipodeError('NOTICE_UNDELIVERED', `receiver ${name} refused the message${reason && `: ${reason}`}`, {
    details: { receiver: name },
  });

/** A receiver that fails for so long is a cause of a notice itself: others hear of it. */
const FAILING_MS = 60_000;

export const failingOf = ({ troubles }: Pick<Receivers, 'troubles'>, monotonicMs: number): string[] =>
  troubles.filter(({ sinceMs }) => monotonicMs - sinceMs >= FAILING_MS).map(({ receiver }) => receiver);
