/** Plans for a member that is added, and for one that is removed. Pure. */

import { AntipodeError } from '@antipode/runtime';
import { activeOf, type Group, majorityOf, type Seat, VOTERS_MIN, votersOf, witnessesOf } from '../../model.ts';
import { seatIn } from '../../sites/accounts.ts';
import { checkSeats, checkSites } from '../group-spec.ts';
import { troubleOf } from '../member-trouble.ts';
import type { ChangePlan, Obstacle } from './change.ts';
import { cloningBy, cloningWarnings, nativeObstacle } from './cloning.ts';
import { busyWith, type ChangeFacts, domainKeyConsequences, seatText } from './facts.ts';

/** @throws REQUEST_INVALID for a seat that cannot be one */
export function planAddition(facts: ChangeFacts, seat: Seat): ChangePlan {
  const { group, newest } = facts;
  const { members, joining, spec, revision } = group;
  if (seat.site === '' || seat.serial === '')
    throw new AntipodeError('REQUEST_INVALID', 'a member needs a site and a serial number', {
      details: { field: 'add_member' },
    });
  const isThere = [...members, ...joining].some(({ site, serial }) => site === seat.site && serial === seat.serial);
  const before = votersOf(group);
  const isWitness = witnessesOf(group).includes(seat.site);
  const after = isWitness ? before : before + 1;
  const obstacle = isThere ? undefined : additionObstacle(facts, seat);
  return {
    revision,
    spec,
    changes: isThere ? [] : [`members: ${seatText(seat)} is added`],
    consequences: [
      `${isWitness ? `No failover promotes site ${seat.site}` : `Site ${seat.site} has no vote, and no failover promotes it,`} until it has acknowledged the newest generation${newest === undefined ? '' : ` (${newest.objectCount} objects now)`}.`,
      isWitness
        ? `Site ${seat.site} is a witness of the group. It becomes a member instead, and still votes once: ${before} sites vote, and a majority is ${majorityOf(before)}.`
        : `Until then ${votersText(group, before)}, and a majority is ${majorityOf(before)}. Afterwards ${after} vote, and a majority is ${majorityOf(after)}.${after % 2 === 0 ? ` A group of ${after} survives the loss of as many sites as one of ${before}.` : ''}`,
      ...domainKeyConsequences(facts),
      ...cloningWarnings(spec, { active: activeOf(group), seats: [seat], cloningOf: cloningBy(facts.detector) }),
      `Every site of the group must trust partition ${seat.serial}, and site ${seat.site} must trust theirs (\`antipode peer trust\`). The domain key reaches nobody else.`,
    ],
    needsConfirmation: true,
    ...(obstacle === undefined ? {} : { obstacle }),
  };
}

function additionObstacle(facts: ChangeFacts, seat: Seat): Obstacle | undefined {
  const { group, others, detector } = facts;
  const { members, joining, spec } = group;
  const behind = nativeObstacle(spec, { seats: [seat], detector });
  if (behind !== undefined) return behind;
  const moved = [...members, ...joining].find(({ serial }) => serial === seat.serial);
  if (moved !== undefined)
    return refused(
      `partition ${seat.serial} is its member at site ${moved.site}, so site ${moved.site} cannot become site ${seat.site}`,
      `A site keeps its name: epochs, certificates, journals and acknowledgements bear it. Remove the member (\`antipode group remove-member ${spec.name} ${moved.site}\`), give the site its new name, and add it as a new member.`,
    );
  const occupied = [...members, ...joining].find(({ site }) => site === seat.site);
  if (occupied !== undefined)
    return refused(
      `site ${seat.site} has a member already, partition ${occupied.serial}`,
      `A site has one member of a group. Remove the other one first: \`antipode group remove-member ${spec.name} ${seat.site}\`.`,
    );
  const [other] = joining;
  if (other !== undefined)
    return { code: 'GROUP_BUSY', message: `site ${other.site} is joining, and members are added one at a time` };
  if (
    [...spec.scratch, ...(spec.distributor === undefined ? [] : [spec.distributor])].some(
      (one) => one.serial === seat.serial,
    )
  )
    return refused(`partition ${seat.serial} is a scratch partition or the distributor of the group`);
  const busy = busyWith(facts) ?? unreleased(facts, seat);
  if (busy !== undefined) return busy;
  return (
    obstacleOf(() => {
      const { distributor: _distributor, ...rest } = spec;
      checkSites({ ...rest, members: [seat], scratch: [] }, detector);
      checkSeats(
        { ...spec, members: [seat] },
        others.map((one) => ({ ...one.spec, members: [...one.spec.members, ...one.joining] })),
      );
    }) ?? unusable(facts, seat)
  );
}

/**
 * An agent that still has the seat that was taken from it would take the new one for that. The record of the removal goes
 * with the addition, so it must have been heard before.
 */
function unreleased({ group, former, detector }: ChangeFacts, { site }: Seat): Obstacle | undefined {
  const { name } = group.spec;
  const held = seatIn(detector.view(site)?.state, name);
  const isPending = former.some(
    (one) =>
      held !== undefined &&
      one.group === name &&
      one.site === site &&
      one.serial === held.serial &&
      held.epoch <= one.epoch,
  );
  return isPending
    ? {
        code: 'GROUP_BUSY',
        message: `site ${site} has not given up its former seat yet`,
        hint: 'Wait some seconds and repeat the command. An agent of an earlier release does not give up its seat: upgrade it first.',
      }
    : undefined;
}

