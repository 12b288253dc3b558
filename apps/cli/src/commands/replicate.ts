import { GenerationStanding, type GroupState } from '@antipode/protocol';
import { AntipodeError, fromHex, systemClock } from '@antipode/runtime';
import type { Command } from 'commander';
import { follow, type Operator, withOperator } from '../operator.ts';
import { output } from '../output.ts';
import { operatorCommand, seconds, TIMEOUT_S_DEFAULT } from './common.ts';
import { memberTable, uncapturedTable } from './group.ts';

const POLL_MS = 200;

/** A generation by all of its names: another one may have its number. */
export interface GenerationName {
  readonly epoch: number;
  readonly number: number;
  readonly manifestDigest: string;
}

/**
 * Resolves when every standby that is up, or each of `sites`, has acknowledged the generation or one that follows from it.
 * The coordinator says so: it knows which tenure went on from which generation.
 * @throws GENERATION_LOST, TIMED_OUT
 */
export async function untilAcknowledged(
  operator: Operator,
  group: string,
  { generation, sites = [], timeoutMs }: { generation: GenerationName; sites?: readonly string[]; timeoutMs: number },
): Promise<GroupState> {
  const endMs = systemClock.monotonicMs() + timeoutMs;
  const { epoch, number, manifestDigest } = generation;
  const name = { epoch: BigInt(epoch), generation: BigInt(number), manifestDigest: fromHex(manifestDigest) };
  for (;;) {
    const { standing, waitingSites } = await operator.getGeneration({ group, generation: name, sites: [...sites] });
    if (standing === GenerationStanding.ACKNOWLEDGED) {
      const { group: state } = await operator.getGroup({ group });
      if (state !== undefined) return state;
    }
    if (standing === GenerationStanding.LOST || standing === GenerationStanding.UNKNOWN) {
      throw new AntipodeError('GENERATION_LOST', `generation ${number} of epoch ${epoch} is not served any more`, {
        details: { group, epoch, generation: number },
      });
    }
    if (systemClock.monotonicMs() > endMs) {
      throw new AntipodeError(
        'TIMED_OUT',
        `generation ${number} is not acknowledged by ${waitingSites.join(', ') || 'any standby'}; replication goes on`,
        { details: { group } },
      );
    }
    await systemClock.sleep(POLL_MS);
  }
}

export interface Round {
  readonly epoch: number;
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
  const result = JSON.parse(operation.result) as GenerationName & { isNew: boolean; sealedObjects: number };
  const state = await untilAcknowledged(operator, group, {
    generation: result,
    timeoutMs: options.timeoutMs,
    ...(options.sites === undefined ? {} : { sites: options.sites }),
  });
  const { epoch, number, isNew, sealedObjects } = result;
  return { epoch, generation: number, isNew, sealedObjects, state };
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
