/** The heartbeats of agents: they say that they are there, and what they hold. The answer renews leases. */

import {
  accountOf,
  type CoordinatorService,
  type DescribeResponse,
  type Handlers,
  HeardHeartbeats,
  isSlowClock,
} from '@antipode/protocol';
import { AntipodeError, elapsedMs, fromHex, isAddress } from '@antipode/runtime';
import type { Terms } from '../../election.ts';
import { acknowledgementsOf } from '../../groups/acknowledgements.ts';
import { orderApprovals } from '../../groups/approvals.ts';
import { quarantineOf } from '../../groups/contradiction.ts';
import { groupsAt, isGroup } from '../../groups/groups-at-site.ts';
import { knownPlaceOf } from '../../groups/known-place.ts';
import { activeOf, areVouchersCurrent, type Group, isSettled, otherVoters, witnessesOf } from '../../model.ts';
import { seatIn } from '../../sites/accounts.ts';
import { grantedVouchers, mayBeVouchedFor, voucheesFor } from '../../sites/vouching.ts';
import { type Change, toJson } from '../../store/store.ts';
import { APPROVAL_DAYS, type ApprovalRecord, recordApprovalUse } from '../../store/tables/approvals.ts';
import { setVouchers } from '../../store/tables/groups.ts';
import type { FormerSeat } from '../../store/tables/membership.ts';
import { recordRefused } from '../../store/tables/refused.ts';
import type { HeartbeatPorts } from '../ports.ts';
import { GroupsInTurn } from './groups-in-turn.ts';
import { SiteRows } from './site-rows.ts';

