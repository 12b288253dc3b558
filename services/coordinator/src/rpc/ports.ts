/** The parts that the services of the coordinator need. */
import type { CertificateState, RevocationBook } from '@antipode/protocol';
import type { AntipodeError, Clock, Log, Prng } from '@antipode/runtime';
import type { Timeline } from '../calendar/timeline.ts';
import type { RenewableLeadership, Terms } from '../election.ts';
import type { GroupCache } from '../groups/group-cache.ts';
import type { RoleChanges } from '../hooks/role-changes.ts';
import type { Heartbeats } from '../notices/heartbeat.ts';
import type { Receivers } from '../notices/receivers.ts';
import type { Changes } from '../operations/changes.ts';
import type { EffectContext } from '../operations/context.ts';
import type { Reconciler } from '../operations/reconciler.ts';
import type { Runner } from '../operations/runner.ts';
import type { WakeUps } from '../queue/wake-ups.ts';
import type { Agents } from '../sites/agents.ts';
import type { CoordinatorBook } from '../sites/coordinator-book.ts';
import type { Detector } from '../sites/detector.ts';
import type { ForgottenSites } from '../sites/forgotten.ts';
import type { JournalBook } from '../sites/journals.ts';
import type { LeaseBook } from '../sites/leases.ts';
import type { Store } from '../store/store.ts';
import type { Timings } from '../timings.ts';

/** For heartbeats, which wait for no query. */
export interface HeartbeatPorts {
  readonly id: string;
  readonly store: Pick<Store, 'write'>;
  readonly election: Pick<Terms, 'epoch' | 'requireLead' | 'holder' | 'outrun'>;
  readonly cache: Pick<
    GroupCache,
    'all' | 'former' | 'needed' | 'acknowledged' | 'deleted' | 'unreadable' | 'releases' | 'refresh'
  >;
  readonly detector: Pick<Detector, 'admit' | 'heard' | 'view' | 'refused'>;
  readonly forgotten: Pick<ForgottenSites, 'refuse' | 'returnsOf'>;
  readonly coordinators: CoordinatorBook;
  readonly journals: Pick<JournalBook, 'hear' | 'predecessorOf' | 'runOf'>;
  readonly agents: Pick<Agents, 'reconnect'>;
  readonly leases: Pick<LeaseBook, 'granted' | 'remainingMs' | 'vouchingEnded'>;
  readonly clock: Clock;
  /** The clock on the wall, for agents that show how far theirs is from it. */
  readonly calendarMs?: () => number;
  /** Names this clock to agents that compare theirs with it: another process has another origin. */
  readonly clockId: string;
  readonly timings: Timings;
}

/** How machines join here. */
export interface JoiningOffer {
  /** Undefined before the door is open. */
  readonly port: () => number | undefined;
  readonly hasIssuer: boolean;
}

/** The list of revoked certificates, and what it says of this coordinator's own. */
export interface RevocationPorts {
  readonly book: Pick<RevocationBook, 'version' | 'held' | 'rules' | 'problem' | 'namedEntries' | 'entries'>;
  readonly ownRefusal: () => AntipodeError | undefined;
  readonly trustDomain: string;
}

/** The parts of a coordinator that tell operators something. */
export interface Notifying {
  readonly receivers: Receivers;
  readonly heartbeats: Heartbeats;
}

/** For the orders and questions of operators. */
export interface RpcPorts {
  readonly id: string;
  readonly store: Store;
  readonly election: RenewableLeadership;
  readonly cache: Pick<GroupCache, 'all' | 'refresh' | 'unreadable'>;
  readonly detector: Detector;
  readonly forgotten: ForgottenSites;
  readonly coordinators: CoordinatorBook;
  readonly leases: Pick<LeaseBook, 'remainingMs' | 'vouchWaitMs'>;
  readonly context: EffectContext;
  readonly agents: Pick<Agents, 'client'>;
  readonly reconciler: Pick<Reconciler, 'intend' | 'waitOf' | 'troubles' | 'isQueueMute'>;
  readonly runner: Pick<Runner, 'isRunning'>;
  readonly wakeUps: Pick<WakeUps, 'isUp'>;
  readonly changes: Changes;
  readonly roleChanges: Pick<RoleChanges, 'troubles'>;
  /** Absent where nobody hears of anything. */
  readonly notifying?: Notifying | undefined;
  readonly clock: Clock;
  /** The same time as `clock`, with what the wall clock made of it. */
  readonly timeline: Pick<Timeline, 'toWallMs' | 'lastStep'>;
  readonly log: Log;
  readonly timings: Timings;
  readonly prng: Prng;
  /** Absent where machines cannot join. */
  readonly joining?: JoiningOffer | undefined;
  /** Of our own certificate; absent where no network is (tests). */
  readonly certificate?: () => CertificateState;
  /** Absent where no network is (tests). */
  readonly revocations?: RevocationPorts;
}
