/**
 * The sites that look for a suspect one. If every site looked, the loss of 30 of 200 sites would mean 5,100 calls at once,
 * each of them held until it times out. Pure.
 */
import type { SiteView } from './detector.ts';

/** In one round, for one suspect. */
const OBSERVERS_MAX = 8;

/**
 * Sites that said that they reach the suspect come first, the latest first. The others take turns, from round to round
 * and from suspect to suspect.
 */
export function observersOf(
  suspect: SiteView,
  { sites, round }: { sites: readonly SiteView[]; round: number },
): readonly SiteView[] {
  const up = sites.filter(({ site, status }) => site !== suspect.site && status === 'up');
  if (up.length <= OBSERVERS_MAX) return up;
  const reached = up
    .flatMap((observer) => {
      const seen = observer.observations?.find(({ site }) => site === suspect.site);
      return seen?.reached === true ? [{ observer, ageMs: seen.ageMs }] : [];
    })
    .sort((one, other) => Number(one.ageMs - other.ageMs))
    .slice(0, OBSERVERS_MAX / 2)
    .map(({ observer }) => observer);
  const first = (sites.findIndex(({ site }) => site === suspect.site) + round) * OBSERVERS_MAX;
  const inTurn = up.map((_, index) => up[(first + index) % up.length]!);
  return [...reached, ...inTurn.filter((one) => !reached.includes(one))].slice(0, OBSERVERS_MAX);
}
