import type { GroupState } from '@antipode/protocol';
import { MemberRole } from '@antipode/protocol';
import { AntipodeError, systemClock } from '@antipode/runtime';
import type { Command } from 'commander';
import { follow, type Operator, withOperator } from '../operator.ts';
import { output } from '../output.ts';
import { operatorCommand, seconds, TIMEOUT_S_DEFAULT } from './common.ts';
import { memberTable, uncapturedTable } from './group.ts';

const POLL_MS = 200;

/**
 * Resolves when every standby that is up has acknowledged `number` or newer. @throws TIMED_OUT
 *
 * Assumes that the numbers of a group's generations only grow, over all of its epochs: no two generations of a group have
 * one number, and the active member of a new epoch goes on above the highest that it knows. So a number alone says which
 * is newer, and a standby whose number is higher holds no less.
 */
export async function untilAcknowledged(
  operator: Operator,
  group: string,
  { number, sites, timeoutMs }: { number: number; sites?: readonly string[]; timeoutMs: number },
): Promise<GroupState> {
  const endMs = systemClock.monotonicMs() + timeoutMs;
  for (;;) {
    const { group: state } = await operator.getGroup({ group });
    const waited = (state?.members ?? []).filter(
      ({ role, site, siteState }) =>
        role !== MemberRole.ACTIVE &&
        (sites === undefined ? siteState === 'up' && role === MemberRole.STANDBY : sites.includes(site)),
    );
    const behind = waited.filter(({ acknowledgedGeneration }) => Number(acknowledgedGeneration) < number);
    if (state !== undefined && waited.length > 0 && behind.length === 0) return state;
    if (systemClock.monotonicMs() > endMs) {
      throw new AntipodeError(
        'TIMED_OUT',
        `generation ${number} is not acknowledged by ${behind.map(({ site }) => site).join(', ') || 'any standby'}; replication goes on`,
        { details: { group } },
      );
    }
    await systemClock.sleep(POLL_MS);
  }
}

export interface Round {
  readonly generation: number;
  readonly isNew: boolean;
  readonly sealedObjects: number;
  readonly state: GroupState;
}

/** One capture, and its way to every standby. */
export async function replicateOnce(
  operator: Operator,
  group: string,
  options: Parameters<typeof follow>[2] & { sites?: readonly string[] },
): Promise<Round> {
  const { operationId } = await operator.replicate({ group }, { timeoutMs: options.timeoutMs });
  const operation = await follow(operator, operationId, options);
  const result = JSON.parse(operation.result) as { number: number; isNew: boolean; sealedObjects: number };
  const state = await untilAcknowledged(operator, group, {
    number: result.number,
    timeoutMs: options.timeoutMs,
    ...(options.sites === undefined ? {} : { sites: options.sites }),
  });
  return { generation: result.number, isNew: result.isNew, sealedObjects: result.sealedObjects, state };
}

export function replicateCommand(): Command {
  return operatorCommand('replicate', 'capture now, and wait until every standby that is up has acknowledged', [
    'replicate payments',
    'replicate payments --timeout 60 --json',
  ])
    .argument('<group>', 'replication group')
    .option('--timeout <seconds>', 'how long to wait', seconds, TIMEOUT_S_DEFAULT)
    .action(async (group, options) => {
      const out = output(options);
      await withOperator(options.config, async (operator) => {
        const round = await replicateOnce(operator, group, { output: out, timeoutMs: options.timeout * 1_000 });
        out.data(
          round,
          () =>
            `generation ${round.generation}${round.isNew ? `, ${round.sealedObjects} objects sealed` : ' (nothing changed)'}\n\n${memberTable(round.state)}${uncapturedTable(round.state)}`,
        );
      });
    });
}
