/** Which points inside of native cloning are killed at, and in which order. */
import type { Prng } from '@antipode/runtime';
import {
  type Kill,
  POINT_PHASES,
  POINT_VICTIMS,
  type PointPhase,
  type Points,
  type PointVictim,
} from '../standby/kill.ts';
import { type Episode, pointEpisode, type Scenario, STEP_VICTIMS, stepEpisode } from '../standby/scenarios.ts';
import type { NativePart } from './native-lane.ts';

/** A kill of a source, or of a token that gets its token key. */
export interface NativeEpisode {
  readonly name: string;
  readonly part: NativePart;
  readonly kill: Extract<Kill, { at: 'point' }>;
}

/** The transfer has steps: the store of the standby is called in the agent. */
export type Phase = PointPhase | 'transfer';
const isOfTransfer = (step: string | undefined): boolean => step?.includes(' store.') === true;

/**
 * One kill of each phase in turn, and of a phase those first that are the furthest apart. So any number of kills is spread
 * over all of it. The victims change with each kill. `points`: how many there are, by phase.
 */
export function planPoints({
  scenarios,
  parts,
  prng,
}: {
  scenarios: readonly Scenario[];
  parts: ReadonlyMap<NativePart, Points>;
  prng: Prng;
}): { episodes: (Episode | NativeEpisode)[]; points: ReadonlyMap<Phase, number> } {
  const phases = new Map<Phase, (Episode | NativeEpisode)[]>();
  for (const phase of POINT_PHASES) {
    const turn = Math.floor(prng.fraction() * POINT_VICTIMS.length);
    const victim = (at: number): PointVictim => POINT_VICTIMS[(turn + at) % POINT_VICTIMS.length]!;
    phases.set(
      phase,
      interleaved<Episode | NativeEpisode>([
        ...scenarios.map((scenario) =>
          spread(scenario.points[phase].length).map((index, at) =>
            pointEpisode(scenario, { phase, index, victim: victim(at) }),
          ),
        ),
        ...[...parts].map(([part, points]) =>
          spread(points[phase].length).map((index, at) => nativeEpisode(part, { phase, index, victim: victim(at) })),
        ),
      ]),
    );
  }
  // A generation whose keys are wrapped has no points, and its transfer is killed with all other steps.
  const isNative = [...phases.values()].some((list) => list.length > 0);
  const transfers = scenarios.map((scenario) => {
    const steps = [...scenario.steps.keys()].filter((step) => isOfTransfer(scenario.steps[step]));
    return spread(steps.length).map((index, at) =>
      stepEpisode(scenario, steps[index]!, STEP_VICTIMS[at % STEP_VICTIMS.length]!),
    );
  });
  if (isNative) phases.set('transfer', interleaved(transfers));
  const found = [...phases].filter(([, list]) => list.length > 0);
  return {
    episodes: interleaved(found.map(([, list]) => list)),
    points: new Map(found.map(([phase, list]) => [phase, list.length])),
  };
}

/** The phase that a kill has hit, and what came next there, or had been done. */
export function placeOf(
  kill: Kill,
  { steps, points }: { steps: readonly string[]; points: Points | undefined },
): { phase: Phase; name: string } | undefined {
  if (kill.at === 'point')
    return { phase: kill.phase, name: `before ${points?.[kill.phase][kill.index] ?? 'a later call'}` };
  const step = kill.at === 'step' ? steps[kill.step] : undefined;
  return step !== undefined && isOfTransfer(step) ? { phase: 'transfer', name: step } : undefined;
}

const nativeEpisode = (
  part: NativePart,
  { phase, index, victim }: { phase: PointPhase; index: number; victim: PointVictim },
): NativeEpisode => {
  // A command of an operator has no worker.
  const kill = { at: 'point', phase, index, victim: part === 'newcomer' ? 'worker' : victim } as const;
  return { name: `${part}.${phase}-${index}.${kill.victim}`, part, kill };
};

/** The episode with this name. Undefined where it is not one of these. */
export function nativeEpisodeOf(name: string): NativeEpisode | undefined {
  const found = /^(source|newcomer)\.([a-z]+)-(\d+)\.([a-z]+)$/.exec(name);
  const phase = POINT_PHASES.find((one) => one === found?.[2]);
  const victim = POINT_VICTIMS.find((one) => one === found?.[4]);
  if (phase === undefined || victim === undefined) return undefined;
  return nativeEpisode(found![1] as NativePart, { phase, index: Number(found![3]), victim });
}

/** The numbers below this one, in an order in which any first of them are far apart. */
function spread(count: number): number[] {
  // By the bits of a number, read backwards (van der Corput).
  const place = (index: number): number => {
    let value = 0;
    for (let left = index, weight = 0.5; left > 0; left = Math.floor(left / 2), weight /= 2)
      value += (left % 2) * weight;
    return value;
  };
  const numbers = Array.from({ length: count }, (_, index) => index);
  const ranks = new Map([...numbers].sort((a, b) => place(a) - place(b)).map((index, rank) => [index, rank]));
  return numbers.map((index) => ranks.get(index)!);
}

/** One of each list in turn. */
const interleaved = <T>(lists: readonly (readonly T[])[]): T[] =>
  Array.from({ length: Math.max(0, ...lists.map((list) => list.length)) }).flatMap((_, at) =>
    lists.flatMap((list) => list[at] ?? []),
  );
