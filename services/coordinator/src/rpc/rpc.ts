/** What agents and operators ask of the coordinator. Operators' orders become intents; only the leader takes them. */
import {
  type CertificateState,
  type CoordinatorService,
  certificateInfo,
  type DescribeResponse,
  filterMessage,
  generationName,
  type Handlers,
  nameRef,
  type OperatorService,
} from '@antipode/protocol';
import { AntipodeError, type Clock, fromHex, isAddress, type Log, VERSION } from '@antipode/runtime';
import type { ClockStep, Timeline } from '../calendar/timeline.ts';
import type { Leadership } from '../election.ts';
import { concernsOf, NO_FAILURE } from '../groups/concerns.ts';
import { type Contradiction, contradictionOf, quarantineOf, refuseContradicted } from '../groups/contradiction.ts';
import { standingOf } from '../groups/generation-standing.ts';
import type { GroupCache } from '../groups/group-cache.ts';
import { checkDistributor, checkSeats, checkSites, differences, specFrom } from '../groups/group-spec.ts';
import { usableAcknowledgements } from '../groups/member-trouble.ts';
import { activeOf, type Group } from '../model.ts';
import type { Changes } from '../operations/changes.ts';
import type { EffectContext } from '../operations/context.ts';
import { refOf, requireRef } from '../operations/context.ts';
import { startDrill } from '../operations/drill/start.ts';
import { survey } from '../operations/failover/effects.ts';
import { planFailover } from '../operations/failover/plan.ts';
import { requireTarget, startFailover } from '../operations/failover/start.ts';
import type { Reconciler } from '../operations/reconciler.ts';
import type { Runner } from '../operations/runner.ts';
import type { WakeUps } from '../queue/wake-ups.ts';
import type { Agents } from '../sites/agents.ts';
import type { Detector } from '../sites/detector.ts';
import type { JournalBook } from '../sites/journals.ts';
import type { LeaseBook } from '../sites/leases.ts';
import { type Store, toJson } from '../store/store.ts';
import { readDrills, readLastPassed } from '../store/tables/drills.ts';
import { readAcknowledged, readGeneration, readNewest } from '../store/tables/generations.ts';
import { insertGroup, readGroup, readGroups, readTenures, setDistributor } from '../store/tables/groups.ts';
import { isMoveOpen, readDone, readIntent, readOpenIntents, readRecent } from '../store/tables/intents.ts';
import { readRefused, recordRefused } from '../store/tables/refused.ts';
import { readScrubs } from '../store/tables/scrubs.ts';
import { readPlace, recordSite } from '../store/tables/sites.ts';
import { type Place, readFailing } from '../store/tables/streaks.ts';
import type { Timings } from '../timings.ts';
import { operationHandlers } from './operations.ts';
import { reseatHandlers } from './reseat.ts';
import {
  groupState,
  namesakesAt,
  operationMessage,
  pausedUntilMs,
  STANDINGS,
  siteState,
  unreadableGroup,
} from './views.ts';

/** For heartbeats, which wait for no query. */
export interface HeartbeatPorts {
  readonly store: Pick<Store, 'write'>;
  readonly election: Pick<Leadership, 'require'>;
  readonly cache: Pick<GroupCache, 'all' | 'needed'>;
  readonly detector: Pick<Detector, 'admit' | 'heard' | 'view'>;
  readonly journals: Pick<JournalBook, 'hear'>;
  readonly leases: Pick<LeaseBook, 'granted'>;
  readonly clock: Clock;
  readonly timings: Timings;
}

/** For the orders and questions of operators. */
export interface RpcPorts {
  readonly id: string;
  readonly store: Store;
  readonly election: Leadership;
  readonly cache: Pick<GroupCache, 'refresh'>;
  readonly detector: Detector;
  readonly leases: Pick<LeaseBook, 'remainingMs'>;
  readonly context: EffectContext;
  readonly agents: Pick<Agents, 'client'>;
  readonly reconciler: Pick<Reconciler, 'intend' | 'waitOf' | 'troubles'>;
  readonly runner: Pick<Runner, 'isRunning'>;
  readonly wakeUps: Pick<WakeUps, 'isUp'>;
  readonly changes: Changes;
  readonly clock: Clock;
  /** The same time as `clock`, with what the wall clock made of it. */
  readonly timeline: Pick<Timeline, 'toWallMs' | 'lastStep'>;
  readonly log: Log;
  readonly timings: Timings;
  /** Of our own certificate; absent where no network is (tests). */
  readonly certificate?: () => CertificateState;
}