export function coordinatorHandlers({
  id,
  election,
  cache,
  detector,
  forgotten,
  coordinators,
  agents,
  journals,
  leases,
  timings,
  store,
  clock,
  calendarMs,
  clockId,
}: HeartbeatPorts): Handlers<typeof CoordinatorService> {
  const rows = new SiteRows();
  /** The same of what each member could not restore. */
  const writtenRefused = new Map<string, string>();
  /**
   * Not awaited: a heartbeat renews leases, and this list is only for people. If a write fails, the next heartbeat
   * repeats it. One write for all groups of the site: a new leader hears of all of them at once.
   */
  const noteRefused = (groups: readonly Group[], state: DescribeResponse, leaderEpoch: bigint): void => {
    const { site } = state;
    const news = groups.flatMap(({ spec }) => {
      const said = seatIn(state, spec.name);
      if (said === undefined) return [];
      const { refused, refusedObjects: objects } = said;
      const place = `${spec.name} ${site}`;
      const list = refused.map(({ objectId, kind, code, returnValue }) => ({ objectId, kind, code, returnValue }));
      const inForce = `${leaderEpoch} ${objects} ${list.length === 0 ? '' : toJson(list)}`;
      if (writtenRefused.get(place) === inForce) return [];
      writtenRefused.set(place, inForce);
      return [{ place, record: { group: spec.name, site, refused: list, objects, atMs: clock.wallMs() } }];
    });
    if (news.length === 0) return;
    const records = news.map(({ record }) => record);
    store
      .write(leaderEpoch, (trx) => recordRefused(trx, records))
      .catch((thrown: unknown) => {
        for (const { place } of news) writtenRefused.delete(place);
        if (AntipodeError.from(thrown).disposition === 'defect') throw thrown;
      });
  };
  /** The last heartbeat of each site's process. */
  const heard = new Map<string, { instance: string; beat: bigint }>();
  /**
   * A request can be left over on a broken connection, or wait in a process that was stopped. Taken for the newest account,
   * it would show a journal with fewer writes than before, as an older copy of it has.
   * @throws HEARTBEAT_LATE
   */
  const refuseLate = ({ site, instance }: DescribeResponse, beat: bigint): void => {
    const last = heard.get(site);
    if (last?.instance === instance && beat < last.beat)
      throw new AntipodeError('HEARTBEAT_LATE', `heartbeat ${beat} of site ${site} came after heartbeat ${last.beat}`, {
        details: { site, beat, last: last.beat },
      });
  };
  const heartbeats = new HeardHeartbeats({ id: clockId });
  const inTurn = new GroupsInTurn();
  /** Likewise the approvals that each site has used. */
  const writtenUses = new Map<string, string>();
  const noteUses = ({ site, approvalUses }: DescribeResponse, leaderEpoch: bigint): void => {
    if (approvalUses.length === 0) return;
    const uses = approvalUses.map(
      ({ digest, group, action, operationId: operation, requestedBy, approvedBy, usedMs }) => ({
        site,
        digest,
        group,
        action,
        operation,
        requestedBy,
        approvedBy,
        usedMs: Number(usedMs),
      }),
    );
    const inForce = `${leaderEpoch} ${uses.map(({ digest }) => digest).join()}`;
    if (writtenUses.get(site) === inForce) return;
    writtenUses.set(site, inForce);
    const oldestMs = clock.wallMs() - APPROVAL_DAYS * 86_400_000;
    const write: Change<void> = async (trx, record) => {
      for (const use of uses.filter(({ usedMs }) => usedMs > oldestMs)) {
        if (!(await recordApprovalUse(trx, use))) continue;
        const { group, action, digest, operation, requestedBy } = use;
        const details = { action, digest, operation, requestedBy, approvedBy: use.approvedBy.join(' ') };
        record({ kind: 'approval-used', group, site, details });
      }
    };
    store.write(leaderEpoch, write).catch((thrown: unknown) => {
      writtenUses.delete(site);
      if (AntipodeError.from(thrown).disposition === 'defect') throw thrown;
    });
  };
  /**
   * The active member has no sites that may vouch for it, so the voters of this moment may from now on. Not awaited: until
   * it is durable, nobody may.
   */
  const renewVouchers = (group: Group, leaderEpoch: bigint): void => {
    const { name } = group.spec;
    const vouchers = otherVoters(group);
    if (areVouchersCurrent(group) || renewing.has(name)) return;
    renewing.add(name);
    // The last word of those before may be a moment old.
    leases.vouchingEnded(name, 0);
    store
      .write(leaderEpoch, (trx) => setVouchers(trx, name, { epoch: group.epoch, vouchers }))
      .then(() => cache.refresh())
      .catch((thrown: unknown) => {
        if (AntipodeError.from(thrown).disposition === 'defect') throw thrown;
      })
      .finally(() => renewing.delete(name));
  };
  const renewing = new Set<string>();
  return {
    getLeader: async ({ coordinators: known }, { identity }) => {
      // Operators and applications have lists too, but those of the sites are the ones that count.
      if (identity.kind === 'site') coordinators.learn(known);
      return { coordinator: id, term: election.epoch ?? 0n, leader: election.holder };
    },

    heartbeat: async (said, { identity, peer = '' }) => {
      const { address, term, termHolder, beat, clockRate, observations, vouchSilentMs, coordinators: reported } = said;
      const account = accountOf(said);
      if (account === undefined || account.site !== identity.name) {
        throw new AntipodeError(
          'PEER_REFUSED',
          `site ${identity.name} must not speak for ${account?.site ?? 'nobody'}`,
          { details: { site: identity.name } },
        );
      }
      const leaderEpoch = election.requireLead();
      await requireHighest({ id, election, leaderEpoch }, { site: account.site, term, termHolder });
      if (!isAddress(address))
        throw new AntipodeError('REQUEST_INVALID', `the address of site ${account.site} must be host:port`, {
          details: { field: 'address', site: account.site },
        });
      const predecessor = journals.predecessorOf(account);
      const own = groupsAt(cache.all, account.site);
      const mayHoldLease =
        own.some((group) => activeOf(group)?.site === account.site && leases.remainingMs(group.spec.name) > 0) ||
        mayBeVouchedFor(account.site, own, { detector, journals });
      forgotten.refuse(account.site, { address, peer });
      detector.admit(account, { address, peer }, { predecessor, mayHoldLease });
      refuseLate(account, beat);
      const { whole, answered } = heartbeats.read(said, { account, term: leaderEpoch });
      const { state, vouchees, vouchedGroups, groupsWithoutSeat } = whole;
      heard.set(state.site, { instance: state.instance, beat });
      coordinators.report({ site: state.site, atMs: clock.monotonicMs(), coordinators: reported });
      const { account: heardOf, added } = journals.hear(state, own);
      const isComparedWithUs = clockRate !== undefined && clockRate.clockId === clockId;
      const vouching = { vouchees, silentMs: Number(vouchSilentMs) };
      if (detector.view(state.site)?.status !== 'up') agents.reconnect(state.site);
      detector.heard(heardOf, {
        address,
        observations,
        vouching,
        loopDelayMs: said.loopDelayMs,
        ...(isComparedWithUs ? { clockRate } : {}),
      });
      await rows.write(state, address, { leaderEpoch, store, returns: forgotten.returnsOf(state.site) });
      // An epoch may have been issued while this waited for the database. The lease of the one before is not renewed then.
      const now = groupsAt(cache.all, account.site);
      const seats = now.filter(({ members, joining }) =>
        [...members, ...joining].some(({ site }) => site === state.site),
      );
      const seated = new Set(seats);
      const voting = now.filter((group) => seated.has(group) || witnessesOf(group).includes(state.site));
      // Also of a site with nothing but a scratch partition of the group: its drills bring generations into its store.
      const present = now.filter(
        (group) => seated.has(group) || group.spec.scratch.some(({ site }) => site === state.site),
      );
      noteRefused(seats, state, leaderEpoch);
      const isSlow = isComparedWithUs && isSlowClock(clockRate);
      noteUses(state, leaderEpoch);
      const held = seats.filter((group) => {
        const seat = seatIn(state, group.spec.name);
        // Only under the highest epoch ever issued: while a failover is under way, nothing is renewed.
        return (
          isSettled(group) &&
          // Its clock would count the lease longer than ours.
          !isSlow &&
          group.owner === state.site &&
          seat?.epoch === group.epoch &&
          quarantineOf(group, detector.view(state.site)) === undefined &&
          activeOf(group)?.site === state.site
        );
      });
      for (const group of held) {
        leases.granted(group.spec.name);
        if (!vouchedGroups.includes(group.spec.name)) renewVouchers(group, leaderEpoch);
      }
      const told = inTurn.of(state, present);
      const otherWitnesses = (group: Group) => {
        const others = witnessesOf(group).filter((site) => site !== state.site);
        const witnesses = others.map((site) => ({ site, address: detector.view(site)?.address ?? '' }));
        return witnesses.length === 0 ? {} : { witnesses };
      };
      return answered({
        term: leaderEpoch,
        coordinator: id,
        clock: { id: clockId, nowMs: elapsedMs(clock), ...(calendarMs && { wallMs: calendarMs() }) },
        intervalMs: timings.heartbeatMs,
        roundTripMsMax: timings.roundTripMsMax,
        leases: held.map((group) => ({
          group: group.spec.name,
          epoch: group.epoch,
          leaseMs: BigInt(timings.leaseMs),
          selfStopMs: BigInt(timings.selfStopMs),
          vouchers: grantedVouchers(group).map((site) => ({ site, address: detector.view(site)?.address ?? '' })),
        })),
        vouchees: voucheesFor(state.site, voting, { detector, journals }),
        epochs: voting
          .filter(({ highestEpoch }) => highestEpoch > 0n)
          .map(({ spec, highestEpoch, highestOwner }) => ({
            group: spec.name,
            epoch: highestEpoch,
            owner: highestOwner,
            requestId: 'heartbeat',
          })),
        quarantined: added,
        released: releasedAt(state, { former: cache.former, seats, releases: cache.releases }),
        needed: told.flatMap(({ spec }) => {
          const digests = cache.needed(spec.name);
          return digests === undefined ? [] : [{ group: spec.name, manifestDigests: digests.map(fromHex) }];
        }),
        acknowledged: told.flatMap((group) => {
          if (!seated.has(group)) return [];
          const read = cache.acknowledged(group.spec.name);
          return read === undefined ? [] : [acknowledgementsOf(group, read, (site) => detector.view(site))];
        }),
        // Only what is on record: a database that was rolled back takes nothing from anybody.
        forgotten: groupsWithoutSeat.filter(
          (name) =>
            !present.some(({ spec }) => spec.name === name) &&
            !cache.unreadable.includes(name) &&
            (cache.deleted.includes(name) || isGroup(cache.all, name)),
        ),
        places: told.flatMap((group) => knownPlaceOf(group, (site) => detector.view(site)) ?? []),
        peers: voting.map((group) => ({
          group: group.spec.name,
          sites: group.members
            .filter(({ site }) => site !== state.site)
            .sort((one, other) => Number(other.role === 'active') - Number(one.role === 'active'))
            .map(({ site }) => ({ site, address: detector.view(site)?.address ?? '' })),
          ...otherWitnesses(group),
        })),
      });
    },
  };
}