function unusable({ detector }: ChangeFacts, seat: Seat): Obstacle | undefined {
  const view = detector.view(seat.site);
  if (view?.status !== 'up')
    return { code: 'SITE_UNREACHABLE', message: `site ${seat.site} is ${view?.status ?? 'unknown'}` };
  const trouble = troubleOf(view, seat);
  return trouble === ''
    ? undefined
    : refused(`partition ${seat.serial} cannot be used (${trouble})`, `Run \`antipode doctor\` at site ${seat.site}.`);
}

/** @throws NOT_FOUND for a site that never had a member of the group */
export function planRemoval(facts: ChangeFacts, { site, serial }: Seat): ChangePlan {
  const { group, former } = facts;
  const { members, joining, spec, revision } = group;
  const { name } = spec;
  const member = members.find((one) => one.site === site);
  const seat = member ?? joining.find((one) => one.site === site);
  if (seat === undefined && !former.some((one) => one.group === name && one.site === site))
    throw new AntipodeError('NOT_FOUND', `site ${site} has no member in group ${name}`, {
      details: { group: name, site },
      hint: `\`antipode group show ${name}\` lists the members.`,
    });
  if (seat === undefined) return { revision, spec, changes: [], consequences: [], needsConfirmation: false };
  const obstacle =
    serial !== '' && serial !== seat.serial
      ? refused(`the member at site ${site} is partition ${seat.serial}, not ${serial}`)
      : removalObstacle(facts, seat);
  return {
    revision,
    spec,
    changes: [`members: ${seatText(seat)} is removed`],
    consequences: [
      ...(member === undefined ? [] : votesAfterRemoval(facts, site)),
      `The keys in partition ${seat.serial} stay there, with the versions of the domain key up to ${group.highestVersion}. A holder of its PIN can use those keys, and open everything that was sealed until now.`,
      ...domainKeyConsequences(facts),
      detectorText(facts, site),
      `Take back the trust in it at the other sites (\`antipode peer distrust ${site} --partition ${seat.serial}\`) when every member has acknowledged a generation under the new version: until then they may need what site ${site} has signed.`,
      ...(spec.scratch.some((one) => one.site === site)
        ? [`The scratch partitions at site ${site} stay in the group (\`antipode group set-scratch ${name}\`).`]
        : []),
    ],
    needsConfirmation: true,
    ...(obstacle === undefined ? {} : { obstacle }),
  };
}

function votesAfterRemoval({ group, newest, acknowledged }: ChangeFacts, site: string): string[] {
  const before = votersOf(group);
  const after = before - 1;
  const others = group.members.filter((one) => one.site !== site && one.role !== 'active');
  const isCurrent = (other: string): boolean =>
    acknowledged.some((one) => one.site === other && one.number === newest?.number && one.epoch === newest.epoch);
  const current = others.filter((one) => isCurrent(one.site)).map((one) => one.site);
  return [
    `Site ${site} is not a standby any more: it gets no generations, has no vote, and no failover promotes it.`,
    group.members.length === 2
      ? `Group ${group.spec.name} has one member then: its keys have no copy. If this member is lost, they are lost.`
      : `Before, ${votersText(group, before)}, and a majority is ${majorityOf(before)}. Afterwards ${after} vote, and a majority is ${majorityOf(after)}.${after === 2 ? ' Automatic failover is impossible with two.' : ''}`,
    ...(newest === undefined || others.length === 0
      ? []
      : current.length > 0
        ? [`Generation ${newest.number}, the newest, is then acknowledged at site ${current.join(', ')}.`]
        : [
            `No other standby has acknowledged generation ${newest.number}, the newest: only the active member has it then.`,
          ]),
  ];
}

const votersText = (group: Group, count: number): string =>
  witnessesOf(group).length === 0 ? `${count} members vote` : `${count} sites vote, witnesses included`;

function removalObstacle(facts: ChangeFacts, seat: Seat): Obstacle | undefined {
  const { group } = facts;
  const { name, failoverPolicy } = group.spec;
  if (group.joining.some(({ site }) => site === seat.site)) return undefined;
  if (activeOf(group)?.site === seat.site)
    return refused(
      `site ${seat.site} is the active member, and cannot be removed`,
      `Move the group first: \`antipode failover ${name} --to SITE\`. Then remove site ${seat.site}.`,
    );
  const busy = busyWith(facts);
  if (busy !== undefined) return busy;
  const [joining] = group.joining;
  if (joining !== undefined)
    return { code: 'GROUP_BUSY', message: `site ${joining.site} is joining, and members are changed one at a time` };
  if (failoverPolicy === 'automatic' && votersOf(group) - 1 < VOTERS_MIN)
    return refused(
      `automatic failover needs ${VOTERS_MIN} voting sites`,
      `Run \`antipode group update ${name} --failover manual\` first, or add another member or a witness.`,
    );
  return undefined;
}

const detectorText = ({ detector }: ChangeFacts, site: string): string =>
  detector.view(site)?.status === 'up'
    ? `The agent of site ${site} gives up its seat within seconds.`
    : `Site ${site} is away. Its agent gives up its seat when it is back. Until then nobody orders anything there.`;

function refused(message: string, hint?: string): Obstacle {
  return { code: 'GROUP_CHANGE_REFUSED', message, ...(hint === undefined ? {} : { hint }) };
}

/** A check that throws, as an obstacle of the plan. */
export function obstacleOf(check: () => void): Obstacle | undefined {
  try {
    check();
    return undefined;
  } catch (thrown) {
    const { code, message, hint, disposition } = AntipodeError.from(thrown);
    if (disposition === 'defect') throw thrown;
    return { code, message: message.replace(`[${code}] `, ''), hint };
  }
}
