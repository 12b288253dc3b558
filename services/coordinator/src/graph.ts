/**
 * Everything in a coordinator that decides, put together over ports: a store, a queue, a way to the agents, clocks and
 * chance. It opens nothing and reads no clock of its own, so that whole coordinators run in a test. The process around it
 * (coordinator.ts) brings the database, the queue, the network and the files.
 */
import type { CertificateState, CoordinatorService, Handlers, OperatorService } from '@antipode/protocol';
import {
  AntipodeError,
  type Clock,
  type Closeable,
  closeAll,
  every,
  hex,
  type Log,
  type LoopWatch,
  type Metrics,
  type Prng,
} from '@antipode/runtime';
import { RETENTION_INTERVAL_MS, Retention } from './calendar/retention.ts';
import { Schedule } from './calendar/schedule.ts';
import type { Timeline } from './calendar/timeline.ts';
import { Election, type RenewableLeadership } from './election.ts';
import { GroupCache } from './groups/group-cache.ts';
import { groupsAt } from './groups/groups-at-site.ts';
import type { Hook, Veto } from './hooks/hook.ts';
import { RoleChanges } from './hooks/role-changes.ts';
import { askVetoes } from './hooks/vetoes.ts';
import { addCoordinatorMetrics } from './metrics/coordinator-metrics.ts';
import { OperationMeter } from './metrics/operation-meter.ts';
import { votingSites } from './model.ts';
import { Heartbeats } from './notices/heartbeat.ts';
import { Notices } from './notices/notices.ts';
import type { OpenNotifications } from './notices/open-receivers.ts';
import { failingOf, Receivers } from './notices/receivers.ts';
import { seeing } from './notices/see.ts';
import { Changes } from './operations/changes.ts';
import { EffectContext } from './operations/context.ts';
import { startDrills } from './operations/drill/calendar.ts';
import { Reconciler } from './operations/reconciler.ts';
import { Runner } from './operations/runner.ts';
import type { WakeUps } from './queue/wake-ups.ts';
import { GroupReadings } from './rpc/groups/group-readings.ts';
import { coordinatorHandlers } from './rpc/heartbeats/heartbeat.ts';
import { operatorHandlers } from './rpc/operator.ts';
import type { JoiningOffer, RevocationPorts } from './rpc/ports.ts';
import { Agents, type Dial } from './sites/agents.ts';
import { CoordinatorBook } from './sites/coordinator-book.ts';
import { Detector, type Probe, type Transition } from './sites/detector.ts';
import { ForgottenSites } from './sites/forgotten.ts';
import { JournalBook } from './sites/journals.ts';
import { LeaseBook } from './sites/leases.ts';
import type { Store, Tables } from './store/store.ts';
import { REVOCATION_EVENT, recordedRevocations } from './store/tables/certificates/revocations.ts';
import { renameOpenKinds } from './store/tables/kind-names.ts';
import { lowerLeaseLength, raiseLeaseLength } from './store/tables/leadership/lease-length.ts';
import { readTimeline, writeTimeline } from './store/tables/leadership/timeline.ts';
import { readForgottenSites } from './store/tables/sites/forgotten-sites.ts';
import { readSites } from './store/tables/sites/sites.ts';
import { TouchedGroups } from './store/touched-groups.ts';
import type { Timings } from './timings.ts';

export interface CoordinatorPorts {
  readonly id: string;
  readonly timings: Timings;
  /** The clock on the wall, for calendars and pauses. */
  readonly clock: Clock;
  /** The time of everything that is decided, and of every stamp in the store. */
  readonly timeline: Timeline;
  readonly prng: Prng;
  readonly log: Log;
  readonly store: Store & Pick<Tables, 'examine' | 'migrate'>;
  /** Renewals of the leadership, which must not wait for other work. */
  readonly renewals: Pick<Store, 'query'>;
  readonly dial: Dial;
  /** Calls `run` for each operation that it wakes. */
  readonly wakeUps: WakeUps;
  /** How late this process is. */
  readonly loopDelayMs: () => number;
  readonly certificate?: () => CertificateState;
  /** Absent where machines cannot join. */
  readonly joining?: JoiningOffer | undefined;
  /** The list of revoked certificates; absent where no network is (tests). */
  readonly revocations?: RevocationPorts;
  /** Told of the passes without which a coordinator is of no use. */
  readonly watch?: LoopWatch | undefined;
  /** Of this process; absent where nobody measures. */
  readonly metrics?: Metrics | undefined;
  /** Absent for none. */
  readonly hooks?: { readonly roleChange: readonly Hook[]; readonly veto: readonly Veto[] };
  /** Absent where nobody hears of anything. */
  readonly notifications?: OpenNotifications;
}