/** No election of honest coordinators comes so far. A site that claims more is not believed. */
const TERM_AHEAD_MAX = 1_000_000n;

/**
 * A site takes no order of a lower term than it has heard, nor of its highest one from another coordinator. So a leader
 * that hears of one begins the next term, and knows nothing of its sites again.
 * @throws NOT_LEADER, REQUEST_INVALID
 */
async function requireHighest(
  { id, election, leaderEpoch }: { id: string; election: Pick<Terms, 'outrun'>; leaderEpoch: bigint },
  { site, term, termHolder }: { site: string; term: bigint; termHolder: string },
): Promise<void> {
  if (termHolder === '' || term < leaderEpoch || (term === leaderEpoch && termHolder === id)) return;
  if (term > leaderEpoch + TERM_AHEAD_MAX)
    throw new AntipodeError('REQUEST_INVALID', `site ${site} says that it has heard term ${term}`, {
      details: { field: 'term', site, term, leaderEpoch },
    });
  await election.outrun(term);
  throw new AntipodeError(
    'NOT_LEADER',
    `coordinator ${id} led in term ${leaderEpoch}, site ${site} has heard ${term}`,
    {
      details: { coordinator: id, term, leaderEpoch },
      hint: 'Do nothing: this coordinator begins a later term and is asked again.',
    },
  );
}

/**
 * Seats that the agent still has, and that were removed. Only a record of the removal counts. A database that was rolled
 * back knows less, and must not take a seat from anybody.
 */
function releasedAt(
  { site, members }: DescribeResponse,
  {
    former,
    seats,
    releases,
  }: { former: readonly FormerSeat[]; seats: readonly Group[]; releases: readonly ApprovalRecord[] },
) {
  const released = former.filter(
    (seat) =>
      seat.site === site &&
      // A seat in the present group of that name is not meant, unless the group was founded later.
      !seats.some(({ spec, firstEpoch }) => spec.name === seat.group && firstEpoch <= seat.epoch) &&
      members.some(({ group, serial, epoch }) => group === seat.group && serial === seat.serial && epoch <= seat.epoch),
  );
  return released.map((seat) => {
    const { group, serial, epoch } = seat;
    const given = orderApprovals(
      releases.filter((one) => one.group === group).slice(0, 16),
      `release ${group} ${serial} ${epoch}`,
    );
    return given === undefined ? seat : { ...seat, approvals: given };
  });
}