/** A failover leads away from an active member whose journal cannot be believed; never out of a database that was rolled back. */
const isWayOut = ({ kind }: Contradiction): boolean => kind === 'journal-not-ours';

const DRILLS_DEFAULT = 50;
/** A partition of 10,000 objects is read in a second, once its turn has come. */
const MATCH_TIMEOUT_MS = 30_000;

export function coordinatorHandlers({
  election,
  cache,
  detector,
  journals,
  leases,
  timings,
  store,
  clock,
}: HeartbeatPorts): Handlers<typeof CoordinatorService> {
  /** What the database has of each site, by what was last written under this leadership. */
  const written = new Map<string, string>();
  /** The same of what each member could not restore. */
  const writtenRefused = new Map<string, string>();
  /** Not awaited: a heartbeat renews leases, and this is a list for people. What could not be written is with the next one. */
  const noteRefused = (group: string, { site, members }: DescribeResponse, leaderEpoch: bigint): void => {
    const said = members.find((member) => member.group === group);
    if (said === undefined) return;
    const refused = said.refused.map(({ objectId, kind, code, returnValue }) => ({
      objectId,
      kind,
      code,
      returnValue,
    }));
    const objects = said.refusedObjects;
    const inForce = `${leaderEpoch} ${objects} ${toJson(refused)}`;
    const place = `${group} ${site}`;
    if (writtenRefused.get(place) === inForce) return;
    writtenRefused.set(place, inForce);
    store
      .write(leaderEpoch, (trx) => recordRefused(trx, { group, site, refused, objects, atMs: clock.wallMs() }))
      .catch((thrown: unknown) => {
        writtenRefused.delete(place);
        if (AntipodeError.from(thrown).disposition === 'defect') throw thrown;
      });
  };
  return {
    heartbeat: async ({ state, address }, { identity, peer = '' }) => {
      if (state === undefined || state.site !== identity.name) {
        throw new AntipodeError('PEER_REFUSED', `site ${identity.name} must not speak for ${state?.site ?? 'nobody'}`, {
          details: { site: identity.name },
        });
      }
      const leaderEpoch = election.require();
      if (!isAddress(address))
        throw new AntipodeError('REQUEST_INVALID', `the address of site ${state.site} must be host:port`, {
          details: { field: 'address', site: state.site },
        });
      detector.admit(state, { address, peer });
      const { account, added } = journals.hear(state, cache.all);
      detector.heard(account, { address });
      const partitions = state.partitions.map(({ serial, module, tokenLabel }) => ({ serial, module, tokenLabel }));
      const row = { name: state.site, address, version: state.version, partitions: toJson(partitions) };
      const inForce = `${leaderEpoch} ${toJson(row)}`;
      if (written.get(state.site) !== inForce) {
        await store.write(leaderEpoch, (trx) => recordSite(trx, row));
        written.set(state.site, inForce);
      }
      const seats = cache.all.filter(({ members }) => members.some(({ site }) => site === state.site));
      for (const { spec } of seats) noteRefused(spec.name, state, leaderEpoch);
      const held = seats.filter((group) => {
        const seat = state.members.find((member) => member.group === group.spec.name);
        // Only under the highest epoch ever issued: while a failover is under way, nothing is renewed.
        return (
          group.epoch === group.highestEpoch &&
          group.owner === state.site &&
          seat?.epoch === group.epoch &&
          quarantineOf(group, detector.view(state.site)) === undefined &&
          activeOf(group)?.site === state.site
        );
      });
      for (const { spec } of held) leases.granted(spec.name);
      return {
        intervalMs: timings.heartbeatMs,
        roundTripMsMax: timings.roundTripMsMax,
        leases: held.map(({ spec, epoch }) => ({
          group: spec.name,
          epoch,
          leaseMs: BigInt(timings.leaseMs),
          selfStopMs: BigInt(timings.selfStopMs),
        })),
        epochs: seats
          .filter(({ highestEpoch }) => highestEpoch > 0n)
          .map(({ spec, highestEpoch, highestOwner }) => ({
            group: spec.name,
            epoch: highestEpoch,
            owner: highestOwner,
            requestId: 'heartbeat',
          })),
        quarantined: added,
        // Also to a site with nothing but a scratch partition of the group: its drills bring generations into its store.
        needed: cache.all.flatMap(({ spec, members }) => {
          if (![...members, ...spec.scratch].some(({ site }) => site === state.site)) return [];
          const digests = cache.needed(spec.name);
          return digests === undefined ? [] : [{ group: spec.name, manifestDigests: digests.map(fromHex) }];
        }),
        peers: seats.map((group) => ({
          group: group.spec.name,
          sites: group.members
            .filter(({ site }) => site !== state.site)
            .sort((one, other) => Number(other.role === 'active') - Number(one.role === 'active'))
            .map(({ site }) => ({ site, address: detector.view(site)?.address ?? '' })),
        })),
      };
    },
  };
}

