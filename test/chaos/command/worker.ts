/** A process that runs seeds, one after another, for the command that has started it. Its argument names a mutant. */
import { makeMutant } from '../mutants/hook.ts';
import type { Ask, Tell } from './messages.ts';

const mutant = process.argv[2];
if (mutant !== undefined) makeMutant(mutant);
// Only after that: what a mutant changes is changed while it is loaded.
const { catchUncaught, run } = await import('../scenarios/run.ts');
const { forgetWorld } = await import('../scenarios/watch.ts');
const { storyOf } = await import('../scenarios/story.ts');
const { directedStory } = await import('../scenarios/directed.ts');
const { shrink } = await import('../scenarios/shrink.ts');
// Traces of the many errors that a fault brings cost a tenth of the time. A replay has them.
Error.stackTraceLimit = 0;

const tell = (message: Tell): void => void process.send?.(message);

/** Where the process is allowed to order it. */
const collect = (): void => void globalThis.gc?.({ type: 'minor' });

async function work({ seed, story: name, isShrunk }: Ask): Promise<void> {
  const story = name === undefined ? storyOf(String(seed)) : directedStory(name, String(seed));
  try {
    const { violations, virtualMs, checks, faults, log, world } = await run(story);
    world.forget();
    const [first] = violations;
    const kept = first !== undefined && isShrunk ? await shrink(story, first.checker) : story;
    tell({ seed, violations, virtualMs, checks, faults, lines: log.lines.length, acts: kept.acts });
  } catch (thrown) {
    const text = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
    const violation = { invariant: 'defect', checker: 'simulator', text, atMs: 0, step: 0 };
    tell({ seed, violations: [violation], virtualMs: 0, checks: 0, faults: {}, lines: 0, acts: story.acts });
  }
}

catchUncaught();
process.on('message', async (ask) => {
  await work(ask as Ask);
  forgetWorld();
  collect();
});
process.on('disconnect', () => process.exit(0));
// Ctrl-C reaches the whole group of processes. The command decides when its workers end.
process.on('SIGINT', () => {});
tell('ready');
