/** One capture and its way to the standbys, told as it went. */
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
  const replications = operations.flatMap(({ site, outcome }) =>
    outcome.case === 'replication' && Number(outcome.value.generation?.generation ?? 0n) === round.generation
      ? [{ site, restored: outcome.value.appliedObjects ?? 0, proved: outcome.value.provedObjects ?? 0 }]
      : [],
  );
  story.detail(
    `generation ${round.generation}: ${state.newest?.objectCount ?? 0} objects, acknowledged by ${acknowledgedBy.join(' and ')}`,
  );
  for (const { site } of state.members) {
    const own = replications.find((one) => one.site === site);
    if (own !== undefined) story.detail(`site ${site}: ${own.restored} objects restored, ${own.proved} proved by use`);
  }
  for (const { id, reason } of uncaptured)
    story.detail(`NOT captured: object ${id.slice(0, 8)}..., ${reason}; the group is only ${state.protection}`);
  return {
    generation: round.generation,
    objects: state.newest?.objectCount ?? 0,
    uncaptured,
    acknowledgedBy,
    moved: Math.max(0, ...replications.map(({ restored }) => restored)),
  };
}
