/** The coordinator's nouns. Epochs and generation numbers are BigInt, times milliseconds of the timeline. */
import type { GenerationFacts, Proof, RoleName } from '@antipode/protocol';
import type { Disposition, ErrorCode } from '@antipode/runtime';

export type Role = RoleName;
export type FailoverPolicy = 'manual' | 'automatic';

export interface Seat {
  readonly site: string;
  readonly serial: string;
}

/** A weekly look costs a partition of 10,000 keys some minutes. */
export const SCRUB_MS_DEFAULT = 7 * 86_400_000;

/** A vault is fetched, attached and backed up by people with other work to do. */
export const ARCHIVE_MS_DEFAULT = 7 * 86_400_000;
export const ARCHIVE_KEEP_DEFAULT = 3;

/** A group as its operators declared it. */
export interface GroupSpec {
  readonly name: string;
  /** The first is the active member of epoch 1. */
  readonly members: readonly Seat[];
  readonly scratch: readonly Seat[];
  /** No member, and alone brings domain keys; absent where the active member makes them. */
  readonly distributor?: Seat;
  /** Sites that only vote and watch; absent for none. */
  readonly witnesses?: readonly string[];
  /** Sites of members in the order in which they should become active; absent for no preference. */
  readonly prefer?: readonly string[];
  /** Label patterns are sensitive: stored, never logged. */
  readonly filter: {
    readonly excludeIds: readonly string[];
    readonly excludeLabels: readonly string[];
    /** Absent from what earlier releases stored. */
    readonly ignoreCase?: boolean;
    readonly excludeClasses: readonly string[];
  };
  readonly rpoMs: number;
  readonly drillCron: string;
  /** Every member's partition is read whole, and every key in it used, at least this often. */
  readonly scrubMs: number;
  readonly failoverPolicy: FailoverPolicy;
  /**
   * `native`: keys that no token wraps move by the cloning of their device. `prefer-native`: all others have both forms.
   * Absent where keys are sealed, and those that no token wraps are reported.
   */
  readonly movement?: 'native' | 'prefer-native';
  /** Vaults by their serial numbers; absent for none. */
  readonly archives?: readonly Seat[];
  /** How often each is backed up at least; absent for the default. */
  readonly archiveMs?: number;
  /** Complete backups that stay in each; absent for the default. */
  readonly archiveKeep?: number;
  /** Programs stop where their site's lease has lapsed; absent where they go on. */
  readonly onLeaseLapse?: 'stop-serving';
  /**
   * How long deleted objects are kept, and how many deletions are taken for a loss; absent for the agents' defaults.
   */
  readonly deletions?: { readonly retentionMs: number; readonly lossObjects: number; readonly lossPercent: number };
}

export interface Member extends Seat {
  readonly role: Role;
  readonly divergent: number;
  readonly unaccounted: number;
}

export interface Group {
  readonly spec: GroupSpec;
  readonly members: readonly Member[];
  /** Sites that become standbys once they have caught up. They have no vote, and nobody promotes them. One at most. */
  readonly joining: readonly Seat[];
  /** Highest epoch that is in force. */
  readonly epoch: bigint;
  readonly owner: string;
  /**
   * The sites that may keep the lease of the active member alive, all of them together, while no coordinator does (ADR
   * 0048). The agent of the active member knows these or none.
   */
  readonly vouchers?: readonly string[];
  /** Highest epoch that was ever issued, and to whom: above `epoch` while a failover is under way. */
  readonly highestEpoch: bigint;
  readonly highestOwner: string;
  /** The version in use; 0 before the first. */
  readonly domainKeyVersion: number;
  /** The highest version that was ever ordered: none is ordered twice. */
  readonly highestVersion: number;
  /** 1, or more where a group of this name was deleted before. */
  readonly firstEpoch: bigint;
  /** A version above this one is due: partitions that have left the group may hold the versions up to it. */
  readonly rotateAbove: number;
  readonly recoveryTimeMs: number | undefined;
  readonly createdMs: number;
  /** Of the declaration: 1, and one more with each change. */
  readonly revision: number;
  /** A person has stopped its automation; absent where nobody has. */
  readonly pause?: { readonly sinceMs: number; readonly operator: string; readonly reason: string };
  /** A person has let automation go on: earlier failovers do not hold up the next automatic one. */
  readonly resumedMs?: number;
}

export type Uncaptured = GenerationFacts['uncaptured'][number];

/** A generation as the coordinator knows it: digests and counts. */
export interface Generation extends GenerationFacts {
  /** When the last capture that gave these contents started. */
  readonly recoveryPointMs: number;
  /** Trace of the capture, which its replications continue. */
  readonly trace: Readonly<Record<string, string>>;
}

