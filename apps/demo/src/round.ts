/** One capture and its way to the standbys, told as it went. */
import type { Operation } from '@antipode/protocol';
import type { DemoCommands, Operator } from './commands.ts';
import type { Story } from './story.ts';

export interface RoundOptions {
  readonly operator: Operator;
  readonly commands: DemoCommands;
  readonly story: Story;
  readonly group: string;
  /** The standbys that must acknowledge. */
  readonly sites: readonly string[];
  readonly timeoutMs: number;
}

export interface Round {
  readonly generation: number;
  readonly objects: number;
  readonly uncaptured: readonly { readonly id: string; readonly kind: string; readonly reason: string }[];
  readonly acknowledgedBy: readonly string[];
  /** How many objects a standby restored, the one that restored most. */
  readonly moved: number;
}

export async function replicateRound({
  operator,
  commands,
  story,
  group,
  sites,
  timeoutMs,
}: RoundOptions): Promise<Round> {
  const round = await commands.replicateOnce(operator, group, { timeoutMs, sites });
  const state = round.state;
  const uncaptured = (state.newest?.uncaptured ?? []).map(({ objectId, kind, reason }) => ({
    id: objectId,
    kind,
    reason,
  }));
  const acknowledgedBy = state.members
    .filter(
      ({ site, acknowledgedGeneration }) =>
        site !== state.activeSite && Number(acknowledgedGeneration) >= round.generation,
    )
    .map(({ site }) => site);
  const { operations } = await operator.getStatus({});
  const moved = operations
    .filter((operation) => operation.kind === 'replication' && isOf(operation, round.generation))
    .map((operation) => Number(resultOf(operation)['appliedObjects'] ?? 0));
  story.detail(
    `generation ${round.generation}: ${state.newest?.objectCount ?? 0} objects, acknowledged by ${acknowledgedBy.join(' and ')}`,
  );
  for (const { site } of state.members) {
    const own = operations.find(
      (operation) => operation.kind === 'replication' && operation.site === site && isOf(operation, round.generation),
    );
    if (own !== undefined)
      story.detail(
        `site ${site}: ${String(resultOf(own)['appliedObjects'])} objects restored, ${String(resultOf(own)['proved'])} proved by use`,
      );
  }
  for (const { id, reason } of uncaptured)
    story.detail(`NOT captured: object ${id.slice(0, 8)}..., ${reason}; the group is only ${state.protection}`);
  return {
    generation: round.generation,
    objects: state.newest?.objectCount ?? 0,
    uncaptured,
    acknowledgedBy,
    moved: Math.max(0, ...moved),
  };
}

/** The result of an operation, as the coordinator keeps it. */
export function resultOf(operation: Operation | undefined): Record<string, unknown> {
  return operation === undefined ? {} : (JSON.parse(operation.result) as Record<string, unknown>);
}

const isOf = (operation: Operation, generation: number): boolean => resultOf(operation)['number'] === generation;
