/** Shared by the effects of all machines: the ports, the group of an intent, and how orders are put. */

import { factsRef, type GenerationRef, generationFacts, type OrderState } from '@antipode/protocol';
import { AntipodeError, type Clock, currentTrace } from '@antipode/runtime';
import { inEpoch, type Leadership } from '../election.ts';
import { type GuardedAct, isGuarded, orderApprovals, readUsable } from '../groups/approvals.ts';
import type { GroupCache } from '../groups/group-cache.ts';
import type { MoveQuestion } from '../hooks/hook.ts';
import { activeOf, type Generation, type Group, isSettled, type Member } from '../model.ts';
import { seatIn } from '../sites/accounts.ts';
import type { Agent, Agents } from '../sites/agents.ts';
import type { Detector } from '../sites/detector.ts';
import { mayBeHeard } from '../sites/expected.ts';
import type { JournalBook } from '../sites/journals.ts';
import type { LeaseBook } from '../sites/leases.ts';
import { inTerm } from '../sites/terms.ts';
import type { Change, Store } from '../store/store.ts';
import { readAcknowledged } from '../store/tables/generations.ts';
import { lockGroup, readGroup } from '../store/tables/groups.ts';
import { type Intent, isMoveOpen } from '../store/tables/intents.ts';
import type { Timings } from '../timings.ts';

/** A 10,000-key generation on a slow token takes minutes; a lost link is noticed by keepalive long before. */
export const WORK_TIMEOUT_MS = 30 * 60_000;
export const ORDER_TIMEOUT_MS = 5_000;
/** As many may be late one after another. */
export const HEARTBEATS_WAITED = 20;
/** A capture a second for 30,000 years. */
export const NUMBER_SEEN_MAX = 10n ** 12n;

export interface EffectsPorts {
  readonly store: Store;
  readonly election: Leadership;
  readonly agents: Pick<Agents, 'address' | 'client'>;
  readonly detector: Pick<Detector, 'view' | 'snapshot' | 'isUp'>;
  readonly leases: LeaseBook;
  readonly journals: Pick<JournalBook, 'accept' | 'recordIn'>;
  readonly cache: Pick<GroupCache, 'refresh'>;
  /** @throws FAILOVER_VETOED */
  readonly mayMove: (question: MoveQuestion) => Promise<void>;
  readonly clock: Clock;
  /** The clock on the wall, where something from outside names a moment. Stamps and deadlines go by `clock`. */
  readonly calendarMs: () => number;
  readonly timings: Timings;
}

export class EffectContext {
  readonly ports: EffectsPorts;

  constructor(ports: EffectsPorts) {
    this.ports = ports;
  }

  group(intent: Intent): Promise<Group> {
    return this.ports.store.snapshot((db) => readGroup(db, intent.group));
  }

  /** For the work of one epoch: its writes and orders end with it, even if this coordinator leads again later. */
  inEpoch(epoch: bigint): EffectContext {
    return new EffectContext({ ...this.ports, election: inEpoch(this.ports.election, epoch) });
  }

  agent(site: string): Agent {
    return inTerm(this.ports.agents.client(site), this.ports.election);
  }

  /**
   * Waits until this leader has heard each of these sites, or knows that it is down. Before that, the silence of a site
   * decides nothing. A site that is only suspect is not waited for without end.
   * @throws LEADERSHIP_LOST
   */
  async untilHeard(sites: readonly string[]): Promise<void> {
    const { clock, detector, election, timings } = this.ports;
    const endMs = clock.monotonicMs() + timings.heartbeatMs * HEARTBEATS_WAITED;
    while (clock.monotonicMs() < endMs && sites.some((site) => mayBeHeard(detector.view(site)))) {
      await clock.sleep(timings.heartbeatMs / 2);
      election.require();
    }
  }

  /**
   * One change of state, under the leadership that this process has now. With it goes how far the journals have come in
   * which the sites have what they answered: an older copy of one is known by that, whoever leads then.
   */
  async write<T>(work: Change<T>): Promise<T> {
    const { store, election, journals } = this.ports;
    let isWritten = (): void => {};
    const result = await store.write(election.require(), async (trx, record) => {
      const outcome = await work(trx, record);
      isWritten = await journals.recordIn(trx);
      return outcome;
    });
    isWritten();
    return result;
  }

