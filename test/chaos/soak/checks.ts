/** The checks when no fault is left: nothing is unsettled, and every name answers with the promised key. */
import type { TestSystem } from '../../support/system.ts';
import type { Name } from './applications.ts';
import { ABSENT, type TokenJudge, type Value } from './token-judge.ts';

/** The reasons in `status` why not all is well: the group, its members, operations. */
export async function unsettledNow(system: Pick<TestSystem, 'operator'>): Promise<string[]> {
  const { groups, operations, sites } = await system.operator.getStatus({}, { timeoutMs: 5_000 });
  return [
    ...groups.filter(({ protection }) => protection !== 'protected').map(({ protection }) => `group is ${protection}`),
    ...sites.filter(({ state }) => state !== 'up').map(({ site, state }) => `site ${site} is ${state}`),
    ...groups.flatMap(({ members, newest, activeSite }) =>
      members
        .filter(
          ({ site, acknowledgedGeneration }) => site !== activeSite && acknowledgedGeneration !== newest?.generation,
        )
        .map(({ site }) => `site ${site} lags`),
    ),
    ...operations
      .filter(({ status, kind }) => ['open', 'parked'].includes(status) && kind !== 'capture' && kind !== 'replication')
      .map(({ kind, status, phase, errorCode }) => `${kind} is ${status} in ${phase} ${errorCode}`),
  ];
}

/**
 * Every name at every site, by label and by id. A change that was never acknowledged promises nothing. A key that was
 * in no acknowledged generation can stay where it was made, as a divergent object, if nothing else has its name.
 */
export async function judge(
  names: readonly Name[],
  judges: ReadonlyMap<string, TokenJudge>,
  tell: (text: string) => void,
): Promise<{ lost: Set<string>; deletedAnswers: number }> {
  const lost = new Set<string>();
  let deletedAnswers = 0;
  for (const { id, label, made, acknowledged, promised, changedAt } of names) {
    if (promised === undefined || changedAt !== undefined) continue;
    for (const [site, token] of judges)
      for (const way of ['label', 'id'] as const) {
        const found = await token.answers(way, { id, label, candidates: made });
        const isDivergent = made.includes(found) && !acknowledged.has(found);
        if (found === promised || (promised === ABSENT && isDivergent)) continue;
        tell(`VIOLATION ${label} at ${site} by ${way}: ${verdict(found, promised, made)}`);
        if (promised !== ABSENT) lost.add(label);
        if (acknowledged.has(found)) deletedAnswers += 1;
      }
  }
  return { lost, deletedAnswers };
}

function verdict(found: Value, promised: Value, made: readonly Value[]): string {
  const name = (value: Value): string => (made.includes(value) ? `key ${made.indexOf(value) + 1}` : value);
  return `found ${name(found)}, expected ${name(promised)} of ${made.length}`;
}
