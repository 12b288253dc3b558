/**
 * Says which sites are there. A silent site is first suspect. It counts as down only if no other site reaches it either,
 * and if this process can believe itself. Its own event loop must be healthy. It must also hear at least as many sites as
 * it misses, or most voting sites of a group of the silent one. Otherwise it may be cut off itself. Reasons are kept for
 * people (ADR 0042).
 */
import {
  type ClockRateBounds,
  type DescribeResponse,
  isSlowClock,
  type PeerObservation,
  type Vouchee,
} from '@antipode/protocol';
import { AntipodeError, type Clock, type Log } from '@antipode/runtime';
import { majorityOf } from '../model.ts';
import type { Timings } from '../timings.ts';
import type { Predecessor } from './journals.ts';
import { afterBeat, afterCall, type FailedCalls, type LateBeats, type Muteness, mutenessesOf } from './mute.ts';
import { observersOf } from './observers.ts';

export type SiteStatus = 'unknown' | 'up' | 'suspect' | 'down';

export interface SiteView {
  readonly site: string;
  readonly status: SiteStatus;
  readonly reason: string;
  readonly address: string;
  readonly instance: string;
  /** Monotonic time of the last heartbeat, or of when we began to listen. */
  readonly lastMs: number;
  /** Wall time of the last heartbeat; undefined when there was none. */
  readonly lastWallMs: number | undefined;
  readonly failedRounds: number;
  /** Monotonic time at which it came into this status. */
  readonly sinceMs?: number;
  /** The last round of probes while it was silent: who looked, and what was seen; undefined where an observer could not look. */
  readonly looks?: readonly {
    readonly observer: string;
    readonly reached: boolean | undefined;
    readonly atMs: number;
  }[];
  /** How often it was suspected and another site reached it. */
  readonly refutations?: number;
  /** Which other sites its agent reaches, by its last heartbeat. */
  readonly observations?: readonly PeerObservation[];
  /** The processes for which it may vouch, by its last heartbeat, and how long ago it last did at most. */
  readonly vouching?: Vouching;
  readonly state: DescribeResponse | undefined;
  /** The speed of its clock, in milliseconds of one of this coordinator's; absent before it was compared. */
  readonly clockRate?: ClockRateBounds | undefined;
  /** Since when each HSM of it has been lost, by serial number; wall time of this coordinator's count. */
  readonly hsmLostMs?: ReadonlyMap<string, number>;
  /** Calls to its agent that have failed since its last answer. */
  readonly failedCalls?: FailedCalls | undefined;
  readonly lateBeats?: LateBeats | undefined;
  /** The work that it does not do although its heartbeats arrive. Of use while it is up. */
  readonly mutenesses?: readonly Muteness[];
}

/** The word of people for its state: `mute` for a site that is heard and does not do all of its work. */
export const stateWordOf = (view: Pick<SiteView, 'status' | 'mutenesses'> | undefined): SiteStatus | 'mute' =>
  view?.status === 'up' && (view.mutenesses ?? []).length > 0 ? 'mute' : (view?.status ?? 'unknown');

/** Those that last. The word of a silent site from before is not of now. */
export const mutenessesNow = (view: Pick<SiteView, 'status' | 'mutenesses'> | undefined): readonly Muteness[] =>
  view?.status === 'up' ? (view.mutenesses ?? []) : [];

export interface Vouching {
  readonly vouchees: readonly Vouchee[];
  readonly silentMs: number;
}

/** Listing a large partition on a slow HSM is one call, and no reason to leave a site that serves. */
const HANGS_UNTIL_LOST = 5;

/**
 * Errors which mean that the HSM itself is gone. With a wrong PIN, a missing key or a full disk the HSM goes on
 * serving, and a person must act.
 */
const HSM_LOST: ReadonlySet<string> = new Set([
  'HSM_UNAVAILABLE',
  'HSM_WORKER_LOST',
  'PARTITION_NOT_FOUND',
  'MODULE_UNAVAILABLE',
]);

/**
 * A process that is refused because another one already speaks for its site. It is a copy of the site's folder, or a
 * second agent on another host.
 */
export interface RefusedAgent {
  readonly instance: string;
  /** Where it says that it can be reached. */
  readonly address: string;
  /** Where its connection comes from; empty where that is not known. */
  readonly peer: string;
  /** Monotonic times of its first and its last heartbeat, and how many there were. */
  readonly sinceMs: number;
  readonly lastMs: number;
  readonly heartbeats: number;
}

/** A refused agent goes on trying: one that was not heard for this long has been stopped. */
const REFUSED_KEPT_MS = 60_000;

/** Asks `observer` whether it reaches `suspect` now. Undefined when the observer itself cannot be asked. */
export type Probe = (observer: SiteView, suspect: SiteView) => Promise<boolean | undefined>;