  /**
   * One change under a tenure, with the group locked.
   * @throws EPOCH_STALE when a later epoch was issued; then nothing is written
   */
  writeUnder<T>({ group, epoch }: { group: string; epoch: bigint }, work: Change<T>): Promise<T> {
    return this.write(async (trx, record) => {
      const { highestEpoch } = await lockGroup(trx, group);
      if (highestEpoch !== epoch)
        throw new AntipodeError('EPOCH_STALE', `epoch ${epoch} of group ${group} is over: ${highestEpoch} was issued`, {
          details: { group, epoch, highest: highestEpoch },
        });
      return work(trx, record);
    });
  }

  /**
   * The highest generation number that a member reports in its heartbeats. It exceeds the database's own number after
   * the database was rolled back. A number far beyond that cannot be real, and is ignored.
   */
  highestSeen(group: Group): bigint {
    const name = group.spec.name;
    const numbers = group.members.flatMap(({ site }) => {
      const seat = seatIn(this.ports.detector.view(site)?.state, name);
      return [seat?.captured?.generation ?? 0n, seat?.applied?.generation ?? 0n];
    });
    return numbers.reduce((best, one) => (one > best && one < NUMBER_SEEN_MAX ? one : best), 0n);
  }

  /** Captures and replications wait while the active role is about to move. @throws GROUP_BUSY */
  async requireNoMove(group: string): Promise<void> {
    if (await this.ports.store.query((db) => isMoveOpen(db, group)))
      throw new AntipodeError('GROUP_BUSY', `the active role of group ${group} is about to move`, {
        details: { group },
      });
  }

  /**
   * The fence of an order that an agent may guard, with the approvals on record for that act in its group. Without a
   * site that may guard the group it is the fence alone.
   */
  async guarded<Fence extends { readonly group: string }>(
    group: Group,
    intent: Pick<Intent, 'id'>,
    fence: Fence,
    act: GuardedAct,
  ) {
    const { store, detector, calendarMs } = this.ports;
    if (!isGuarded(group, detector.snapshot())) return fence;
    const records = await store.query((db) =>
      readUsable(db, { group: group.spec.name, act, calendarMs: calendarMs(), operation: intent.id }),
    );
    const approvals = orderApprovals(records, intent.id);
    return approvals === undefined ? fence : { ...fence, approvals };
  }

  /** Members that may hold generations and are not known to be down, the active one first, then who has acknowledged most. */
  async holders(group: Group, except: string): Promise<{ site: string; address: string }[]> {
    const acknowledged = await this.ports.store.query((db) => readAcknowledged(db, group.spec.name));
    const active = activeOf(group);
    const sites = [
      ...(active === undefined ? [] : [active.site]),
      ...acknowledged.map(({ site }) => site),
      ...group.members.map(({ site }) => site),
    ];
    const isLikelyUp = (site: string): boolean => this.ports.detector.view(site)?.status !== 'down';
    return [...new Set(sites)]
      .filter((site) => site !== except && isLikelyUp(site))
      .map((site) => this.ports.agents.address(site));
  }
}

/** Orders under the epoch in force, in the name of the effect that is performed. */
export function fenceOf(group: Group, { requestId }: Pick<Intent, 'requestId'>) {
  return { group: group.spec.name, epoch: group.epoch, owner: group.owner, requestId };
}

/**
 * When an order began, on our clock, at the latest: it may have been started by an earlier leader, or before an answer was
 * lost. `leftMs` is when this call left; nothing may look newer than it is (I13).
 */
export function beganMs(clock: Clock, answer: { order?: OrderState | undefined }, leftMs: number): number {
  return Math.min(leftMs, clock.wallMs() - Number(answer.order?.ageMs ?? 0n));
}

/** @throws ROLE_REFUSED */
export function requireActive(group: Group): Member {
  const active = activeOf(group);
  if (active !== undefined && isSettled(group)) return active;
  throw new AntipodeError('ROLE_REFUSED', `group ${group.spec.name} has no active member`, {
    details: { group: group.spec.name },
  });
}

/** @throws REQUEST_INVALID */
export function requireRef(ref: GenerationRef | undefined): GenerationRef {
  if (ref === undefined)
    throw new AntipodeError('REQUEST_INVALID', 'the agent gave no generation', { details: { field: 'generation' } });
  return ref;
}

export function generationFrom(ref: GenerationRef, recoveryPointMs: number): Generation {
  return { ...generationFacts(ref), recoveryPointMs, trace: currentTrace() };
}

/** For an order: which generation, without the objects that it does not protect, which may be many. */
export const orderRefOf = (generation: Generation) => refOf({ ...generation, uncaptured: [] });

export const refOf = (generation: Generation) => factsRef(generation, generation.recoveryPointMs);
