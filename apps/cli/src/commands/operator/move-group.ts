/** One move of the active role, for the commands that order one: the plan first, then a yes, then the order. */
import { orderMove, otherSite, planMove, requireAcceptance } from '@antipode/operator';
import { submitApprovals } from '../../approvals/approval-file.ts';
import { confirm } from '../../confirm.ts';
import { EXIT } from '../../exit-codes.ts';
import { follow, withOperator } from '../../operator-connection.ts';
import { failedOver } from '../../outcomes.ts';
import { duration, output } from '../../output.ts';

export interface MoveOptions {
  readonly config?: string | undefined;
  readonly json?: boolean;
  readonly to: string;
  readonly acceptLoss?: boolean;
  readonly ignoreVetoes?: boolean;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
  readonly approval: readonly string[];
  /** Seconds. */
  readonly timeout: number;
  /** A switchover: nothing is changed where anything would be lost. */
  readonly planned?: boolean;
  /** Seconds. */
  readonly deadline?: number;
}

/** @throws FAILOVER_REFUSED, APPROVAL_REQUIRED, and what the operation ends with */
export async function moveGroup(group: string, options: MoveOptions): Promise<void> {
  const out = output(options);
  const { planned = false, acceptLoss = false } = options;
  await withOperator(
    options.config,
    async (operator) => {
      await submitApprovals(operator, options.dryRun ? [] : options.approval);
      const move = await planMove(operator, { group, to: options.to, planned });
      const { plan, lines, acceptance } = move;
      for (const line of lines) out.note(line);
      if (acceptance !== undefined) out.note(`This needs --accept-loss. ${acceptance}`);
      if (options.dryRun) {
        out.data(plan, () => 'Nothing was changed (--dry-run).');
        return;
      }
      requireAcceptance(move, { acceptLoss });
      if (!options.yes) await confirm(group);
      const { operationId, replacedOperationId } = await orderMove(operator, move, {
        acceptLoss,
        ignoreVetoes: options.ignoreVetoes === true,
        deadlineMs: Math.round((options.deadline ?? 0) * 1_000),
      });
      if (replacedOperationId !== '')
        out.note(`This replaces the failover that was under way (operation ${replacedOperationId.slice(0, 8)}).`);
      const operation = await follow(operator, operationId, { output: out, timeoutMs: options.timeout * 1_000 });
      const result = failedOver(operation);
      const warning = otherSite(plan.toSite, result);
      if (warning !== undefined) out.note(warning);
      if (warning !== undefined && options.to !== '') process.exitCode = EXIT.degraded;
      out.data(
        result,
        () =>
          `site ${result.to} is active in epoch ${result.epoch} after ${duration(result.recoveryTimeMs)}; ${result.proved} objects proved`,
      );
    },
    { orders: options.dryRun ? undefined : 'Failover' },
  );
}
