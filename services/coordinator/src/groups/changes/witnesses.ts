/**
 * Plans for a witness that is added, and for one that is removed. Pure. The voters change by one site at a time, so that
 * any majority before it and any majority after it have a site in common.
 */
import { isName, NAME_EXPECTED } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import { type GroupSpec, majorityOf, VOTERS_MIN, votersOf, witnessesOf } from '../../model.ts';
import { checkWitnesses } from '../group-spec.ts';
import type { ChangePlan, Obstacle } from './change.ts';
import { busyWith, type ChangeFacts } from './facts.ts';
import { obstacleOf } from './members.ts';

/** @throws REQUEST_INVALID for what is not the name of a site */
export function planWitnessAddition(facts: ChangeFacts, site: string): ChangePlan {
  const { group } = facts;
  const { spec, revision } = group;
  if (!isName(site))
    throw new AntipodeError('REQUEST_INVALID', `a witness needs the name of a site: ${NAME_EXPECTED}`, {
      details: { field: 'add_witness' },
    });
  if (witnessesOf(group).includes(site)) return { revision, spec, ...NOTHING };
  const obstacle = additionObstacle(facts, site);
  return {
    revision,
    spec: withWitnesses(spec, [...(spec.witnesses ?? []), site]),
    changes: [`witnesses: ${site} is added`],
    consequences: [
      `Site ${site} votes on epochs and says which sites it reaches. It holds no keys and no generations.`,
      votesText(facts, 1),
    ],
    needsConfirmation: false,
    ...(obstacle === undefined ? {} : { obstacle }),
  };
}

function additionObstacle(facts: ChangeFacts, site: string): Obstacle | undefined {
  const { group, detector } = facts;
  const member = [...group.members, ...group.joining].find((one) => one.site === site);
  if (member !== undefined)
    return refused(`site ${site} has a member of the group, partition ${member.serial}: a site votes once`);
  const busy = busyWith(facts) ?? joiningOf(facts);
  if (busy !== undefined) return busy;
  const unknown = obstacleOf(() => checkWitnesses({ witnesses: [site] }, detector));
  if (unknown !== undefined) return unknown;
  const status = detector.view(site)?.status ?? 'unknown';
  return status === 'up' ? undefined : { code: 'SITE_UNREACHABLE', message: `site ${site} is ${status}` };
}

/** @throws NOT_FOUND for a site that is not a witness */
export function planWitnessRemoval(facts: ChangeFacts, site: string): ChangePlan {
  const { group } = facts;
  const { spec, revision } = group;
  const { name, failoverPolicy } = spec;
  if (!witnessesOf(group).includes(site))
    throw new AntipodeError('NOT_FOUND', `site ${site} is not a witness of group ${name}`, {
      details: { group: name, site },
      hint: `\`antipode group show ${name}\` lists the witnesses.`,
    });
  const isVoteNeeded = failoverPolicy === 'automatic' && votersOf(group) - 1 < VOTERS_MIN;
  const obstacle = isVoteNeeded
    ? refused(
        `automatic failover needs ${VOTERS_MIN} voting sites`,
        `Run \`antipode group update ${name} --failover manual\` first, or add another member or witness.`,
      )
    : (busyWith(facts) ?? joiningOf(facts));
  return {
    revision,
    spec: withWitnesses(
      spec,
      (spec.witnesses ?? []).filter((one) => one !== site),
    ),
    changes: [`witnesses: ${site} is removed`],
    consequences: [`Site ${site} has no vote any more.`, votesText(facts, -1)],
    needsConfirmation: true,
    ...(obstacle === undefined ? {} : { obstacle }),
  };
}

const NOTHING = { changes: [], consequences: [], needsConfirmation: false } as const;

/** Sorted, as a declaration is; the field is absent where there are none. */
function withWitnesses({ witnesses: _before, ...rest }: GroupSpec, witnesses: readonly string[]): GroupSpec {
  return witnesses.length === 0 ? rest : { ...rest, witnesses: [...witnesses].sort() };
}

function votesText({ group }: ChangeFacts, by: number): string {
  const before = votersOf(group);
  const after = before + by;
  const automatic = after < VOTERS_MIN ? ` Automatic failover needs ${VOTERS_MIN}.` : '';
  return `Before, ${before} sites vote, and a majority is ${majorityOf(before)}. Afterwards ${after} vote, and a majority is ${majorityOf(after)}.${automatic}`;
}

function joiningOf({ group }: ChangeFacts): Obstacle | undefined {
  const [joining] = group.joining;
  return joining === undefined
    ? undefined
    : { code: 'GROUP_BUSY', message: `site ${joining.site} is joining, and voting sites are changed one at a time` };
}

const refused = (message: string, hint?: string): Obstacle => ({
  code: 'GROUP_CHANGE_REFUSED',
  message,
  ...(hint === undefined ? {} : { hint }),
});
