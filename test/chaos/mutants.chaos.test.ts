/** The simulator tries itself: bugs that somebody put into the product must be caught, and nothing else. */
import { describe, expect, it, vi } from 'vitest';
import type { Ask, Told } from './command/messages.ts';
import { runSeeds } from './command/pool.ts';
import { tryMutants } from './command/try-mutants.ts';
import { mutatedSources } from './mutants/hook.ts';
import { MUTANTS } from './mutants/table.ts';
import { DIRECTED_NAMES } from './scenarios/directed.ts';

vi.setConfig({ testTimeout: 300_000 });

/** A few of them, each caught by another checker. `npm run chaos -- --seeds 0 --mutants all` tries all. */
const SHARE = ['lease-lasts-too-long', 'acknowledged-for-everybody', 'deleted-keys-stay'];

const run = async (seeds: readonly Ask[], mutant?: string): Promise<Told[]> => {
  const answers: Told[] = [];
  const told = (answer: Told): boolean => {
    answers.push(answer);
    return false;
  };
  await runSeeds({ seeds, workers: 1, told, ...(mutant === undefined ? {} : { mutant }) });
  return answers;
};

it('no story that somebody wrote breaks an invariant', async () => {
  const answers = await run(DIRECTED_NAMES.map((story) => ({ seed: 0, story, isShrunk: false })));
  expect(answers).toHaveLength(DIRECTED_NAMES.length);
  expect(answers.flatMap(({ violations }) => violations)).toEqual([]);
});

describe('a mutant', () => {
  it('is a text that its source has once, and has a name and stories of its own', () => {
    expect(MUTANTS.length).toBeGreaterThanOrEqual(44);
    expect(new Set(MUTANTS.map(({ name }) => name)).size).toBe(MUTANTS.length);
    for (const { name, stories } of MUTANTS) {
      expect(mutatedSources(name).size).toBeGreaterThan(0);
      expect(stories.length).toBeGreaterThan(0);
    }
  });

  it('of the share is caught', async () => {
    const share = MUTANTS.filter(({ name }) => SHARE.includes(name));
    const caught = await tryMutants(share, { workers: 1, say: () => {} });
    expect(caught.map(({ name }) => name).sort()).toEqual([...SHARE].sort());
  });

  it('that breaks a rule gives a story of the acts that matter', async () => {
    const [answer] = await run([{ seed: 0, story: 'paused-active', isShrunk: true }], 'lease-lasts-too-long');
    expect(answer?.violations[0]).toMatchObject({ invariant: 'I1', checker: 'one-active' });
    expect(answer?.acts.map(({ kind }) => kind)).toEqual(['pause-agent']);
  });
});
