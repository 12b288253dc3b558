/**
 * The coordinator's heartbeat: reads what is so, asks the planner what is due, writes the intents, and wakes a runner for
 * every open one. A wiped or dead Redis costs nothing but the detour of running it here (I8).
 */
import {
  AntipodeError,
  type Clock,
  type Closeable,
  currentTrace,
  every,
  inSpan,
  type Log,
  type LoopWatch,
  Pace,
  type Prng,
  SerialQueue,
  uuidFrom,
} from '@antipode/runtime';
import type { Leadership } from '../election.ts';
import { contradictionOf } from '../groups/contradiction.ts';
import type { GroupCache } from '../groups/group-cache.ts';
import { type Group, votingSites } from '../model.ts';
import type { WakeUps } from '../queue/wake-ups.ts';
import type { Detector, SiteView } from '../sites/detector.ts';
import { mayBeHeard } from '../sites/expected.ts';
import type { JournalBook } from '../sites/journals.ts';
import type { EventRecord, Store, Write } from '../store/store.ts';
import { type GroupFacts, readFacts } from '../store/tables/facts.ts';
import { readAhead } from '../store/tables/generations.ts';
import { lockGroup } from '../store/tables/groups.ts';
import { type Intent, insertIntent, readOpenIntents, updateIntent } from '../store/tables/intents.ts';
import type { TouchReader } from '../store/touched-groups.ts';
import type { Timings } from '../timings.ts';
import type { AwaitedGenerations } from './failover/awaited-generations.ts';
import { type Held, named } from './failover/plan.ts';
import type { Kind } from './kind.ts';
import { KINDS } from './kinds.ts';
import { dependsOnGroup, isStillDue, type Plan, type Planned, plan } from './planner.ts';
import { ATTEMPT_PAUSE_MS_MAX, type Runner } from './runner.ts';
import { Undelivered } from './undelivered.ts';

export interface ReconcilerPorts {
  readonly store: Store;
  readonly election: Leadership;
  readonly cache: Pick<GroupCache, 'all' | 'unreadable' | 'refresh' | 'learnNeeded' | 'learnAcknowledged'>;
  readonly detector: Pick<Detector, 'snapshot'>;
  readonly journals: Pick<JournalBook, 'flush'>;
  readonly runner: Pick<Runner, 'run' | 'isRunning'>;
  readonly wakeUps: Pick<WakeUps, 'enqueue'>;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly log: Log;
  readonly timings: Timings;
  /** Which groups may have changed between two passes; absent for all. */
  readonly touched?: TouchReader;
  readonly watch?: LoopWatch | undefined;
}

/** Runs beside Redis while it is away; more would only wait for the same HSMs. Failovers never wait for any of them. */
const LOCAL_RUNS_MAX = 8;
/** Groups looked at side by side: as many as leave the database's connections to others. */
const LOOKS_MAX = 4;
/**
 * So many looks fail before any look succeeds: then the database is away. A pass over a thousand groups would fail a
 * thousand times, and write a line of the log for each.
 */
const FAILED_LOOKS_MAX = 16;
/** A queue that delivers nothing is reported so often. */
const MUTE_TOLD_MS = 60_000;
/** How many intervals a wake-up may take to arrive. */
const DELIVERY_PASSES_MAX = 3;
/** How many intervals a pass waits for a slow look before it goes on without it. */
const LOOK_PASSES_MAX = 4;
/** How many pauses of what waits until a group is read again that nothing has named: somebody else may have written. */
const REREAD_PAUSES = 4;
const UNREADABLE = 'the records of the group in the database cannot be read';

/** A look that failed, and fails since. */
export interface PlanningTrouble {
  /** Empty for every group. */
  readonly group: string;
  readonly error: AntipodeError;
  /** Monotonic. */
  readonly sinceMs: number;
}

/** An automatic failover that is due, and is not ordered since it would lose what somebody has acknowledged. */
export interface WaitingFailover extends AwaitedGenerations {
  /** Every generation that an operator's failover would lose now, acknowledged or not. */
  readonly losses: readonly Held[];
  /** Monotonic. */
  readonly sinceMs: number;
}

/** The leadership and the sites, as a pass has found them. */
interface Moment {
  readonly leaderEpoch: bigint;
  readonly view: (site: string) => SiteView | undefined;
}

