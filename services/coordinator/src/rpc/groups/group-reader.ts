/** Groups as the services need them: by their names, agreed upon by database and journals, and as operators see them. */
import { AntipodeError } from '@antipode/runtime';
import { concernsOf, NO_FAILURE } from '../../groups/concerns.ts';
import { type Contradiction, contradictionOf, refuseContradicted, type Views } from '../../groups/contradiction.ts';
import { type Group, isSettled } from '../../model.ts';
import type { Store } from '../../store/store.ts';
import { readApprovalUses } from '../../store/tables/approvals.ts';
import { readArchiveStandings } from '../../store/tables/evidence/archives.ts';
import { readDrills, readLastPassed } from '../../store/tables/evidence/drills.ts';
import { readScrubs } from '../../store/tables/evidence/scrubs.ts';
import { readAcknowledged, readAcknowledgedByJoining, readNewest } from '../../store/tables/generations.ts';
import { readGroup, readGroups } from '../../store/tables/groups.ts';
import { readDone, readFailed, readOpenIntents } from '../../store/tables/intents.ts';
import { readRefused } from '../../store/tables/refused.ts';
import { type Place, readFailing } from '../../store/tables/streaks.ts';
import type { RpcPorts } from '../ports.ts';
import { groupState, pausedUntilMs, unreadableGroup } from '../views/group.ts';

/** Those of vaults are among them, and are shown with their vaults. */
const DRILLS_READ = 20;

/** Readings for metrics leave the other connections to those who wait for an answer. */
const LANES = 2;

/** `approve list` has all of them. */
const APPROVAL_USES_SHOWN = 10;

/** The kinds and sites that must have ended well the last time. */
const placesOf = ({ spec, members }: Group): Place[] => [
  { kind: 'domain-key', site: '' },
  ...(spec.archives ?? []).map(({ site }): Place => ({ kind: 'archive', site })),
  ...members.map(
    ({ site, role }): Place => ({
      kind: role === 'active' ? 'capture' : role === 'standby' ? 'replication' : 'rejoin',
      site,
    }),
  ),
];

/** For a list of one group, or of all without a name. A misspelt name is not an empty list. @throws NOT_FOUND */
export async function onlyGroup(store: Pick<Store, 'query'>, name: string): Promise<{ group?: string }> {
  if (name === '') return {};
  await store.query((db) => readGroup(db, name));
  return { group: name };
}

/** A group as numbers, as it was when it was read. Unknown values are undefined. */
export interface MeasuredGroup {
  readonly name: string;
  readonly protection: string;
  readonly rpoMs: number;
  readonly epoch: bigint;
  readonly ages: Readonly<Record<'recoveryPointMs' | 'restorableMs' | 'drillMs', number | undefined>>;
  readonly drillPassed: boolean | undefined;
  /** Undefined before the first capture. */
  readonly counts:
    | {
        readonly protectedKeys: number | undefined;
        readonly unprotectedKeys: number | undefined;
        /** The reason of each object. */
        readonly uncaptured: readonly string[];
      }
    | undefined;
  readonly members: readonly {
    readonly site: string;
    readonly role: string;
    readonly recoveryPointMs: number | undefined;
    readonly lagMs: number | undefined;
  }[];
  /** The kind of each. */
  readonly concerns: readonly string[];
}

export class GroupReader {
  readonly #ports: RpcPorts;

  constructor(ports: RpcPorts) {
    this.#ports = ports;
  }

  /** @throws NOT_FOUND */
  read(name: string): Promise<Group> {
    return this.#ports.store.snapshot((db) => readGroup(db, name));
  }

  /** A group in which something may be ordered. @throws NOT_FOUND, GROUP_CONTRADICTED */
  async agreed(name: string, isAllowed: (contradiction: Contradiction) => boolean = () => false): Promise<Group> {
    const { store, detector } = this.#ports;
    const view = detector.snapshot();
    const group = await this.read(name);
    const newest = await store.query((db) => readNewest(db, name));
    const contradiction = contradictionOf({ group, newest, view });
    if (contradiction !== undefined && !isAllowed(contradiction)) refuseContradicted(group, contradiction);
    return group;
  }

  /** For operators. @throws NOT_FOUND */
  async shown(name: string) {
    // The views are taken first: what a site said may be older than the database, never newer.
    const view = this.#ports.detector.snapshot();
    return this.state(await this.read(name), view);
  }

  /** The state of a group for operators, by these views of its sites. */
  async state(group: Group, view = this.#ports.detector.snapshot()) {
    return this.#stateOf(group, await recordsOf(this.#ports, group), view);
  }