export interface DetectorOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly timings: Timings;
  readonly loopDelayMs: () => number;
  readonly probe: Probe;
  /** The voting sites of each group in which a site votes. Absent for none. */
  readonly votersWith?: (site: string) => readonly (readonly string[])[];
  /** Receives what an operator may want to look up afterwards. */
  readonly record?: (change: Transition) => void;
}

/** A site was found to be down, or up again after that; or another site has reached a suspect one. */
export interface Transition {
  readonly kind: 'site-down' | 'site-up' | 'suspicion-refuted';
  readonly site: string;
  readonly reason: string;
}

export class Detector {
  readonly #options: DetectorOptions;
  readonly #sites = new Map<string, SiteView>();
  readonly #refused = new Map<string, RefusedAgent>();
  #rounds = 0;

  constructor(options: DetectorOptions) {
    this.#options = options;
  }

  get sites(): SiteView[] {
    return [...this.#sites.values()].sort((a, b) => (a.site < b.site ? -1 : 1));
  }

  view(site: string): SiteView | undefined {
    return this.#sites.get(site);
  }

  /** The agent that was refused last under the name of this site, while it goes on trying. */
  refused(site: string): RefusedAgent | undefined {
    const found = this.#refused.get(site);
    const isOver = found === undefined || this.#options.clock.monotonicMs() - found.lastMs > REFUSED_KEPT_MS;
    return isOver ? undefined : found;
  }

  /** A copy of all views, for comparison with a database that is read afterwards. */
  snapshot(): (site: string) => SiteView | undefined {
    const sites = new Map(this.#sites);
    return (site) => sites.get(site);
  }

  /**
   * The lowest speed of a clock that certainly differs, of any site; 1 where none does. If this process's own clock is too
   * fast, all others look slow.
   */
  get slowestClock(): number {
    // Asked for each lease, so nothing is sorted here.
    let slowest = 1;
    for (const { clockRate } of this.#sites.values())
      if (clockRate !== undefined && isSlowClock(clockRate)) slowest = Math.min(slowest, clockRate.low);
    return slowest;
  }

  isUp(site: string): boolean {
    return this.#sites.get(site)?.status === 'up';
  }

  /** Of a site that an operator has retired. */
  forget(site: string): void {
    this.#sites.delete(site);
    this.#refused.delete(site);
  }

  /** At the start of a leadership: silence of every site is counted from now, whatever was heard before. */
  expect(sites: readonly { readonly site: string; readonly address: string }[]): void {
    const lastMs = this.#options.clock.monotonicMs();
    this.#sites.clear();
    this.#refused.clear();
    for (const { site, address } of sites) {
      this.#sites.set(site, {
        site,
        status: 'unknown',
        reason: 'not heard since this coordinator started',
        address,
        instance: '',
        lastMs,
        lastWallMs: undefined,
        failedRounds: 0,
        sinceMs: lastMs,
        refutations: 0,
        state: undefined,
      });
    }
  }

  /**
   * Nothing is taken from a process that this refuses: what a copy of the site's folder says is not what the site says.
   * Another process than the one heard before is refused while that one is heard, and for as long as it may hold a lease.
   * A process that was paused goes on with its lease where it stood. The exception is a successor that holds the lock of
   * the process before.
   * @throws ALREADY_EXISTS when another process lives under the same site name, or may
   */
  admit(
    { site, instance }: Pick<DescribeResponse, 'site' | 'instance'>,
    from: Pick<RefusedAgent, 'address' | 'peer'> = { address: '', peer: '' },
    { predecessor = 'none', mayHoldLease = false }: { predecessor?: Predecessor; mayHoldLease?: boolean } = {},
  ): void {
    const { clock, timings } = this.#options;
    const { instance: heard = '', lastMs = Number.NEGATIVE_INFINITY } = this.#sites.get(site) ?? {};
    // A new leader has heard nobody yet. It knows another process by the journal only.
    const isOther = heard === '' ? predecessor === 'unknown' : heard !== instance;
    const isHeard = heard !== '' && clock.monotonicMs() - lastMs < timings.heartbeatMs * 2;
    if (isOther && predecessor !== 'ended' && (isHeard || mayHoldLease)) {
      this.#noteRefused(site, instance, from);
      throw new AntipodeError('ALREADY_EXISTS', `another agent is alive under the name ${site}`, {
        details: { site },
        hint: `Stop the agent that must not run: a site has one agent and one data folder. If the agent has moved to another folder or machine, wait until the lease of the former one has run out. The former one must also be out of reach of another voting site.`,
      });
    }
  }

  #noteRefused(site: string, instance: string, from: Pick<RefusedAgent, 'address' | 'peer'>): void {
    const { clock, log } = this.#options;
    const lastMs = clock.monotonicMs();
    const before = this.refused(site);
    const isSame = before?.instance === instance;
    if (!isSame) log.warn('a second agent of a site was refused', { site, ...from });
    this.#refused.set(site, {
      ...from,
      instance,
      lastMs,
      sinceMs: isSame ? before.sinceMs : lastMs,
      heartbeats: isSame ? before.heartbeats + 1 : 1,
    });
  }

  /** Of a process that {@link admit} has let in. */
  heard(
    state: DescribeResponse,
    {
      address,
      clockRate,
      observations = [],
      vouching,
      loopDelayMs = 0,
    }: {
      address: string;
      /** How late its event loop was at most since the heartbeat before. */
      loopDelayMs?: number;
      clockRate?: ClockRateBounds;
      observations?: readonly PeerObservation[];
      vouching?: Vouching;
    },
  ): void {
    const { clock, log, timings } = this.#options;
    const { site, instance } = state;
    const nowMs = clock.monotonicMs();
    const before = this.#sites.get(site);
    // It was restarted a moment ago, or is the one now: nobody has to look for it.
    if (this.#refused.get(site)?.instance === instance) this.#refused.delete(site);
    if (before?.status !== 'up') log.info('site is up', { site, before: before?.status ?? 'unknown' });
    if (before?.status === 'down')
      this.#options.record?.({ kind: 'site-up', site, reason: `it was down: ${before.reason}` });
    const isSame = before?.instance === instance && before.address === address;
    this.#note({
      site,
      failedCalls: isSame ? before.failedCalls : undefined,
      lateBeats: afterBeat(isSame ? before.lateBeats : undefined, {
        delayMs: loopDelayMs,
        delayMsMax: timings.loopDelayMsMax,
        nowMs,
      }),
      mutenesses: before?.mutenesses ?? [],
      status: 'up',
      reason: 'heartbeats arrive',
      address,
      instance,
      lastMs: nowMs,
      lastWallMs: clock.wallMs(),
      failedRounds: 0,
      sinceMs: before?.status === 'up' ? (before.sinceMs ?? nowMs) : nowMs,
      refutations: before?.refutations ?? 0,
      observations,
      ...(vouching === undefined ? {} : { vouching }),
      state,
      clockRate,
      hsmLostMs: this.#hsmLost(state, before?.hsmLostMs),
    });
  }

  /** The outcome of a call that was made to see whether its agent answers. */
  called(site: string, error: AntipodeError | undefined): void {
    const view = this.#sites.get(site);
    if (view === undefined) return;
    this.#note({
      ...view,
      failedCalls: afterCall(view.failedCalls, { error, nowMs: this.#options.clock.monotonicMs() }),
    });
  }

  /** Keeps a view, and says it where the site has become mute in another way or is not any more. */
  #note(view: SiteView): void {
    const { clock, log, timings } = this.#options;
    const { site, state, address, failedCalls: calls, lateBeats: late, mutenesses: before = [] } = view;
    const nowMs = clock.monotonicMs();
    const isSame = (one: Muteness, other: Muteness): boolean => one.kind === other.kind && one.serial === other.serial;
    const mutenesses =
      state === undefined
        ? []
        : mutenessesOf({ state, address, calls, late }, { nowMs, timings }).map((one) => ({
            ...one,
            sinceMs: Math.min(one.sinceMs, before.find((other) => isSame(one, other))?.sinceMs ?? one.sinceMs),
          }));
    for (const one of mutenesses)
      if (!before.some((other) => isSame(one, other)))
        log.warn('a site is heard and does not do its work', {
          site,
          kind: one.kind,
          ...(one.partition === '' ? {} : { partition: one.partition }),
          code: one.errorCode,
          found: one.message,
        });
    for (const other of before)
      if (!mutenesses.some((one) => isSame(one, other)))
        log.info('a site does its work again', { site, kind: other.kind });
    this.#sites.set(site, { ...view, mutenesses });
  }

  #hsmLost({ partitions }: DescribeResponse, before: SiteView['hsmLostMs']): ReadonlyMap<string, number> {
    const { clock, timings } = this.#options;
    const lost = partitions.filter(
      ({ errorCode, unansweredMs }) => HSM_LOST.has(errorCode) || unansweredMs > timings.hangMs * HANGS_UNTIL_LOST,
    );
    return new Map(lost.map(({ serial }) => [serial, before?.get(serial) ?? clock.wallMs()]));
  }

  /** One look at everybody; probes the silent ones through the others. */
  async pass(): Promise<void> {
    const { clock, timings, loopDelayMs } = this.#options;
    this.#rounds += 1;
    const ownDelayMs = loopDelayMs();
    const silent = this.sites.filter(
      ({ lastMs, status }) => clock.monotonicMs() - lastMs > timings.suspectMs && status !== 'down',
    );
    const known = this.sites.filter(({ status }) => status !== 'down').length;
    // Sites that were down before do not count: they were lost one after another.
    const isCutOff = silent.length > known - silent.length;
    const doubt = `this coordinator hears only ${known - silent.length} of ${known} sites, so it may be cut off itself`;
    const missed = new Set(silent.map(({ site }) => site));
    const doubtOf = ({ site }: SiteView): string | undefined =>
      isCutOff && !this.#hearsMajorityWith(site, missed) ? doubt : undefined;
    await Promise.all(silent.map((suspect) => this.#examine(suspect, { ownDelayMs, doubt: doubtOf(suspect) })));
  }

  /**
   * Whether most voting sites of a group in which this site votes are heard. They can move that group, on whichever side of
   * a cut this coordinator is. Other sites may be gone for years, and a new leader does not know that they were down.
   */
  #hearsMajorityWith(site: string, missed: ReadonlySet<string>): boolean {
    const isHeard = (voter: string): boolean => this.isUp(voter) && !missed.has(voter);
    const groups = this.#options.votersWith?.(site) ?? [];
    return groups.some((voters) => voters.filter(isHeard).length >= majorityOf(voters.length));
  }

  async #examine(
    suspect: SiteView,
    { ownDelayMs, doubt }: { ownDelayMs: number; doubt: string | undefined },
  ): Promise<void> {
    const { clock, timings, probe } = this.#options;
    const silence = `${((clock.monotonicMs() - suspect.lastMs) / 1_000).toFixed(1)} s`;
    if (ownDelayMs > timings.loopDelayMsMax) {
      const reason = `no heartbeat for ${silence}, but this coordinator itself was ${ownDelayMs} ms late`;
      this.#judge(suspect, { status: 'suspect', reason, failedRounds: 0 });
      return;
    }
    const observers = observersOf(suspect, { sites: this.sites, round: this.#rounds });
    const looks = await Promise.all(
      observers.map(async (observer) => ({
        observer: observer.site,
        reached: await probe(observer, suspect),
        atMs: clock.monotonicMs(),
      })),
    );
    const reachedBy = looks.filter(({ reached }) => reached === true).map(({ observer }) => observer);
    const missedBy = looks.filter(({ reached }) => reached === false).map(({ observer }) => observer);
    if (reachedBy.length > 0) {
      const reason = `no heartbeat for ${silence}, but it can be reached from site ${reachedBy.join(', ')}`;
      this.#judge(suspect, { status: 'suspect', reason, failedRounds: 0, looks });
      return;
    }
    // Only a round in which another site looked and missed it counts. A site that did not answer is not a witness.
    const witnesses =
      missedBy.length > 0
        ? `and it cannot be reached from site ${missedBy.join(', ')} either`
        : 'and no other site could be asked';
    const found = `no heartbeat for ${silence}, ${witnesses}`;
    if (doubt !== undefined) {
      this.#judge(suspect, { status: 'suspect', reason: `${found}; but ${doubt}`, failedRounds: 0, looks });
      return;
    }
    const failedRounds = suspect.failedRounds + (missedBy.length > 0 ? 1 : 0);
    const isDown = missedBy.length > 0 && failedRounds >= timings.probeRounds;
    this.#judge(suspect, { status: isDown ? 'down' : 'suspect', reason: found, failedRounds, looks });
  }

  /** Unless it was heard meanwhile. */
  #judge(
    suspect: SiteView,
    verdict: Pick<SiteView, 'reason' | 'failedRounds' | 'looks'> & { readonly status: 'suspect' | 'down' },
  ): void {
    const { clock, log, record } = this.#options;
    const { site } = suspect;
    const { status, reason } = verdict;
    const now = this.#sites.get(site);
    if (now === undefined || now.lastMs !== suspect.lastMs) return;
    if (now.status !== status) log.warn(`site is ${status}`, { site, reason });
    // Once for each silence: it is suspected only once.
    const isRefuted = isReached(verdict) && !isReached(now);
    if (isRefuted) log.warn('a suspicion was refuted: another site reaches the site', { site, reason });
    if (isRefuted) record?.({ kind: 'suspicion-refuted', site, reason });
    if (status === 'down') record?.({ kind: 'site-down', site, reason });
    this.#sites.set(site, {
      ...now,
      ...verdict,
      sinceMs: now.status === status ? (now.sinceMs ?? now.lastMs) : clock.monotonicMs(),
      refutations: (now.refutations ?? 0) + (isRefuted ? 1 : 0),
    });
  }
}

const isReached = ({ looks = [] }: Pick<SiteView, 'looks'>): boolean => looks.some(({ reached }) => reached === true);
