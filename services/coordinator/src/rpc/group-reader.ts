/** Groups as the services need them: by their names, agreed upon by database and journals, and as operators see them. */
import { AntipodeError } from '@antipode/runtime';
import { concernsOf, NO_FAILURE } from '../groups/concerns.ts';
import { type Contradiction, contradictionOf, refuseContradicted } from '../groups/contradiction.ts';
import type { Group } from '../model.ts';
import type { Store } from '../store/store.ts';
import { readApprovalUses } from '../store/tables/approvals.ts';
import { readArchiveStandings } from '../store/tables/archives.ts';
import { readDrills, readLastPassed } from '../store/tables/drills.ts';
import { readAcknowledged, readAcknowledgedByJoining, readNewest } from '../store/tables/generations.ts';
import { readGroup, readGroups } from '../store/tables/groups.ts';
import { readDone, readOpenIntents } from '../store/tables/intents.ts';
import { readRefused } from '../store/tables/refused.ts';
import { readScrubs } from '../store/tables/scrubs.ts';
import { type Place, readFailing } from '../store/tables/streaks.ts';
import type { RpcPorts } from './ports.ts';
import { groupState, pausedUntilMs, unreadableGroup } from './views/group.ts';

/** Those of vaults are among them, and are shown with their vaults. */
const DRILLS_READ = 20;

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
    const { store, election, leases, reconciler, roleChanges, clock, timeline, timings } = this.#ports;
    const name = group.spec.name;
    // One after another on one connection: a status of many groups must not take them all.
    const read = await store.snapshot(async (db) => ({
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
      refused: await readRefused(db, name),
      approvalUses: await readApprovalUses(db, { group: name, limit: APPROVAL_USES_SHOWN }),
      moves: await readDone(db, {
        group: name,
        kinds: ['failover'],
        sinceMs: clock.wallMs() - timings.automaticFailoverGapMs,
      }),
    }));
    const waiting = reconciler.waitOf(name);
    return groupState({
      group,
      ...read,
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
