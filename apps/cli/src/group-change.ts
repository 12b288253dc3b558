/** The way of every change of a group: show the consequences, ask, order it for the declaration that was shown. */
import type { GroupChangeSchema, GroupState, PlanGroupChangeResponse } from '@antipode/protocol';
import { AntipodeError, isErrorCode } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { confirm } from './confirm.ts';
import { follow, type Operator } from './operator.ts';
import type { Output } from './output.ts';

export type Change = NonNullable<MessageInitShape<typeof GroupChangeSchema>['kind']>;

export interface ChangeOptions {
  readonly dryRun?: boolean | undefined;
  readonly yes?: boolean | undefined;
  /** Seconds. */
  readonly timeout: number;
}

/**
 * Returns the group after the change; undefined if nothing was ordered: a dry run, or a group that is like this already.
 * @throws what the order would end with, before it is given
 */
export async function changeGroup(
  operator: Pick<Operator, 'planGroupChange' | 'changeGroup' | 'getOperation'>,
  { group, change, output }: { group: string; change: Change; output: Output },
  { dryRun, yes, timeout }: ChangeOptions,
): Promise<GroupState | undefined> {
  const plan = await operator.planGroupChange({ group, change: { kind: change } });
  if (plan.changes.length === 0) {
    output.note(`Group ${group} is already declared like this. Nothing to do.`);
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
      { details: { group } },
    );
  if (plan.needsConfirmation && yes !== true) await confirm(group);
  const answer = await operator.changeGroup({ group, change: { kind: change }, revision: plan.revision });
  if (answer.operationId !== '') await follow(operator, answer.operationId, { output, timeoutMs: timeout * 1_000 });
  return answer.group;
}

function tell({ changes, consequences, obstacle }: PlanGroupChangeResponse, output: Output): void {
  for (const line of changes) output.note(line);
  for (const line of consequences) output.note(line);
  if (obstacle !== '') output.note(`Refused: ${obstacle}.`);
}
