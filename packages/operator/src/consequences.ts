/** The plan of a move of the active role, for the person who is about to order it. */
import type { GenerationRef, GroupState, NeededApproval, PlanFailoverResponse } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import { duration } from './duration.ts';

/** Why a site was chosen, for people. */
export const CHOSEN_FOR: Readonly<Record<string, string>> = {
  only: 'it is the only site that can serve',
  newest: 'it has the newest generation',
  complete: 'its token has refused the fewest objects',
  'domain-key': 'it holds the newest domain key, so it can capture at once',
  preferred: 'the group prefers it',
  load: 'the fewest other groups are active there',
  order: 'it comes first among the members',
  former: 'no standby can serve without losing what must not be lost',
};

/** The consequences of a move of the active role, for the person who is about to order it. */
export function consequences(group: string, plan: PlanFailoverResponse): string[] {
  const {
    fromSite,
    toSite,
    targetGeneration,
    lostGenerations,
    leaseWaitMs,
    catchesUp,
    refusedObjects,
    namesakeObjects,
    sharedNameObjects,
  } = plan;
  const why = CHOSEN_FOR[plan.chosenFor];
  return [
    `Group ${group} moves ${fromSite === '' ? '' : `from ${fromSite} `}to ${toSite}. The newest generation of ${toSite} is ${targetGeneration?.generation ?? 'none'}.`,
    ...(why === undefined ? [] : [`Site ${toSite} was chosen because ${why}.`]),
    catchesUp
      ? `Site ${toSite} first catches up with ${fromSite} and proves every key. If it cannot, nothing is changed.`
      : lostGenerations.length === 0
        ? `No generation is lost. Keys made since the last capture are in no generation, so ${toSite} does not have them.`
        : `Lost to service: generations ${lostGenerations.join(', ')}. Their objects stay at ${fromSite || 'the site that captured them'}, and come back as divergent objects.`,
    ...(fromSite === ''
      ? []
      : [
          `Site ${fromSite} is fenced: it captures nothing more, and comes back as a standby. Its applications are not stopped: move them to ${toSite} (\`antipode resolve ${group}\`).`,
        ]),
    ...(refusedObjects > 0
      ? [
          `The token of ${toSite} has refused ${refusedObjects} ${refusedObjects === 1 ? 'object' : 'objects'} of the group (\`antipode group show ${group}\`). They are tried again first. Objects that it still refuses are not served there${catchesUp ? `, and nothing is changed then without \`antipode failover ${group} --to ${toSite} --accept-loss\`` : ''}.`,
        ]
      : []),
    ...(namesakeObjects > 0
      ? [
          `The token of ${toSite} holds ${namesakeObjects} other objects with the label or CKA_ID of a key of the group. A program can find those instead of the keys. The next capture after the move takes them into the group, under the same names. Run \`antipode partition objects <partition> --shared-names\` there: it lists them.`,
        ]
      : []),
    ...(sharedNameObjects > 0
      ? [
          `${sharedNameObjects} objects of the group share a label or CKA_ID with another one of their class. A program that takes the first one can find another one at ${toSite}${fromSite === '' ? '' : ` than at ${fromSite}`}. Run \`antipode partition objects <partition> --shared-names\` at a site: it lists them.`,
        ]
      : []),
    ...(leaseWaitMs > 0n
      ? [
          `The failover waits ${duration(leaseWaitMs)}, until the lease of ${fromSite || 'the former active site'} has ended.`,
        ]
      : []),
    plan.expectedRecoveryMs === undefined
      ? 'Nobody can say how long the group will be without an active member: no move and no drill of it was measured yet.'
      : `Expect up to ${duration(plan.expectedRecoveryMs)} without an active member: ${plan.expectedFrom.join(' + ')}.`,
  ];
}

/** Exactly the generations that were shown. Any other loss comes back to the operator for a new decision. */
export function acceptedLosses(
  { losses }: Pick<PlanFailoverResponse, 'losses'>,
  { acceptLoss = false }: { acceptLoss?: boolean | undefined },
): GenerationRef[] {
  return acceptLoss ? losses : [];
}

