/**
 * Finds out what an automatic failover waits for. It never loses a generation that a member has acknowledged. The
 * generation may be held by no member that can serve, and by no member that could hand it over. Then nothing is
 * ordered. The failover begins by itself when a member with the generation is back, or when an operator accepts the
 * loss. Pure; decides by the last heartbeats (I3, I13).
 */

import { generationName, isNewer, newestOf, roleName } from '@antipode/protocol';
import { quarantineOf, witnessedEpoch } from '../../groups/contradiction.ts';
import { troubleOf } from '../../groups/member-trouble.ts';
import { activeOf, type Group, votersOf, witnessesOf } from '../../model.ts';
import { partitionIn, seatIn } from '../../sites/accounts.ts';
import type { SiteView } from '../../sites/detector.ts';
import type { Acknowledged } from '../../store/tables/generations.ts';
import type { Timings } from '../../timings.ts';
import { isHung } from '../hung-hsm.ts';
import { type Candidate, type Held, planFailover, type Survey } from './plan.ts';

export interface AwaitedGenerations {
  /** The member that a failover by an operator would promote. */
  readonly to: string;
  /** The newest generation that this member holds. */
  readonly holds: Held | undefined;
  /** The acknowledged generations that this failover would lose. */
  readonly generations: readonly Held[];
  /**
   * The members that acknowledged the newest of these. `trouble` says why each cannot serve: the code of an error, or
   * `down`.
   */
  readonly holders: readonly { readonly site: string; readonly trouble: string }[];
}

interface Heard {
  readonly group: Group;
  readonly acknowledged: readonly Acknowledged[];
  readonly view: (site: string) => SiteView | undefined;
  readonly timings: Timings;
  /** Sites that could not hand it over just now. */
  readonly without?: readonly string[];
}

/** Undefined where nothing that is acknowledged would be lost, or where only a survey can tell. */
export function awaitedGenerationsOf(heard: Heard): AwaitedGenerations | undefined {
  const { group, acknowledged, view } = heard;
  const from = activeOf(group)?.site ?? '';
  const { losing } = planFailover(
    { from, wanted: '', acceptLoss: false, accepted: [], reason: 'automatic', excluded: [] },
    surveyOf(heard),
  );
  if (losing === undefined) return undefined;
  const newest = newestOf(losing.generations);
  const holders = acknowledged
    .filter((one) => !isNewer(newest, one))
    .map(({ site }) => ({ site, trouble: troubleAt(heard, site) || (view(site)?.status ?? 'unknown') }));
  return { ...losing, holders };
}

/** Code of what keeps a member from being asked or used. */
function troubleAt({ group, view, timings }: Heard, site: string): string {
  const [seat, heard] = [group.members.find((member) => member.site === site), view(site)];
  if (seat === undefined || heard?.status === 'down') return '';
  if (quarantineOf(group, heard) !== undefined) return 'SITE_QUARANTINED';
  const said = seatIn(heard?.state, group.spec.name);
  if (said !== undefined && roleName(said.role) === undefined) return 'REQUEST_INVALID';
  const partition = partitionIn(heard?.state, seat.serial);
  return isHung(partition, timings.hangMs) ? 'HSM_WORKER_LOST' : troubleOf(heard, seat);
}

/** As the survey of a failover asks it; a site that is only silent may well answer that. */
function surveyOf(heard: Heard): Survey {
  const { group, acknowledged, view, without = [] } = heard;
  const reachable = group.members.flatMap(({ site, serial }): Candidate[] => {
    const { status, state } = view(site) ?? {};
    if (state === undefined || status === 'down') return [];
    const seat = seatIn(state, group.spec.name);
    let applied: Held | undefined;
    for (const ref of [seat?.applied, seat?.captured]) {
      const one = ref && generationName(ref);
      if (isNewer(one, applied)) applied = one;
    }
    const role = seat === undefined ? 'fenced' : roleName(seat.role);
    // The survey throws such an answer away.
    if (role === undefined) return [];
    const problem = troubleAt(heard, site);
    const isOfUse = problem === '' || !without.includes(site);
    return [{ site, serial, role, epoch: seat?.epoch ?? 0n, applied: isOfUse ? applied : undefined, problem }];
  });
  return {
    active: activeOf(group)?.site ?? '',
    reachable,
    witnesses: witnessesOf(group).flatMap((site) => {
      const seen = view(site);
      return seen?.state === undefined || seen.status === 'down' || quarantineOf(group, seen) !== undefined
        ? []
        : [{ site, epoch: witnessedEpoch(seen.state, group.spec.name) }];
    }),
    voters: votersOf(group),
    highestEpoch: group.highestEpoch,
    known: acknowledged.map(({ epoch, number, manifestDigest }) => ({
      epoch,
      number,
      manifestDigest,
      isAcknowledged: true,
    })),
  };
}