/** A kind of operation: a name in the table of kinds. */
export type { IntentKind } from './operations/kinds.ts';
export type { Proof };

/** open: under way. parked: a person must decide. dismissed: it failed, and a person has seen it. */
export type IntentStatus = 'open' | 'parked' | 'done' | 'failed' | 'cancelled' | 'dismissed';

/** The answer of a machine to a state and an event: the next state, and at most one effect. */
export interface Step<State, Effect> {
  readonly state: State;
  readonly effect?: Effect;
}

/** Why an order failed, and where it is found in the logs. */
export interface OrderFailure {
  readonly code: ErrorCode;
  readonly message: string;
  /** Where it failed; empty where that is this coordinator. */
  readonly site: string;
  /** The PKCS#11 name of what the device answered; empty where it is not the device's. */
  readonly returnValue: string;
  readonly atMs: number;
  readonly requestId: string;
  /** A hint, if the place that raised the error knows better than the catalogue. */
  readonly hint?: string;
}

/** The event that reports a failure to a machine. Such a failure will not heal by itself. */
export interface Failure {
  readonly type: 'failed';
  readonly code: ErrorCode;
  readonly disposition: Disposition;
  readonly message: string;
}

/** Sent first, and again after a crash: gives the effect that the state waits for. */
export interface Resume {
  readonly type: 'resume';
}

export const archivePolicyOf = ({ archiveMs, archiveKeep }: Pick<GroupSpec, 'archiveMs' | 'archiveKeep'>) => ({
  everyMs: archiveMs ?? ARCHIVE_MS_DEFAULT,
  keep: archiveKeep ?? ARCHIVE_KEEP_DEFAULT,
});

export const activeOf = (group: Group): Member | undefined => group.members.find(({ role }) => role === 'active');

/** With two sites, neither can know whether the other is lost or the link is cut. */
export const VOTERS_MIN = 3;

/** The witnesses that vote: a site that has a member votes once, by its member. */
export const witnessesOf = ({ spec, members }: Pick<Group, 'spec' | 'members'>): string[] =>
  (spec.witnesses ?? []).filter((witness) => !members.some(({ site }) => site === witness));

/** The sites that vote in a group, its members first. */
export const votingSites = (group: Pick<Group, 'spec' | 'members'>): string[] => [
  ...group.members.map(({ site }) => site),
  ...witnessesOf(group),
];

/** How many sites vote in a group. */
export const votersOf = (group: Pick<Group, 'spec' | 'members'>): number => votingSites(group).length;

/** With fewer sites that vouch, one that lies could keep a second active member alive. */
export const VOUCHERS_MIN = 2;

/** The sites that vote beside the owner of the epoch in force, sorted. */
export const otherVoters = ({ owner, members, spec }: Pick<Group, 'owner' | 'members' | 'spec'>): string[] =>
  votingSites({ members, spec })
    .filter((site) => site !== owner)
    .sort();

/** The sites that may vouch for the active member, by what it may know; none where they are too few. */
export const vouchersOf = ({ vouchers = [] }: Pick<Group, 'vouchers'>): readonly string[] =>
  vouchers.length >= VOUCHERS_MIN ? vouchers : [];

/** Whether exactly the other voters of this moment may vouch. */
export const areVouchersCurrent = (group: Pick<Group, 'owner' | 'members' | 'spec' | 'vouchers'>): boolean =>
  group.vouchers !== undefined && group.vouchers.join() === otherVoters(group).join();

export const majorityOf = (voters: number): number => Math.floor(voters / 2) + 1;

/** Whether the same seats and witnesses vote in both, and the same sites vouch. A majority of other voters does not count. */
export function haveSameVoters(
  one: Pick<Group, 'spec' | 'members' | 'vouchers'>,
  other: Pick<Group, 'spec' | 'members' | 'vouchers'>,
): boolean {
  const voters = (group: typeof one): string[] =>
    [...group.members.map(({ site, serial }) => `${site}=${serial}`), ...witnessesOf(group)].sort();
  return voters(one).join() === voters(other).join() && vouchersOf(one).join() === vouchersOf(other).join();
}

/** Whether the highest epoch that was ever issued is in force: no failover is under way, and none is stuck. */
export const isSettled = (group: Pick<Group, 'epoch' | 'highestEpoch'>): boolean => group.highestEpoch === group.epoch;

/** Whether partitions have joined or left the group since the version in use was ordered. */
export const isVersionDue = ({
  domainKeyVersion,
  rotateAbove,
}: Pick<Group, 'domainKeyVersion' | 'rotateAbove'>): boolean => rotateAbove > 0 && domainKeyVersion <= rotateAbove;
