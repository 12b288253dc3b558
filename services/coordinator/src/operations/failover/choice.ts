/** Which of several members a move promotes, and why. Pure. */
import { isNewer } from '@antipode/protocol';
import type { Candidate, Survey } from './plan.ts';

/**
 * Why a member was chosen: the first point in which it is better than the next best.
 * - `wanted`: an operator named it. `only`: no other one can serve.
 * - `newest`: it holds the newest generation. `complete`: its token has refused fewer objects of it.
 * - `domain-key`: it can capture at once. `preferred`: the group prefers it.
 * - `load`: fewer groups are active at its site. `order`: it comes first among the members.
 * - `former`: the member that was active before, where no standby can serve without a loss.
 */
export type ChosenFor =
  | 'wanted'
  | 'only'
  | 'newest'
  | 'complete'
  | 'domain-key'
  | 'preferred'
  | 'load'
  | 'order'
  | 'former';

/** Negative where the first is better, and 0 among equals. */
export interface Criterion {
  readonly name: ChosenFor;
  compare(one: Candidate, other: Candidate): number;
}

/** The keys that a standby holds come before everything that a group or its operators may wish. */
export function inOrder({ prefer = [] }: Pick<Survey, 'prefer'>): readonly Criterion[] {
  const rank = ({ site }: Candidate): number => (prefer.includes(site) ? prefer.indexOf(site) : prefer.length);
  return [
    {
      name: 'newest',
      compare: (one, other) => (isNewer(one.applied, other.applied) ? -1 : isNewer(other.applied, one.applied) ? 1 : 0),
    },
    { name: 'complete', compare: (one, other) => (one.refused ?? 0) - (other.refused ?? 0) },
    { name: 'domain-key', compare: (one, other) => Number(one.lacksKey === true) - Number(other.lacksKey === true) },
    { name: 'preferred', compare: (one, other) => rank(one) - rank(other) },
    { name: 'load', compare: (one, other) => (one.load ?? 0) - (other.load ?? 0) },
  ];
}

/** Among equals the first, in the order of the group. */
export function first(candidates: readonly Candidate[], order: readonly Criterion[]): Candidate | undefined {
  return candidates.reduce<Candidate | undefined>(
    (best, one) =>
      best === undefined || (firstDifference(one, best, order)?.compare(one, best) ?? 0) < 0 ? one : best,
    undefined,
  );
}

const firstDifference = (one: Candidate, other: Candidate, order: readonly Criterion[]): Criterion | undefined =>
  order.find((criterion) => criterion.compare(one, other) !== 0);

export function reasonOf(target: Candidate, candidates: readonly Candidate[], order: readonly Criterion[]): ChosenFor {
  const next = first(
    candidates.filter(({ site }) => site !== target.site),
    order,
  );
  if (next === undefined) return 'only';
  return firstDifference(target, next, order)?.name ?? 'order';
}