/** After an error of the database: the groups are three reads, whatever their number. */
const CACHE_AGAIN_MS = 5_000;
/** The facts of each group are some ten reads. With a thousand groups the whole takes seconds. */
const PLAN_AGAIN_MS = 15_000;
/** While the database is away: the newest ones count. */
const TRANSITIONS_KEPT_MAX = 200;
/** The file of the list has all of them. */
const NAMES_RECORDED_MAX = 32;

/** A new leader has heard every site that is there after so many times the silence that makes a site suspect. */
const SETTLE_SUSPECTS = 3;
/** Notices are looked for so many times less often than what is due. */
const NOTICES_PLANS = 5;
/** A reading of a thousand groups takes seconds. */
const NOTICES_LATE_MS = 60_000;
/** A receiver that is mute for so long more ends the heartbeat: somebody must notice. */
const MUTE_MS = 15 * 60_000;

/** The loop here without which a coordinator is of no use. Passes of the others can wait for hooks and long statements. */
const WATCHED = 'detector';

/** More often than a firewall between two sites forgets an idle connection. */
const KEEP_WARM_MS = 10_000;
/** Two calls without an answer show that a site is mute. Silence is seen almost as soon. */
const WARM_SILENCES = 2;

export class CoordinatorGraph implements Closeable {
  readonly handlers: {
    readonly coordinator: Handlers<typeof CoordinatorService>;
    readonly operator: Handlers<typeof OperatorService>;
  };
  readonly #ports: CoordinatorPorts;
  readonly #store: Store;
  readonly #touched: TouchedGroups;
  readonly #cache: GroupCache;
  readonly #journals: JournalBook;
  readonly #leases: LeaseBook;
  readonly #election: Election;
  readonly #agents: Agents;
  readonly #detector: Detector;
  /** Of use while this coordinator leads. */
  readonly forgotten: ForgottenSites;
  readonly #runner: Runner;
  readonly #reconciler: Reconciler;
  readonly #schedule: Schedule;
  readonly #retention: Retention;
  readonly #roleChanges: RoleChanges;
  readonly #receivers: Receivers;
  readonly #notices: Notices;
  readonly #heartbeats: Heartbeats;
  readonly #loops: Closeable[] = [];
  #transitions: readonly Transition[] = [];
  #recordedRevocations = 0;
  #closed: Promise<void> | undefined;

