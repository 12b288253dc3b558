/** A request in sentences, for the people who sign it. */
import { APPROVAL_SKEW_MS } from './approval.ts';
import { type ApprovalRequest, type ApprovedPartition, EPOCH_UNLIMITED } from './approval-request.ts';

/** One line for each fact. It leaves nothing out that is signed, but the format. */
export function approvalText(request: ApprovalRequest): string[] {
  const { group, epochs, requestedBy, reason, required, nonce, notBefore, expires } = request;
  return [
    actionText(request),
    ...failoverText(request),
    epochs.to === EPOCH_UNLIMITED
      ? `It holds in epoch ${epochs.from} of group ${group} and in every later one.`
      : `It holds in epochs ${epochs.from} to ${epochs.to} of group ${group}.`,
    `It holds from ${notBefore} to ${expires}, by the clock of each agent, with a tolerance of ${APPROVAL_SKEW_MS / 1_000} s. It is used once.`,
    `Operator ${requestedBy} asks for it, and does not count. At least ${required} other operators must sign, and more where a site asks for more.`,
    `Reason given: ${reason}`,
    `Nonce: ${nonce}`,
  ];
}

function actionText({ action, group, partitions, objects }: ApprovalRequest): string {
  const list = partitions.map((one) => partitionText(one)).join(', ');
  switch (action) {
    case 'enrol':
      return `Enrol in group ${group}: ${list}. Each may hold the domain key of the group, which opens every sealed generation.`;
    case 'release':
      return `Take the seat in group ${group} away from: ${list}. A member that was removed does not vote, and gets no generations.`;
    case 'failover':
      return `Make one of these the active member of group ${group}, although that can lose generations: ${list}.`;
    case 'reseat':
      return `Seat again in group ${group}, as an operator's reseat orders: ${list}. The reseat can overrule the journals of these sites.`;
    case 'restore':
      return `Put ${objects.length} objects of group ${group} back into the production partition ${list}: ${objects.join(', ')}.`;
    case 'restore-backup':
      return `Bring all objects of a backup of group ${group} into the production partition ${list}. The backup is of the generation with the digest ${objects.join(', ')}.`;
    case 'prepare-vault':
      return `Initialise a Backup HSM at the site of ${list}, as a vault of group ${group}. Device and label are those for which \`antipode luna prepare-vault\` shows ${objects.join(', ')}.`;
    case 'break-glass':
      return `BREAK GLASS in group ${group}: any guarded action of one operation, at: ${list}. No limit applies but the epochs and the time.`;
  }
}

function failoverText({ action, limits }: ApprovalRequest): string[] {
  if (action !== 'failover') return [];
  const { losesAtMost, keepsGeneration, withoutHearing } = limits;
  return [
    losesAtMost === 0
      ? 'No generation may be lost that a site has which can be heard.'
      : `At most ${losesAtMost} generations may be lost that a site has which can be heard.`,
    ...(keepsGeneration === 0 ? [] : [`The new active member must hold generation ${keepsGeneration} or a later one.`]),
    withoutHearing.length === 0
      ? 'Every other member must be heard, except the site that was active last.'
      : `These sites may be silent: ${withoutHearing.join(', ')}. Generations that they alone hold can be lost too.`,
  ];
}

const partitionText = ({ site, serial, role, identity }: ApprovedPartition): string =>
  `${role} ${serial} of site ${site}${identity === '' ? '' : ` with identity ${identity}`}`;