/** A group of two needs it even if nothing is lost: then it only replaces a vote. */
export function meaningOfAcceptance({
  losses,
  refusedObjects,
  toSite,
}: Pick<PlanFailoverResponse, 'losses' | 'refusedObjects' | 'toSite'>): string {
  if (losses.length > 0) return 'It accepts the loss of the generations named here, and of no others.';
  return refusedObjects > 0
    ? `It accepts that site ${toSite} does not serve ${refusedObjects} ${refusedObjects === 1 ? 'object' : 'objects'}, and no more. No generation is lost.`
    : 'It replaces the vote of the site that cannot be reached. No generation is lost.';
}

/** Objects of the target that its first capture takes into the group, whether an operator has decided about them or not. */
export function takesAlong({ members }: Pick<GroupState, 'members'>, toSite: string): string[] {
  const {
    divergentObjects = 0,
    unaccountedObjects = 0,
    keptObjects = 0,
    setAsideObjects = 0,
  } = members.find(({ site }) => site === toSite) ?? {};
  const objects = divergentObjects + unaccountedObjects + keptObjects;
  return [
    ...(objects === 0
      ? []
      : [
          `Site ${toSite} has ${objects} objects beside the line of the group (\`antipode divergence list\`). Once it is active, its first capture takes them into the group.`,
        ]),
    ...(setAsideObjects === 0
      ? []
      : [
          `${setAsideObjects} objects are set aside at site ${toSite}, sealed and not in its token. Its capture does not take them. Once it is active, only \`antipode deleted restore\` there brings them back.`,
        ]),
  ];
}

/** Says that the capture of the active member is held: the target does not get its newest keys. */
export function leftBehind(
  { members }: Pick<GroupState, 'members'>,
  { fromSite, toSite, catchesUp }: Pick<PlanFailoverResponse, 'fromSite' | 'toSite' | 'catchesUp'>,
  { planned }: { planned: boolean },
): string[] {
  const { heldObjects = 0 } = members.find(({ site }) => site === fromSite) ?? {};
  if (heldObjects === 0 || !catchesUp) return [];
  const what = `The capture of ${fromSite} is held: ${heldObjects} objects of the group are not in its token as they were (\`antipode deleted list\` there).`;
  return [
    planned
      ? `${what} If it is still held, nothing is changed.`
      : `${what} If it is still held, ${toSite} gets the newest generation. Keys made at ${fromSite} since then are in none, and stay behind.`,
  ];
}

/** Tells that another site serves than the person was shown; undefined where it is that one. */
export function otherSite(
  shown: string,
  {
    to,
    excluded,
  }: { readonly to: string; readonly excluded: readonly { readonly site: string; readonly code: string }[] },
): string | undefined {
  if (to === shown) return undefined;
  const code = excluded.find(({ site }) => site === shown)?.code;
  return `Warning: site ${shown} was not promoted${code === undefined ? '' : ` (${code})`}. Site ${to} is active now: move the applications there.`;
}

/** The command that asks for exactly the approval that is missing. The epoch and the two after it are for further targets. */
export function approvalCommand(
  group: string,
  { site, serial, epoch, loses, silentSites, required }: NeededApproval,
): string {
  return [
    `antipode approve request failover ${group} --partition ${site}=${serial} --epochs ${epoch}-${epoch + 2n}`,
    ...(loses > 0n ? [`--loses ${loses}`] : []),
    ...silentSites.map((silent) => `--without-hearing ${silent}`),
    `--required ${required} --reason TEXT --as NAME --key KEY --out FILE`,
  ].join(' ');
}

/**
 * @throws FAILOVER_REFUSED if an obstacle remains even when every loss is accepted, except that of a majority;
 * APPROVAL_REQUIRED if the target guards the group
 */
export function refuseObstacle(
  group: string,
  { obstacle, neededApproval }: Pick<PlanFailoverResponse, 'obstacle' | 'neededApproval'>,
): void {
  if (obstacle === '') return;
  if (neededApproval !== undefined)
    throw new AntipodeError('APPROVAL_REQUIRED', obstacle, {
      details: { group, site: neededApproval.site },
      hint: `Run \`${approvalCommand(group, neededApproval)}\`, have ${neededApproval.required} other operators sign the file, and repeat the command with --approval FILE. Nothing was changed.`,
    });
  throw new AntipodeError('FAILOVER_REFUSED', obstacle, {
    details: { group },
    hint: 'Run `antipode status` to see which sites and partitions cannot be used, and why. Repair that, or name another site with --to. Accepting a loss does not help here. Nothing was changed. Without a majority, see docs/runbooks/lost-quorum.md.',
  });
}