  constructor(ports: CoordinatorPorts) {
    this.#ports = ports;
    const { id, renewals, prng, log, timings, dial, loopDelayMs, wakeUps, timeline: clock, watch } = ports;
    const touched = new TouchedGroups({ clock });
    const store = touched.noting(ports.store);
    const cache = new GroupCache({
      store,
      news: { touched: touched.reader({ againMs: CACHE_AGAIN_MS }), clock, allMs: timings.parkedRetryMs * 4 },
    });
    const journals = new JournalBook({ store });
    const leases = new LeaseBook({
      clock,
      leaseMs: timings.leaseMs,
      slowestClock: () => this.#detector.slowestClock,
    });
    const coordinators = new CoordinatorBook();
    const forgotten = new ForgottenSites({ clock });
    const election = new Election({
      store: renewals,
      clock,
      prng,
      log,
      id,
      ttlMs: timings.leaderMs,
      mayLead: () => ports.store.examine(),
      // No site takes an order of a revoked coordinator, so another one must lead.
      barred: () => ports.revocations?.ownRefusal(),
      lead: (epoch) => this.#lead(epoch),
      addressOf: (coordinator) => coordinators.addressOf(coordinator),
      lost: () => wakeUps.standDown(),
      watch,
    });
    const agents = new Agents({
      dial,
      addressOf: (site) => this.#detector.view(site)?.address,
      instanceOf: (site) => this.#detector.view(site)?.instance ?? '',
      clock,
      timings,
      election,
      onJournal: (site, mark) => journals.answered(site, mark),
    });
    const probe: Probe = (observer, suspect) => agents.probe(observer, suspect, timings.probeTimeoutMs);
    const detector = new Detector({
      clock,
      log,
      timings,
      loopDelayMs,
      probe,
      votersWith: (site) =>
        groupsAt(cache.all, site)
          .map(votingSites)
          .filter((voters) => voters.includes(site)),
      record: (change) => {
        this.#transitions = [...this.#transitions.slice(-TRANSITIONS_KEPT_MAX), change];
      },
    });
    const context = new EffectContext({
      store,
      election,
      agents,
      detector,
      journals,
      leases,
      cache,
      mayMove: (question) => askVetoes(ports.hooks?.veto ?? [], question, { log }),
      clock,
      calendarMs: () => ports.clock.wallMs(),
      timings,
    });
    const changes = new Changes();
    const { metrics } = ports;
    const meter = metrics && new OperationMeter({ metrics, isSite: (name) => this.#detector.view(name) !== undefined });
    const runner = new Runner({ store, election, context, changes, clock, prng, log, meter });
    const deciding = { store, election, cache, detector, journals, runner, wakeUps, clock, prng, log, timings, watch };
    const reconciler = new Reconciler({ ...deciding, touched: touched.reader({ againMs: PLAN_AGAIN_MS }) });
    this.#store = store;
    this.#touched = touched;
    this.#cache = cache;
    this.#journals = journals;
    this.#leases = leases;
    this.#election = election;
    this.#agents = agents;
    this.#detector = detector;
    this.forgotten = forgotten;
    this.#runner = runner;
    this.#reconciler = reconciler;
    this.#schedule = new Schedule({
      store,
      election,
      clock: ports.clock,
      log,
      drill: (group, isWanted) =>
        startDrills(
          { store, detector, reconciler, untilHeard: (sites) => context.untilHeard(sites) },
          { group, isWanted },
        ),
    });
    this.#retention = new Retention({ store, election, cache, clock, log });
    this.#roleChanges = new RoleChanges(ports.hooks?.roleChange ?? [], { store, election, cache, clock, prng, log });
    const { certificate, joining, revocations } = ports;
    const parts = {
      ...deciding,
      id,
      leases,
      coordinators,
      forgotten,
      context,
      agents,
      reconciler,
      changes,
      joining,
      timeline: clock,
      calendarMs: () => ports.clock.wallMs(),
      roleChanges: this.#roleChanges,
      clockId: hex(prng.bytes(8)),
    };
    const { receivers: told = [], heartbeats: targets = [], factor = 1 } = ports.notifications ?? {};
    this.#receivers = new Receivers(told, {
      store,
      election,
      clock,
      toWallMs: (atMs) => clock.toWallMs(atMs),
      groupsAt: (site) => groupsAt(cache.all, site).map(({ spec }) => spec.name),
      prng,
      log,
      factor,
    });
    this.#heartbeats = new Heartbeats(targets, { election, clock, log, obstacle: () => this.#obstacle() });
    const notifying = { receivers: this.#receivers, heartbeats: this.#heartbeats };
    const rpcPorts = {
      ...parts,
      notifying,
      ...(certificate === undefined ? {} : { certificate }),
      ...(revocations === undefined ? {} : { revocations }),
    };
    const readings = new GroupReadings(rpcPorts);
    this.#notices = new Notices({
      store,
      election,
      clock,
      log,
      receivers: this.#receivers,
      see: seeing(rpcPorts, { readings, receivers: this.#receivers }),
      settleMs: timings.suspectMs * SETTLE_SUSPECTS,
      factor,
    });
    this.handlers = { coordinator: coordinatorHandlers(parts), operator: operatorHandlers(rpcPorts) };
    if (metrics !== undefined) addCoordinatorMetrics(metrics, rpcPorts, readings);
  }

  get leadership(): RenewableLeadership {
    return this.#election;
  }

  /** Takes an operation as far as it goes: for the queue. */
  run(intentId: string): Promise<void> {
    return this.#runner.run(intentId);
  }

  /** Takes part in the election, with one look at once. Before anybody may call the handlers. */
  async takePart(): Promise<void> {
    // A predecessor that is frozen inside a write holds the row for some seconds: the next looks get it.
    await this.#election.pass().catch((thrown: unknown) => {
      const error = AntipodeError.from(thrown);
      if (error.disposition !== 'retry') throw error;
      this.#ports.log.warn('the election could not read the lease; it tries again', { error });
    });
    this.#election.start();
  }

  /** Begins to plan, to watch the sites and to keep the calendar, whenever this coordinator leads. */
  start(): void {
    const { timings } = this.#ports;
    const store = this.#store;
    this.#reconciler.start();
    this.#loop(WATCHED, timings.heartbeatMs, async () => {
      const { epoch } = this.#election;
      if (epoch === undefined) return;
      await this.#detector.pass();
      await this.#recordTransitions(epoch);
      await this.#recordRevocations(epoch);
    });
    this.#loop('connections', Math.min(KEEP_WARM_MS, timings.suspectMs * WARM_SILENCES), () => {
      const up = this.#detector.sites.filter(({ status }) => status === 'up');
      return this.#agents.keepWarm(
        up.map(({ site }) => site),
        (site, error) => this.#detector.called(site, error),
      );
    });
    let shortenedIn: bigint | undefined;
    this.#loop('lease length', timings.leaseMs, async () => {
      const { epoch } = this.#election;
      if (epoch === undefined || epoch === shortenedIn || this.#leases.longestMs() > timings.leaseMs) return;
      await store.write(epoch, (trx) => lowerLeaseLength(trx, timings.leaseMs));
      shortenedIn = epoch;
    });
    this.#loop('schedule', timings.leaderMs / 2, () =>
      this.#schedule.look(this.#cache.all.filter(({ pause }) => pause === undefined).map(({ spec }) => spec)),
    );
    for (const hook of this.#roleChanges.hooks)
      this.#loop(`hook ${hook}`, timings.planMs, () => this.#roleChanges.pass(hook));
    if (this.#receivers.all.length + this.#heartbeats.all.length > 0)
      this.#loop('notices', timings.planMs * NOTICES_PLANS, () => this.#notices.pass());
    for (const { hook } of this.#receivers.all)
      this.#loop(`receiver ${hook.name}`, timings.planMs, () => this.#receivers.pass(hook.name));
    for (const { name, everyMs } of this.#heartbeats.all)
      this.#loop(`heartbeat ${name}`, everyMs, () => this.#heartbeats.pass(name));
    this.#loop('retention', RETENTION_INTERVAL_MS, () => this.#retention.pass());
    this.#loop('timeline', timings.leaderMs, async () => {
      const { timeline } = this.#ports;
      timeline.look();
      const { epoch } = this.#election;
      if (epoch === undefined) {
        const theirs = await store.query(readTimeline);
        if (theirs !== undefined) timeline.watch(theirs, { lookMs: timings.leaderMs });
        return;
      }
      const { mark } = timeline;
      await store.write(epoch, (trx) => writeTimeline(trx, mark));
      timeline.wrote(mark);
    });
  }

  /** Ends what watches and plans. Before the handlers go: silence that is our own must not look like a lost site. */
  async stopLooking(): Promise<void> {
    await closeAll([...[...this.#loops].reverse(), this.#reconciler]);
  }

  /** The connections to the agents go before the runs end: what waits for an HSM is carried on by the next leader. */
  close(): Promise<void> {
    this.#closed ??= closeAll([
      ...[...this.#loops].reverse(),
      this.#reconciler,
      this.#ports.wakeUps,
      this.#agents,
      { close: () => this.#runner.idle() },
      this.#election,
    ]);
    return this.#closed;
  }

  /** A new leader does not know what an earlier one granted or heard: every lease runs, and every site is just expected. */
  async #lead(epoch: bigint): Promise<void> {
    const { timings, wakeUps } = this.#ports;
    const store = this.#store;
    await this.#ports.store.migrate(epoch);
    const mark = await store.query(readTimeline);
    if (mark !== undefined) this.#ports.timeline.continueFrom(mark, { lookMs: timings.leaderMs });
    this.#touched.touchAll();
    this.#cache.forgetNeeded();
    this.#leases.becameLeader({
      earlierLeaseMs: await store.write(epoch, (trx) => raiseLeaseLength(trx, timings.leaseMs)),
    });
    await store.write(epoch, renameOpenKinds);
    await this.#journals.load();
    await this.#cache.refresh();
    this.forgotten.load(await store.query(readForgottenSites));
    this.#detector.expect(await store.query(readSites));
    wakeUps.lead(epoch);
  }

  /** Why it must not be said that all is well here. */
  #obstacle(): string | undefined {
    const { timeline, timings } = this.#ports;
    const nowMs = timeline.monotonicMs();
    const [trouble] = this.#reconciler.troubles.filter(({ group }) => group === '');
    if (trouble !== undefined) return `groups cannot be planned: ${trouble.error.code}`;
    const { passedMs } = this.#notices;
    const lateMs = Math.max(NOTICES_LATE_MS, timings.suspectMs * SETTLE_SUSPECTS * 2);
    if (passedMs === undefined || nowMs - passedMs > lateMs) return 'the look for notices has not succeeded lately';
    const failing = failingOf(this.#receivers, nowMs - MUTE_MS);
    return failing.length === 0 ? undefined : `receiver ${failing.join(', ')} does not accept notices`;
  }

  /** If the database is away, the next pass writes them: a verdict does not wait for a database. */
  async #recordTransitions(epoch: bigint): Promise<void> {
    const transitions = this.#transitions;
    if (transitions.length === 0) return;
    await this.#store.write(epoch, async (_trx, record) => {
      for (const { kind, site, reason } of transitions) record({ kind, site, details: { reason } });
    });
    this.#transitions = this.#transitions.filter((one) => !transitions.includes(one));
  }

  /** Each list once, by whoever leads. */
  async #recordRevocations(epoch: bigint): Promise<void> {
    const { book } = this.#ports.revocations ?? {};
    const { list, digest } = book?.held ?? {};
    if (list === undefined || digest === undefined || this.#recordedRevocations >= list.version) return;
    await this.#store.write(epoch, async (trx, record) => {
      if ((await recordedRevocations(trx)) >= list.version) return;
      const { version, madeBy, entries } = list;
      const names = entries.map(({ name, subject }) => name || subject.slice(0, 16)).slice(0, NAMES_RECORDED_MAX);
      record({
        kind: REVOCATION_EVENT,
        details: { version, digest, madeBy, entries: entries.length, revoked: names.join(' ') },
      });
    });
    this.#recordedRevocations = list.version;
  }

  #loop(name: string, intervalMs: number, work: () => Promise<void>): void {
    const { clock, prng, log } = this.#ports;
    const stop = new AbortController();
    const running = every({
      name,
      clock,
      prng,
      log,
      intervalMs,
      backoffIntervalsMax: 4,
      signal: stop.signal,
      watch: name === WATCHED ? this.#ports.watch : undefined,
      work,
    });
    this.#loops.push({
      close: async () => {
        stop.abort();
        await running;
      },
    });
  }
}

/** A coordinator over these ports. Nothing runs before `takePart` and `start`. */
export const buildCoordinator = (ports: CoordinatorPorts): CoordinatorGraph => new CoordinatorGraph(ports);
