/**
 * Says whether a generation is still part of the group's line, for somebody who asked for a capture and relies on it
 * (I13). Pure. Each tenure starts from one generation of an earlier tenure. Anything that this generation does not
 * contain is lost to service.
 */
import type { Generation } from '../model.ts';

export interface Named {
  readonly epoch: bigint;
  readonly number: bigint;
}

/** An epoch that came into force, and the generation that its owner was promoted with. */
export interface Tenure {
  readonly epoch: bigint;
  readonly base: Named | undefined;
}

export type Standing = 'unknown' | 'pending' | 'acknowledged' | 'superseded' | 'lost';

export interface StandingFacts {
  readonly asked: Named & { readonly manifestDigest: string };
  /** The generation on record under the same epoch and number. */
  readonly recorded: Pick<Generation, 'manifestDigest'> | undefined;
  readonly newest: Named | undefined;
  /** The newest that each member has acknowledged. */
  readonly acknowledged: readonly (Named & { readonly site: string })[];
  /** Oldest first. */
  readonly tenures: readonly Tenure[];
  /** Members that must have acknowledged it; nothing is acknowledged where there is none. */
  readonly waited: readonly string[];
}

export interface StandingAnswer {
  readonly standing: Standing;
  readonly acknowledgedSites: readonly string[];
  readonly waitingSites: readonly string[];
}

export function standingOf(facts: StandingFacts): StandingAnswer {
  const { asked, recorded, newest, acknowledged, tenures, waited } = facts;
  const held = acknowledged.filter((one) => contains(one, asked, tenures)).map(({ site }) => site);
  const waiting = waited.filter((site) => !held.includes(site));
  const answer = (standing: Standing): StandingAnswer => ({
    standing,
    acknowledgedSites: held,
    waitingSites: waiting,
  });
  if (recorded?.manifestDigest !== asked.manifestDigest)
    return { standing: 'unknown', acknowledgedSites: [], waitingSites: waited };
  const inForce = tenures.at(-1);
  const isServed = inForce !== undefined && contains({ epoch: inForce.epoch, number: NEVER_REACHED }, asked, tenures);
  if (!isServed) return answer('lost');
  if (waited.length > 0 && waiting.length === 0) return answer('acknowledged');
  return answer(newest !== undefined && !isSame(newest, asked) ? 'superseded' : 'pending');
}

/** Stands for whatever the tenure in force will capture. */
const NEVER_REACHED = 2n ** 64n;

/** Whether `later` is `earlier`, or came after it in one line of tenures. */
function contains(later: Named, earlier: Named, tenures: readonly Tenure[]): boolean {
  let at: Named | undefined = later;
  while (at !== undefined && at.epoch > earlier.epoch) {
    const { epoch }: Named = at;
    const base: Named | undefined = tenures.find((one) => one.epoch === epoch)?.base;
    // A tenure starts from an earlier one. A base that does not is invalid, and must not make this loop endless.
    at = base !== undefined && base.epoch < epoch ? base : undefined;
  }
  return at !== undefined && at.epoch === earlier.epoch && at.number >= earlier.number;
}

const isSame = (a: Named, b: Named): boolean => a.epoch === b.epoch && a.number === b.number;
