/** Plays one story, as often as it is asked for, and sums up what came of it. */
import { seededPrng } from '@antipode/runtime';
import { type Distribution, distributionOf } from './distribution.ts';
import { type Outcome, Scene, type SceneOptions } from './scene.ts';
import type { Story } from './stories/story.ts';

export interface Performance {
  readonly runs: number;
  /** From the fault until the client signed elsewhere, where the story says when that was. */
  readonly servingMs?: Distribution | null;
  /** The longest time without a signature in each run. */
  readonly outageMs: Distribution | null;
  /** From the end of the faults until the group was protected again. */
  readonly settledMs?: Distribution | null;
  /** The coordinator's own figure. */
  readonly recoveryTimeMs: Distribution | null;
  readonly acknowledged: number;
  readonly lost: number;
  readonly twoActives: number;
  /** Runs in which the client did not sign at the end. */
  readonly notServed: number;
  /** Runs in which something did not come true that the story waits for. */
  readonly failed: number;
}

type Played = Outcome & { readonly servingMs: number | undefined };

export async function play(
  story: Story,
  {
    runs,
    seed,
    tell,
    ...place
  }: Pick<SceneOptions, 'timings' | 'tell' | 'isNetworked'> & { runs: number; seed: string },
): Promise<Performance> {
  const played: Played[] = [];
  for (let run = 1; run <= runs; run += 1) {
    try {
      const prng = seededPrng(`${seed}/${story.name}/${run}`);
      const one = await once(story, { ...place, tell, prng, coordinators: story.coordinators });
      played.push(one);
      const { servingMs, outageMs, settledMs, site } = one;
      const parts = [
        site === '' ? 'the client does not sign any more' : `the client signs at ${site}`,
        ...(servingMs === undefined ? [] : [`${Math.round(servingMs)} ms after the fault`]),
        `longest gap ${outageMs} ms`,
        ...(settledMs === undefined ? [] : [`settled after ${Math.round(settledMs)} ms`]),
      ];
      tell(`${story.name} ${run} of ${runs}: ${parts.join(', ')}`);
    } catch (thrown) {
      tell(`VIOLATION ${story.name} ${run} of ${runs} (seed ${seed}): ${(thrown as Error).message}`);
    }
  }
  return summed(played, runs);
}

async function once(story: Story, options: SceneOptions): Promise<Played> {
  const scene = await Scene.open(options);
  try {
    scene.client.forgetGaps();
    const { servingMs, settles } = await story.play(scene);
    const settledMs = settles ? await scene.settled() : undefined;
    return { ...(await scene.judged({ settledMs })), servingMs };
  } finally {
    await scene.close();
  }
}

export function summed(played: readonly Played[], runs: number): Performance {
  const spread = (of: (one: Played) => number | undefined): Distribution | null => {
    const values = played.flatMap((one) => of(one) ?? []);
    return values.length === 0 ? null : distributionOf(values);
  };
  const sum = (of: (one: Played) => number): number => played.reduce((total, one) => total + of(one), 0);
  const [servingMs, settledMs] = [spread((one) => one.servingMs), spread((one) => one.settledMs)];
  return {
    runs,
    ...(servingMs === null ? {} : { servingMs }),
    outageMs: spread(({ outageMs }) => outageMs),
    ...(settledMs === null ? {} : { settledMs }),
    recoveryTimeMs: spread(({ recoveryTimeMs }) => (recoveryTimeMs === 0 ? undefined : recoveryTimeMs)),
    acknowledged: sum(({ acknowledged }) => acknowledged),
    lost: sum(({ lost }) => lost),
    twoActives: sum(({ twoActives }) => twoActives),
    notServed: sum(({ site }) => (site === '' ? 1 : 0)),
    failed: runs - played.length,
  };
}
