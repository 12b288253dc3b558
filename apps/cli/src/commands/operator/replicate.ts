import { GenerationStanding, type GroupState, MemberRole, nameRef, roleName } from '@antipode/protocol';
import { AntipodeError, systemClock } from '@antipode/runtime';
import { type Command, Option } from 'commander';
import { EXIT } from '../../exit-codes.ts';
import { follow, type Operator, withOperator } from '../../operator-connection.ts';
import { operatorCommand, seconds, TIMEOUT_S_DEFAULT } from '../../options/options.ts';
import { captured, type GenerationName } from '../../outcomes.ts';
import { output } from '../../output.ts';
import { memberTable, uncapturedTable } from '../../views/group.ts';

const POLL_MS = 200;
/** A site that has not been heard since a takeover is heard by then. */
const NOBODY_MS = 3_000;

/** The result of the wait. */
export interface Acknowledged {
  readonly state: GroupState;
  /** Members that do not hold the generation: they were not waited for, since their site is down. */
  readonly lackingSites: readonly string[];
}

/**
 * Resolves when every standby that is up, or each of `sites`, has acknowledged the generation or one that follows from it.
 * The coordinator says so: it knows which tenure went on from which generation. Resolves too when no standby is up: there
 * is nobody to wait for.
 * @throws GENERATION_LOST, TIMED_OUT
 */
export async function untilAcknowledged(
  operator: Pick<Operator, 'getGroup' | 'getGeneration'>,
  group: string,
  { generation, sites = [], timeoutMs }: { generation: GenerationName; sites?: readonly string[]; timeoutMs: number },
): Promise<Acknowledged> {
  const endMs = systemClock.monotonicMs() + timeoutMs;
  const { epoch, number, manifestDigest } = generation;
  const name = nameRef({ epoch: BigInt(epoch), number: BigInt(number), manifestDigest });
  let nobodySinceMs: number | undefined;
  for (;;) {
    const { standing, waitingSites, lackingSites } = await operator.getGeneration({
      group,
      generation: name,
      sites: [...sites],
    });
    if (standing === GenerationStanding.ACKNOWLEDGED) {
      const { group: state } = await operator.getGroup({ group });
      if (state !== undefined) return { state, lackingSites };
    }
    if (standing === GenerationStanding.LOST || standing === GenerationStanding.UNKNOWN) {
      throw new AntipodeError('GENERATION_LOST', `generation ${number} of epoch ${epoch} is no longer in service`, {
        details: { group, epoch, generation: number },
      });
    }
    const nowMs = systemClock.monotonicMs();
    const isNobodyUp = sites.length === 0 && waitingSites.length === 0 && lackingSites.length > 0;
    nobodySinceMs = isNobodyUp ? (nobodySinceMs ?? nowMs) : undefined;
    if (nobodySinceMs !== undefined && nowMs - nobodySinceMs >= Math.min(NOBODY_MS, timeoutMs)) {
      const { group: state } = await operator.getGroup({ group });
      if (state !== undefined) return { state, lackingSites };
    }
    if (nowMs > endMs) {
      throw new AntipodeError(
        'TIMED_OUT',
        `generation ${number} is not acknowledged by ${waitingSites.join(', ') || 'any standby'} after ${timeoutMs / 1_000} s; replication continues`,
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
  /** Members that do not hold it. */
  readonly lackingSites: readonly string[];
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
  const result = captured(operation);
  const { state, lackingSites } = await untilAcknowledged(operator, group, {
    generation: result,
    timeoutMs: options.timeoutMs,
    ...(options.sites === undefined ? {} : { sites: options.sites }),
  });
  const { epoch, number, isNew, sealedObjects } = result;
  return { epoch, generation: number, isNew, sealedObjects, lackingSites, state };
}

/** A warning where no member but the one that was captured holds the generation. */
function nowhereElseText({ state, lackingSites }: Pick<Round, 'state' | 'lackingSites'>): string {
  const isElsewhere = state.members.some(
    ({ site, role }) => role !== MemberRole.ACTIVE && !lackingSites.includes(site),
  );
  if (isElsewhere || lackingSites.length === 0) return '';
  return 'No standby is up: nobody else has this generation. It is replicated when a site returns.\n';
}

/** One line for each member that does not hold the generation, with what is known of its site. */
export function lackingText({
  generation,
  lackingSites,
  state,
}: Pick<Round, 'generation' | 'lackingSites' | 'state'>): string {
  return lackingSites
    .map((site) => {
      const member = state.members.find((one) => one.site === site);
      const why =
        member === undefined ? '' : ` (${roleName(member.role) ?? 'unknown'}, its site is ${member.siteState})`;
      return `\nNOT acknowledged by ${site}${why}: it does not have generation ${generation}.`;
    })
    .join('');
}

export function replicateCommand(): Command {
  return operatorCommand('replicate', 'capture now, and wait until every reachable standby has acknowledged', [
    'replicate payments',
    'replicate payments --require all',
    'replicate payments --timeout 60 --json',
  ])
    .argument('<group>', 'replication group')
    .option('--timeout <seconds>', 'how long to wait', seconds, TIMEOUT_S_DEFAULT)
    .addOption(
      new Option(
        '--require <members>',
        'wait for every standby that is up, or for all members, including those that are down',
      )
        .choices(['up', 'all'])
        .default('up'),
    )
    .addHelpText(
      'after',
      `\nExits with ${EXIT.degraded} if a member that is down has not acknowledged the generation, and names that member.\nIf no standby is up, it says so after some seconds.\nWith --require all it waits for all members, and exits with ${EXIT.unknown} if they have not acknowledged within --timeout.`,
    )
    .action(async (group, options) => {
      const out = output(options);
      await withOperator(options.config, async (operator) => {
        const sites = options.require === 'all' ? await othersOf(operator, group) : [];
        const round = await replicateOnce(operator, group, { output: out, timeoutMs: options.timeout * 1_000, sites });
        out.data(
          round,
          () =>
            `${nowhereElseText(round)}generation ${round.generation}${round.isNew ? `, ${round.sealedObjects} objects sealed` : ' (nothing changed)'}\n${lackingText(round)}\n${memberTable(round.state)}${uncapturedTable(round.state)}`,
        );
        if (round.lackingSites.length > 0) process.exitCode = EXIT.degraded;
      });
    });
}

/** Every member but the one that is captured. */
async function othersOf(operator: Operator, group: string): Promise<string[]> {
  const { group: state } = await operator.getGroup({ group });
  return (state?.members ?? []).filter(({ role }) => role !== MemberRole.ACTIVE).map(({ site }) => site);
}
