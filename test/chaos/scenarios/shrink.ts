/** Leaves acts out of a failing story, one by one, as long as it fails in the same way. */
import { run, without } from './run.ts';
import type { Story } from './story.ts';

const ROUNDS_MAX = 3;

export async function shrink(story: Story, checker: string): Promise<Story> {
  let kept = story;
  for (let round = 0; round < ROUNDS_MAX; round += 1) {
    const before = kept.acts.length;
    // From the end: what came last is most often only company.
    for (const { id } of [...kept.acts].reverse()) {
      const shorter = without(kept, new Set([id]));
      const { violations, world } = await run(shorter);
      world.forget();
      if (violations[0]?.checker === checker) kept = shorter;
    }
    if (kept.acts.length === before) break;
  }
  return kept;
}