  #stateOf(group: Group, read: Records, view: Views) {
    const { election, leases, reconciler, roleChanges, clock, timeline, timings } = this.#ports;
    const name = group.spec.name;
    const waiting = reconciler.waitOf(name);
    return groupState({
      group,
      ...read,
      timings,
      concerns: concernsOf({
        group,
        recent: read,
        own: {
          isLeader: election.epoch !== undefined,
          troubles: reconciler.troubles,
          hooks: roleChanges.troubles,
          monotonicMs: clock.monotonicMs(),
        },
        view,
        nowMs: clock.wallMs(),
        hangMs: timings.hangMs,
      }),
      wait: waiting && { waiting, ageMs: clock.monotonicMs() - waiting.sinceMs },
      pausedUntilMs: group.spec.failoverPolicy === 'automatic' ? pausedUntilMs(read.moves, timings, group) : undefined,
      leaseRemainingMs: leases.remainingMs(name),
      contradiction: contradictionOf({ group, newest: read.newest, view }),
      view,
      nowMs: clock.wallMs(),
      toWallMs: (atMs) => timeline.toWallMs(atMs),
    });
  }

  /** Every group as numbers, a few at a time, and the names of those that cannot be read. */
  async measured(): Promise<{ groups: MeasuredGroup[]; unreadable: string[] }> {
    const { store, detector } = this.#ports;
    const view = detector.snapshot();
    const unreadable: string[] = [];
    const waiting = await store.snapshot((db) => readGroups(db, (group) => unreadable.push(group)));
    const groups: MeasuredGroup[] = [];
    const lane = async (): Promise<void> => {
      for (let group = waiting.shift(); group !== undefined; group = waiting.shift()) {
        try {
          groups.push(this.#measure(group, await recordsOf(this.#ports, group), view));
        } catch (thrown) {
          if (AntipodeError.from(thrown).disposition === 'defect') throw thrown;
          unreadable.push(group.spec.name);
        }
      }
    };
    await Promise.all(Array.from({ length: LANES }, lane));
    return { groups, unreadable };
  }

  /** By the state that operators are shown, so that both say the same. */
  #measure(group: Group, read: Records, view: Views): MeasuredGroup {
    const state = this.#stateOf(group, read, view);
    const { newest, acknowledged, drill, lastPassedMs } = read;
    const nowMs = this.#ports.clock.wallMs();
    const since = (atMs: number | undefined): number | undefined =>
      atMs === undefined ? undefined : Math.max(0, nowMs - atMs);
    const shown = new Map(state.members?.map((member) => [member.site, member.recoveryPointAgeMs]));
    return {
      name: group.spec.name,
      protection: state.protection ?? '',
      rpoMs: group.spec.rpoMs,
      epoch: group.epoch,
      ages: {
        recoveryPointMs: numberOf(state.recoveryPointAgeMs),
        restorableMs: since(lastPassedMs),
        drillMs: since(drill?.startedMs),
      },
      drillPassed: drill?.passed,
      counts:
        newest === undefined
          ? undefined
          : {
              protectedKeys: state.protectedKeys,
              unprotectedKeys: state.unprotectedKeys,
              uncaptured: newest.uncaptured.map(({ reason }) => reason),
            },
      members: group.members.map(({ site, role }) => {
        const recoveryPointMs = numberOf(shown.get(site));
        const held = acknowledged.find((one) => one.site === site);
        const isKnown = recoveryPointMs !== undefined && newest !== undefined && held !== undefined;
        const lagMs = isKnown ? Math.max(0, newest.recoveryPointMs - held.recoveryPointMs) : undefined;
        return { site, role, recoveryPointMs, lagMs };
      }),
      concerns: (state.concerns ?? []).map(({ kind = '' }) => kind),
    };
  }

  /** Every group for operators. One that cannot be read is there by its name, and hides none of the others. */
  async states() {
    const { store, detector } = this.#ports;
    const view = detector.snapshot();
    const unreadable: string[] = [];
    const groups = await store.snapshot((db) => readGroups(db, (group) => unreadable.push(group)));
    const states = await Promise.all(
      groups.map((group) =>
        this.state(group, view).catch((thrown: unknown) => {
          if (AntipodeError.from(thrown).disposition === 'defect') throw thrown;
          return unreadableGroup(group.spec.name);
        }),
      ),
    );
    return [...states, ...unreadable.map(unreadableGroup)];
  }
}

/** One after another on one connection: a status of many groups must not take them all. */
function recordsOf({ store, clock, timings }: Pick<RpcPorts, 'store' | 'clock' | 'timings'>, group: Group) {
  const name = group.spec.name;
  return store.snapshot(async (db) => ({
    newest: await readNewest(db, name),
    acknowledged: await readAcknowledged(db, name),
    joiningAcknowledged: await readAcknowledgedByJoining(db, name),
    lastPassedMs: await readLastPassed(db, name, { sinceMs: group.createdMs }),
    scrubs: await readScrubs(db, name),
    archives: await readArchiveStandings(db, name, { vaults: group.spec.archives ?? [], sinceMs: group.createdMs }),
    open: await readOpenIntents(db, { group: name }),
    drill: (await readDrills(db, { group: name, limit: DRILLS_READ })).find(
      ({ startedMs, vault }) => startedMs >= group.createdMs && vault === undefined,
    ),
    failing: await readFailing(db, name, { places: placesOf(group), noFailure: NO_FAILURE }),
    failedMove: isSettled(group) ? undefined : (await readFailed(db, name)).find(({ kind }) => kind === 'failover'),
    refused: await readRefused(db, name),
    approvalUses: await readApprovalUses(db, { group: name, limit: APPROVAL_USES_SHOWN }),
    moves: await readDone(db, {
      group: name,
      kinds: ['failover'],
      sinceMs: clock.wallMs() - timings.automaticFailoverGapMs,
    }),
  }));
}

type Records = Awaited<ReturnType<typeof recordsOf>>;

const numberOf = (ms: bigint | undefined): number | undefined => (ms === undefined ? undefined : Number(ms));
