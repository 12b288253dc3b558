/** The way of every change of a group: show the consequences, ask, order it for the declaration that was shown. */
import type { GroupChangeSchema, GroupState, PlanGroupChangeResponse } from '@antipode/protocol';
import { AntipodeError, isErrorCode, systemClock } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { submitApprovals } from './approvals/approval-file.ts';
import { confirm } from './confirm.ts';
import { follow, type Operator } from './operator-connection.ts';
import { duration, type Output } from './output.ts';

export type Change = NonNullable<MessageInitShape<typeof GroupChangeSchema>['kind']>;

export interface ChangeOptions {
  readonly dryRun?: boolean | undefined;
  readonly yes?: boolean | undefined;
  /** Files with approvals that the change needs. */
  readonly approval?: readonly string[] | undefined;
  /** Seconds. */
  readonly timeout: number;
}

/**
 * Returns the group after the change; undefined if nothing was ordered: a dry run, or a group that is like this already.
 * @throws what the order would end with, before it is given
 */
export async function changeGroup(
  operator: Pick<Operator, 'planGroupChange' | 'changeGroup' | 'getOperation' | 'getGroup' | 'submitApproval'>,
  { group, change, output }: { group: string; change: Change; output: Output },
  { dryRun, yes, approval, timeout }: ChangeOptions,
): Promise<GroupState | undefined> {
  const plan = await operator.planGroupChange({ group, change: { kind: change } });
  if (plan.changes.length === 0) {
    output.note(
      change.case === 'delete'
        ? `Group ${group} is deleted already. Nothing to do.`
        : `Group ${group} is already declared like this. Nothing to do.`,
    );
    if (dryRun) output.data(plan, () => 'Nothing was changed (--dry-run).');
    return undefined;
  }
  tell(plan, output);
  if (dryRun) {
    output.data(plan, () => 'Nothing was changed (--dry-run).');
    return undefined;
  }
  if (plan.obstacle !== '')
    throw new AntipodeError(
      isErrorCode(plan.obstacleCode) ? plan.obstacleCode : 'GROUP_CHANGE_REFUSED',
      `group ${group}: ${plan.obstacle}`,
      { details: { group }, ...(plan.obstacleHint === '' ? {} : { hint: plan.obstacleHint }) },
    );
  if (plan.needsConfirmation && yes !== true) await confirm(group);
  await submitApprovals(operator, approval);
  const answer = await operator.changeGroup({ group, change: { kind: change }, revision: plan.revision });
  if (answer.operationId === '') return answer.group;
  output.note('The declaration is changed. The rest follows:');
  const endMs = systemClock.monotonicMs() + timeout * 1_000;
  await follow(operator, answer.operationId, { output, timeoutMs: timeout * 1_000 });
  return untilKeyed(operator, { group, endMs });
}

const AGAIN_MS = 500;

/** A version that was on its way already does not count: the coordinator orders the next one by itself. */
async function untilKeyed(
  operator: Pick<Operator, 'getGroup'>,
  { group, endMs }: { group: string; endMs: number },
): Promise<GroupState | undefined> {
  for (;;) {
    const { group: state } = await operator.getGroup({ group });
    if (state?.domainKeyDue !== true) return state;
    if (systemClock.monotonicMs() >= endMs)
      throw new AntipodeError('TIMED_OUT', `group ${group} is changed, and its new domain key is not in use yet`, {
        details: { group },
        hint: `The coordinator goes on. \`antipode status\` says what keeps the domain key from its partitions.`,
      });
    await systemClock.sleep(AGAIN_MS);
  }
}

function tell({ changes, consequences, durations, obstacle }: PlanGroupChangeResponse, output: Output): void {
  for (const line of changes) output.note(line);
  for (const line of consequences) output.note(line);
  if (durations.length > 0) output.note('Expected duration:');
  for (const { step, ms, source } of durations)
    output.note(`  ${step}: ${ms === undefined ? 'not known' : ms === 0n ? 'at once' : duration(ms)} (${source})`);
  if (obstacle !== '') output.note(`Refused: ${obstacle}.`);
}