/** No attempt is put off by more than the longest pause: a time further ahead can only be wrong. */
const isDue = ({ nextAttemptMs }: Intent, nowMs: number): boolean =>
  nextAttemptMs <= nowMs || nextAttemptMs > nowMs + ATTEMPT_PAUSE_MS_MAX;

export class Reconciler implements Closeable {
  readonly #ports: ReconcilerPorts;
  readonly #stop = new AbortController();
  readonly #passes = new SerialQueue();
  #running: Promise<void> | undefined;
  readonly #undelivered: Undelivered;
  #localRuns = 0;
  #isQueueUp = true;
  /** When it was logged last that the queue delivers nothing. */
  #mutedToldMs = Number.NEGATIVE_INFINITY;
  /** When a wake-up that the queue had taken was overdue last. */
  #overdueMs = Number.NEGATIVE_INFINITY;
  /** Groups whose look has not ended yet. */
  readonly #looking = new Set<string>();
  /** Of a look that outlasted its pass: the next pass throws it. */
  #defect: unknown;
  /** Groups whose last look failed; under the empty name the pass as a whole. */
  readonly #troubled = new Map<string, PlanningTrouble>();
  /** The contradiction found in each group. Its beginning and its end are reported once each. */
  readonly #contradicted = new Map<string, string>();
  readonly #waiting = new Map<string, WaitingFailover>();
  /** The facts of each group as they were read last, until a write names the group. */
  readonly #facts = new Map<string, { readonly facts: GroupFacts; readonly readMs: number }>();
  /** The open operations of each group, as the last pass has seen them. */
  #open = new Map<string, string>();
  #passCount = 0;
  /** When each group was looked at last. */
  readonly #lookedMs = new Map<string, number>();

  constructor(ports: ReconcilerPorts) {
    const { clock, timings } = ports;
    this.#ports = ports;
    const patience = { ms: timings.planMs * DELIVERY_PASSES_MAX, ofSiteMs: timings.parkedRetryMs };
    this.#undelivered = new Undelivered({ clock, patience });
  }