/** A day after it, nobody wonders any more. */
const STEP_SHOWN_MS = 86_400_000;

const clockStepOf = (step: ClockStep | undefined) =>
  step === undefined || step.ageMs > STEP_SHOWN_MS
    ? {}
    : { clockStep: { byMs: BigInt(step.byMs), ageMs: BigInt(step.ageMs) } };

/** What must have ended well the last time, and where. */
const placesOf = ({ members }: Group): Place[] => [
  { kind: 'domain-key', site: '' },
  ...members.map(
    ({ site, role }): Place => ({
      kind: role === 'active' ? 'capture' : role === 'standby' ? 'replication' : 'rejoin',
      site,
    }),
  ),
];

export function operatorHandlers(ports: RpcPorts): Handlers<typeof OperatorService> {
  const {
    id,
    store,
    election,
    cache,
    detector,
    leases,
    context,
    agents,
    reconciler,
    wakeUps,
    changes,
    clock,
    timings,
  } = ports;
  const toWallMs = (atMs: number): number => ports.timeline.toWallMs(atMs);

  const factsOf = async (group: Group, view = detector.snapshot()) => {
    const name = group.spec.name;
    // One after another on one connection: a status of many groups must not take them all.
    const read = await store.snapshot(async (db) => ({
      newest: await readNewest(db, name),
      acknowledged: await readAcknowledged(db, name),
      lastPassedMs: await readLastPassed(db, name),
      scrubs: await readScrubs(db, name),
      open: await readOpenIntents(db, { group: name }),
      drill: (await readDrills(db, { group: name, limit: 1 }))[0],
      failing: await readFailing(db, name, { places: placesOf(group), noFailure: NO_FAILURE }),
      refused: await readRefused(db, name),
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
          monotonicMs: clock.monotonicMs(),
        },
        view,
        nowMs: clock.wallMs(),
        hangMs: timings.hangMs,
      }),
      wait: waiting && { waiting, ageMs: clock.monotonicMs() - waiting.sinceMs },
      pausedUntilMs: group.spec.failoverPolicy === 'automatic' ? pausedUntilMs(read.moves, timings) : undefined,
      leaseRemainingMs: leases.remainingMs(name),
      contradiction: contradictionOf({ group, newest: read.newest, view }),
      view,
      nowMs: clock.wallMs(),
      toWallMs,
    });
  };
  /**
   * Every group, with views that were taken before they were read, and those that cannot be read by their names: one of
   * them hides none of the others.
   */
  const allGroups = async () => {
    const view = detector.snapshot();
    const unreadable: string[] = [];
    const groups = await store.snapshot((db) => readGroups(db, (group) => unreadable.push(group)));
    const states = await Promise.all(
      groups.map((group) =>
        factsOf(group, view).catch((thrown: unknown) => {
          if (AntipodeError.from(thrown).disposition === 'defect') throw thrown;
          return unreadableGroup(group.spec.name);
        }),
      ),
    );
    return [...states, ...unreadable.map(unreadableGroup)];
  };
  const groupOf = (name: string): Promise<Group> => store.snapshot((db) => readGroup(db, name));
  /** A group in which something may be ordered. @throws GROUP_CONTRADICTED */
  const agreedGroup = async (
    name: string,
    isAllowed: (contradiction: Contradiction) => boolean = () => false,
  ): Promise<Group> => {
    const view = detector.snapshot();
    const group = await groupOf(name);
    const newest = await store.query((db) => readNewest(db, name));
    const contradiction = contradictionOf({ group, newest, view });
    if (contradiction !== undefined && !isAllowed(contradiction)) refuseContradicted(group, contradiction);
    return group;
  };
  const untilEnded = async (operationId: string, signal: AbortSignal): Promise<void> => {
    for (;;) {
      const intent = await store.query((db) => readIntent(db, operationId));
      if (intent === undefined || intent.status !== 'open' || signal.aborted) return;
      await changes.next(operationId, { clock, timeoutMs: timings.planMs, signal });
    }
  };

  return {
    createGroup: async ({ spec: message }) => {
      election.require();
      const spec = specFrom(message);
      const known = await store.query((db) => readGroups(db, () => {}));
      const existing = known.find((group) => group.spec.name === spec.name);
      const different = existing === undefined ? [] : differences(existing.spec, spec);
      if (different.length > 0) {
        throw new AntipodeError(
          'ALREADY_EXISTS',
          `group ${spec.name} already exists with another declaration: ${different.join('; ')}`,
          {
            details: { group: spec.name },
            hint: 'Repeat the command with the existing declaration (`antipode group show`), or choose another name.',
          },
        );
      }
      // Declared before, seated, and every member has a domain key: there is nothing to do.
      if (existing !== undefined && existing.domainKeyVersion > 0)
        return { group: await factsOf(existing), operationId: '' };
      checkSites(spec, detector);
      if (existing === undefined) {
        checkSeats(
          spec,
          known.map((group) => group.spec),
        );
        await store.write(election.require(), async (trx, record) => {
          await insertGroup(trx, spec, clock.wallMs());
          record({
            kind: 'group-created',
            group: spec.name,
            site: spec.members[0]!.site,
            details: { members: spec.members.length },
          });
        });
        await cache.refresh();
      }
      const { id: operationId } = await reconciler.intend({
        kind: 'domain-key',
        group: spec.name,
        site: '',
        state: { phase: 'due' },
        trace: {},
      });
      const view = detector.snapshot();
      return { group: await factsOf(await groupOf(spec.name), view), operationId };
    },

    matchRules: async ({ group: name, spec: message }, { signal }) => {
      const { spec, active } =
        name === ''
          ? { spec: specFrom(message), active: undefined }
          : await groupOf(name).then((group) => ({ spec: group.spec, active: activeOf(group) }));
      if (name === '') checkSites(spec, detector);
      const { site, serial } = active ?? spec.members[0]!;
      const { rules } = await agents
        .client(site)
        .matchFilter({ serial, filter: filterMessage(spec.filter) }, { timeoutMs: MATCH_TIMEOUT_MS, signal });
      return { site, serial, rules };
    },

    listGroups: async () => ({ groups: await allGroups() }),

    getGroup: async ({ group }) => {
      const view = detector.snapshot();
      return { group: await factsOf(await groupOf(group), view) };
    },

    getStatus: async () => ({
      coordinator: id,
      version: VERSION,
      isLeader: election.epoch !== undefined,
      sites: detector.sites.map((view) => siteState(view, clock.monotonicMs(), detector.refused(view.site))),
      groups: await allGroups(),
      operations: (await store.query(readRecent)).map((intent) => operationMessage(intent, toWallMs)),
      isQueueUp: wakeUps.isUp(),
      planningTroubles: reconciler.troubles.map(({ group, error, sinceMs }) => ({
        group,
        errorCode: error.code,
        message: error.message,
        ageMs: BigInt(Math.round(clock.monotonicMs() - sinceMs)),
        hint: error.hint,
      })),
      ...clockStepOf(ports.timeline.lastStep),
      ...(ports.certificate === undefined ? {} : { certificate: certificateInfo(ports.certificate()) }),
    }),

    rotateDomainKey: async ({ group }) => {
      await agreedGroup(group);
      return {
        operationId: (
          await reconciler.intend({ kind: 'domain-key', group, site: '', state: { phase: 'due' }, trace: {} })
        ).id,
      };
    },

    setDistributor: async ({ group: name, distributor: message }) => {
      const group = await agreedGroup(name);
      const distributor = message === undefined ? undefined : { site: message.site, serial: message.serial };
      if (distributor !== undefined) checkDistributor(group.spec, distributor, detector);
      await store.write(election.require(), async (trx, record) => {
        await setDistributor(trx, name, distributor);
        record({ kind: 'distributor-named', group: name, site: message?.site ?? '', details: {} });
      });
      await cache.refresh();
      return { group: await factsOf(await groupOf(name), detector.snapshot()) };
    },

    replicate: async ({ group: name }, { signal }) => {
      const group = await agreedGroup(name);
      const active = activeOf(group);
      if (group.highestEpoch !== group.epoch || (await store.query((db) => isMoveOpen(db, name))))
        throw new AntipodeError('GROUP_BUSY', `a failover of group ${name} is under way`, { details: { group: name } });
      if (active === undefined || group.domainKeyVersion === 0) {
        throw new AntipodeError('DOMAIN_KEY_MISSING', `group ${name} has no domain key yet`, {
          details: { group: name, version: 0 },
        });
      }
      const planned = { kind: 'capture', group: name, site: active.site, state: { phase: 'due' }, trace: {} } as const;
      let made = await reconciler.intend(planned);
      if (!made.isNew) {
        // A capture that is under way may have started before what the operator wants to see captured.
        await untilEnded(made.id, signal);
        made = await reconciler.intend(planned);
      }
      return { operationId: made.id };
    },

    getGeneration: async ({ group: name, generation, sites }) => {
      const group = await groupOf(name);
      const asked = generationName(requireRef(generation));
      const [recorded, newest, acknowledged, tenures] = await store.query((db) =>
        Promise.all([
          readGeneration(db, name, asked),
          readNewest(db, name),
          readAcknowledged(db, name),
          readTenures(db, name),
        ]),
      );
      const standbys = group.members.filter(({ site, role }) => role === 'standby' && detector.isUp(site));
      const waited = sites.length > 0 ? sites : standbys.map(({ site }) => site);
      const usable = usableAcknowledgements(group, acknowledged, (site) => detector.view(site));
      const answer = standingOf({ asked, recorded, newest, acknowledged: usable, tenures, waited });
      return {
        standing: STANDINGS[answer.standing],
        acknowledgedSites: [...answer.acknowledgedSites],
        waitingSites: [...answer.waitingSites],
        lackingSites: group.members
          .filter(({ site, role }) => role !== 'active' && !answer.acknowledgedSites.includes(site))
          .map(({ site }) => site),
        ...(newest === undefined ? {} : { newest: refOf(newest) }),
      };
    },

    runDrill: async ({ group: name, site }) => ({ operationId: await startDrill(ports, { group: name, site }) }),

    listDrills: async ({ group, limit }) => {
      if (group !== '') await groupOf(group);
      const drills = await store.query((db) =>
        readDrills(db, { ...(group === '' ? {} : { group }), limit: limit || DRILLS_DEFAULT }),
      );
      return {
        drills: drills.map((drill) => ({
          id: drill.id,
          group: drill.group,
          site: drill.site,
          generation: drill.number,
          passed: drill.passed,
          proof: { ...drill.proof, failedObjectIds: [...drill.proof.failedObjectIds] },
          errorCode: drill.errorCode,
          startedMs: BigInt(toWallMs(drill.startedMs)),
          recoveryTimeMs: BigInt(drill.recoveryTimeMs),
          evidence: drill.evidence,
          signature: drill.signature,
          signer: drill.signer,
        })),
      };
    },

    runScrub: async ({ group: name, site }) => {
      const group = await groupOf(name);
      const members = group.members.filter((member) =>
        site === '' ? member.role !== 'fenced' && detector.isUp(member.site) : member.site === site,
      );
      if (members.length === 0)
        throw new AntipodeError(
          'NOT_FOUND',
          site === '' ? `no member of group ${name} is up` : `site ${site} has no seat in group ${name}`,
          { details: { group: name, site } },
        );
      const planned = members.map((member) => ({
        kind: 'scrub' as const,
        group: name,
        site: member.site,
        state: { phase: 'due' },
        trace: {},
      }));
      return { operationIds: (await Promise.all(planned.map((one) => reconciler.intend(one)))).map((made) => made.id) };
    },

    planFailover: async ({ group: name, toSite }) => {
      const group = await agreedGroup(name, isWayOut);
      requireTarget(group, toSite);
      const from = activeOf(group)?.site ?? '';
      const found = await survey(context, group);
      const request = { from, wanted: toSite, reason: 'operator', excluded: [] } as const;
      const strict = planFailover({ ...request, acceptLoss: false, accepted: [] }, found);
      const isRefused = strict.obstacle !== undefined;
      const { obstacle, choice } = isRefused
        ? planFailover({ ...request, acceptLoss: true, accepted: 'all' }, found)
        : strict;
      // What has to be fetched first may turn out not to be had: then only a person who accepts its loss can go on.
      const ifNotFetched =
        choice?.fetch === undefined
          ? undefined
          : planFailover({ ...request, acceptLoss: true, accepted: 'all' }, found).choice;
      const target = found.reachable.find(({ site }) => site === choice?.to);
      return {
        fromSite: from,
        toSite: choice?.to ?? '',
        ...(target?.applied === undefined
          ? {}
          : { targetGeneration: { epoch: target.applied.epoch, generation: target.applied.number } }),
        lostGenerations: (choice?.lost ?? []).map(({ number }) => number),
        losses: ((ifNotFetched ?? choice)?.lost ?? []).map(nameRef),
        obstacle: obstacle ?? '',
        catchesUp: choice?.canCatchUp === true,
        needsAcceptLoss: obstacle === undefined && isRefused,
        namesakeObjects: namesakesAt({ group, view: (site) => detector.view(site) }, choice?.to ?? ''),
        leaseWaitMs: BigInt(
          Math.round(found.reachable.some(({ site }) => site === from) ? 0 : leases.remainingMs(name)),
        ),
      };
    },

    failover: async ({ group: name, toSite, acceptLoss, acceptedLosses }, { identity }) => {
      const group = await agreedGroup(name, isWayOut);
      const accepted = acceptedLosses.map(generationName);
      return startFailover(ports, group, { toSite, acceptLoss, accepted, operator: identity.name });
    },

    ...reseatHandlers(ports),
    ...operationHandlers(ports),

    resolve: async ({ group: name }) => {
      const group = await agreedGroup(name);
      // Where an epoch was issued, the active member of the one before is fenced, or may be at any moment.
      if (group.highestEpoch !== group.epoch)
        throw new AntipodeError(
          'NOT_SERVED',
          `group ${name} has no active member; a failover to ${group.highestOwner} is under way or stuck`,
          { details: { group: name, epoch: group.highestEpoch } },
        );
      const active = activeOf(group);
      if (active === undefined)
        throw new AntipodeError('NOT_FOUND', `group ${name} has no active member`, { details: { group: name } });
      const view = detector.view(active.site);
      const live = view?.state?.partitions.find(({ serial }) => serial === active.serial);
      // After a restart the site may not have been heard yet: what it said before still tells where it is.
      const place = live ?? (await store.query((db) => readPlace(db, active)));
      return {
        site: active.site,
        module: place?.module ?? '',
        tokenLabel: place?.tokenLabel ?? '',
        serial: active.serial,
        epoch: group.epoch,
        siteState: view?.status ?? 'unknown',
        partitionErrorCode: live?.errorCode ?? '',
        isLeader: election.epoch !== undefined,
      };
    },
  };
}