  start(): void {
    const { clock, prng, log, timings } = this.#ports;
    this.#running = every({
      name: 'reconciler',
      clock,
      prng,
      log,
      intervalMs: timings.planMs,
      backoffIntervalsMax: 4,
      signal: this.#stop.signal,
      watch: this.#ports.watch,
      work: () => this.pass(),
    });
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  /** Whether the queue has lately taken a wake-up that nobody received. Operations run without it then, and later. */
  get isQueueMute(): boolean {
    return this.#ports.clock.monotonicMs() - this.#overdueMs < MUTE_TOLD_MS;
  }

  /** Errors that keep groups from being planned. Such a group can look well, but nobody plans for it. */
  get troubles(): readonly PlanningTrouble[] {
    return [...this.#troubled.values()];
  }

  /**
   * The conditions that the automatic failover of a group waits for. Undefined if no failover is due, or one is under
   * way.
   */
  waitOf(group: string): WaitingFailover | undefined {
    return this.#waiting.get(group);
  }

  /** One look at everything; passes never overlap. */
  pass(): Promise<void> {
    return this.#passes.run(async () => {
      try {
        await this.#pass();
        this.#troubled.delete('');
      } catch (thrown) {
        this.#note('', AntipodeError.from(thrown));
        throw thrown;
      }
    });
  }

  #note(group: string, error: AntipodeError): void {
    const sinceMs = this.#troubled.get(group)?.sinceMs ?? this.#ports.clock.monotonicMs();
    this.#troubled.set(group, { group, error, sinceMs });
  }

  /**
   * Makes an intent, unless one of its kind is open, and wakes a runner. `isWanted` may say in the same transaction that
   * there is none to make: then the id is empty.
   */
  async intend(
    planned: Planned,
    isWanted: (trx: Write, record: (event: EventRecord) => void) => Promise<boolean> = async () => true,
    leaderEpoch = this.#ports.election.require(),
  ): Promise<{ id: string; isNew: boolean }> {
    const { store, clock, prng } = this.#ports;
    const made = await store.write(leaderEpoch, async (trx, record) => {
      if (!(await isWanted(trx, record))) return { id: '', isNew: false };
      const trace = Object.keys(planned.trace).length > 0 ? planned.trace : currentTrace();
      const result = await insertIntent(trx, { ...planned, trace, id: uuidFrom(prng) }, clock.wallMs());
      const kind: Kind = KINDS[planned.kind];
      if (result.isNew && kind.isRoutine !== true)
        record({
          kind: `${planned.kind}-intended`,
          group: planned.group,
          site: planned.site,
          details: { intent: result.id },
        });
      return result;
    });
    if (made.id !== '') void this.#wake({ ...planned, id: made.id });
    return made;
  }

  async #pass(): Promise<void> {
    const { store, election, cache, clock, log, journals } = this.#ports;
    if (this.#defect !== undefined) throw this.#defect;
    const leaderEpoch = election.epoch;
    if (leaderEpoch === undefined) return;
    await journals.flush(leaderEpoch);
    await cache.refresh();
    for (const name of cache.unreadable) this.#report(name, new AntipodeError('DATABASE_UNAVAILABLE', UNREADABLE));
    const open = await store.query((db) =>
      readOpenIntents(db, {
        onUnreadable: (group, error) => log.debug('an operation cannot be read', { group, error }),
      }),
    );
    // The views before the facts: what is written from now on, no agent in them has heard of.
    const view = this.#ports.detector.snapshot();
    this.#forgetTouched(cache.all, open);
    await this.#lookAtEach(cache.all, { leaderEpoch, view });
    const nowMs = clock.wallMs();
    // Not awaited: a run takes as long as an HSM takes, and the next look must not wait for it.
    const waiting = open.filter(
      (intent) => intent.status === 'open' && isDue(intent, nowMs) && !this.#ports.runner.isRunning(intent.id),
    );
    const overdue = new Set(this.#undelivered.overdueOf(waiting));
    if (overdue.size > 0) this.#overdueMs = clock.monotonicMs();
    if (overdue.size > 0 && clock.monotonicMs() - this.#mutedToldMs >= MUTE_TOLD_MS) {
      this.#mutedToldMs = clock.monotonicMs();
      log.warn('the queue takes wake-ups and delivers them to nobody: intents run without it', {
        waiting: overdue.size,
      });
    }
    for (const intent of waiting) void (overdue.has(intent) ? this.#runHere(intent) : this.#wake(intent));
  }

  /**
   * Side by side, a few at a time. A group that cannot be read, or takes long, holds up nobody: the pass goes on without
   * it, and looks at it again when its look has ended.
   * @throws what every look threw, where none ended well
   */
  async #lookAtEach(groups: readonly Group[], at: Moment): Promise<void> {
    const { clock, timings } = this.#ports;
    // The group that waits longest comes first. So a pass that ends early is followed by one that goes on from there.
    const waiting = groups
      .filter(({ spec }) => !this.#looking.has(spec.name))
      .sort((one, other) => this.#lookedAt(one) - this.#lookedAt(other));
    const failures: AntipodeError[] = [];
    let sound = 0;
    const ended = new AbortController();
    const lane = async (): Promise<void> => {
      const pace = new Pace(clock);
      for (let group = waiting.shift(); group !== undefined && !ended.signal.aborted; group = waiting.shift()) {
        const { name } = group.spec;
        this.#lookedMs.set(name, clock.monotonicMs());
        if (this.#isQuiet(name, at)) {
          sound += 1;
          if (pace.isDue()) await pace.makeWay();
          continue;
        }
        this.#looking.add(name);
        try {
          await this.#lookAt(name, at.leaderEpoch);
          sound += 1;
          if (this.#troubled.delete(name)) this.#ports.log.info('the group is read again', { group: name });
        } catch (thrown) {
          const error = AntipodeError.from(thrown);
          if (error.disposition === 'defect') throw error;
          failures.push(error);
          this.#report(name, error);
          if (sound === 0 && failures.length >= FAILED_LOOKS_MAX) ended.abort();
        } finally {
          this.#looking.delete(name);
        }
      }
    };
    const all = Promise.all(Array.from({ length: LOOKS_MAX }, lane)).finally(() => ended.abort());
    // Aborted by the end of all looks, or by the time that a pass has: then no lane takes another group.
    await Promise.race([all, clock.sleep(timings.planMs * LOOK_PASSES_MAX, ended.signal)]);
    ended.abort();
    all.catch((defect: unknown) => {
      this.#defect = defect;
    });
    const [first] = failures;
    const isAway = sound === 0 && failures.length >= FAILED_LOOKS_MAX;
    if (first !== undefined && (failures.length === groups.length || isAway)) throw first;
  }

  #lookedAt({ spec }: Group): number {
    return this.#lookedMs.get(spec.name) ?? -1;
  }

  /** Forgets what was read of each group that may have changed since, and of those that are gone. */
  #forgetTouched(groups: readonly Group[], open: readonly Intent[]): void {
    this.#passCount += 1;
    const touched = this.#ports.touched?.take() ?? 'all';
    const names = new Set(groups.map(({ spec }) => spec.name));
    for (const name of this.#lookedMs.keys()) if (!names.has(name)) this.#lookedMs.delete(name);
    for (const name of this.#facts.keys())
      if (touched === 'all' || touched.has(name) || !names.has(name)) this.#facts.delete(name);
    // An operation is changed by its id, which names no group. How far it has come decides nothing here: whether there is
    // one, and since when one waits for a person.
    const now = new Map<string, string>();
    for (const { group, id, status, updatedMs } of open)
      now.set(group, `${now.get(group) ?? ''} ${id} ${status} ${status === 'parked' ? updatedMs : ''}`);
    for (const name of new Set([...now.keys(), ...this.#open.keys()]))
      if (now.get(name) !== this.#open.get(name)) this.#facts.delete(name);
    this.#open = now;
  }

  /**
   * Whether nothing is due in a group, by earlier facts. They are good for no more than that: an operation is planned upon
   * facts that are read for it.
   */
  #isQuiet(name: string, { view }: Moment): boolean {
    const { clock, timings } = this.#ports;
    const known = this.#facts.get(name);
    if (known === undefined || clock.monotonicMs() - known.readMs >= timings.parkedRetryMs * REREAD_PAUSES)
      return false;
    if (this.#troubled.has(name) || this.#contradicted.has(name) || this.#waiting.has(name)) return false;
    const contradiction = contradictionOf({ ...known.facts, view });
    if (contradiction !== undefined) return false;
    const due = plan({ ...known.facts, contradiction, view, nowMs: clock.wallMs(), timings });
    return due.create.length === 0 && due.reopen.length === 0 && due.waits === undefined;
  }

  /** A plan is written in the epoch in which its facts were read, or not at all. */
  async #lookAt(name: string, leaderEpoch: bigint): Promise<void> {
    const { store, clock } = this.#ports;
    const { group, plan: due } = await this.#planFor(name, leaderEpoch);
    for (const planned of due.create) {
      // The facts may have changed since they were read. The lock makes a person who pauses the group wait, so that nothing
      // begins after the answer to that.
      const isWanted = async (trx: Write): Promise<boolean> =>
        !dependsOnGroup(planned) || isStillDue(planned, { before: group, now: await lockGroup(trx, name) });
      await inSpan(`tick ${planned.kind}`, { 'antipode.group': name }, () =>
        this.intend(planned, isWanted, leaderEpoch),
      );
    }
    for (const id of due.reopen)
      await store.write(leaderEpoch, (trx) =>
        updateIntent(trx, id, { status: 'open', attempts: 0, nextAttemptMs: clock.wallMs() }, clock.wallMs()),
      );
  }

  /** Once a streak. */
  #report(group: string, error: AntipodeError): void {
    const isKnown = this.#troubled.has(group);
    this.#note(group, error);
    this.#ports.log.at(isKnown ? 'debug' : 'error', 'planning failed for a group; the others are planned', {
      group,
      error,
    });
  }

  /** Everything of one moment: a failover that ends between two reads would look as if it had never settled. */
  async #planFor(name: string, leaderEpoch: bigint): Promise<{ group: Group; plan: Plan }> {
    const { store, clock, detector, timings } = this.#ports;
    const sinceMs = clock.wallMs() - timings.automaticFailoverGapMs;
    const view = detector.snapshot();
    const readMs = clock.monotonicMs();
    const pass = this.#passCount;
    const facts = await store.snapshot((db) => readFacts(db, name, { sinceMs }));
    // A later pass has looked already at what was written since.
    if (this.#ports.touched !== undefined && pass === this.#passCount) this.#facts.set(name, { facts, readMs });
    const { newest, acknowledged } = facts;
    const needed = [...(newest === undefined ? [] : [newest]), ...acknowledged].map(
      ({ manifestDigest }) => manifestDigest,
    );
    this.#ports.cache.learnNeeded(name, [...new Set(needed)]);
    this.#ports.cache.learnAcknowledged(name, acknowledged);
    const contradiction = contradictionOf({ ...facts, view });
    await this.#tell(facts.group, contradiction?.message, { leaderEpoch, view });
    const due = plan({ ...facts, contradiction, view, nowMs: clock.wallMs(), timings });
    await this.#tellWait(facts.group, due.waits, leaderEpoch);
    return { group: facts.group, plan: due };
  }

  /** An alarm when the wait begins, and a word when it ends. */
  async #tellWait(group: Group, waits: AwaitedGenerations | undefined, leaderEpoch: bigint): Promise<void> {
    const { store, clock, log } = this.#ports;
    const { name } = group.spec;
    const before = this.#waiting.get(name);
    if (waits === undefined) {
      if (before === undefined) return;
      this.#waiting.delete(name);
      log.warn('the automatic failover continues', { group: name });
      return;
    }
    const losses = (await store.query((db) => readAhead(db, name, waits.holds))).map(named);
    this.#waiting.set(name, { ...waits, losses, sinceMs: before?.sinceMs ?? clock.monotonicMs() });
    if (before !== undefined) return;
    const holders = waits.holders.map(({ site, trouble }) => `${site}: ${trouble}`).join(', ');
    const generations = waits.generations.map(({ number }) => number).join(', ');
    const details = { to: waits.to, generations, holders };
    await store.write(leaderEpoch, async (_trx, record) => record({ kind: 'failover-waiting', group: name, details }));
    log.error(
      'no member serves, and a failover would lose acknowledged generations: it waits for an operator or a returning member',
      {
        group: name,
        ...details,
      },
    );
  }

  /** One line and one event when a contradiction begins, changes or ends: it is a state, and lasts until a person acts. */
  async #tell(of: Group, message: string | undefined, { leaderEpoch, view }: Moment): Promise<void> {
    const { store, log } = this.#ports;
    const { name: group } = of.spec;
    if (this.#contradicted.get(group) === message) return;
    // In a later term, the site that contradicts the database is perhaps not heard yet.
    if (message === undefined && votingSites(of).some((site) => mayBeHeard(view(site)))) return;
    const kind = message === undefined ? 'contradiction-ended' : 'contradiction-found';
    await store.write(leaderEpoch, async (_trx, record) =>
      record({ kind, group, details: { message: message ?? '' } }),
    );
    if (message === undefined) {
      this.#contradicted.delete(group);
      log.info('database and journals agree again', { group });
    } else {
      this.#contradicted.set(group, message);
      log.error('database and journals contradict each other: nothing is ordered in this group', { group, message });
    }
  }

  /** Through the queue, or here where the queue is away. */
  async #wake({ id, kind, site }: Pick<Intent, 'id' | 'kind' | 'site'>): Promise<void> {
    const { wakeUps, runner, log } = this.#ports;
    if (runner.isRunning(id)) return;
    try {
      await wakeUps.enqueue(id, site === '' ? kind : `site.${site}`);
      if (!this.#isQueueUp) log.info('the queue is back');
      this.#isQueueUp = true;
    } catch (thrown) {
      if (this.#isQueueUp)
        log.warn('the queue is unavailable: intents run without it', { error: AntipodeError.from(thrown) });
      this.#isQueueUp = false;
      await this.#runHere({ id, kind });
    }
  }

  async #runHere({ id, kind }: Pick<Intent, 'id' | 'kind'>): Promise<void> {
    if (this.#localRuns >= LOCAL_RUNS_MAX && kind !== 'failover') return;
    this.#localRuns += 1;
    await this.#ports.runner
      .run(id)
      .catch((error: unknown) => {
        if (AntipodeError.from(error).disposition === 'defect') throw error;
      })
      .finally(() => {
        this.#localRuns -= 1;
      });
  }
}
