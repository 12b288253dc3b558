/** The share of the simulation that every test run has. `npm run chaos` runs as many seeds as you like. */
import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { PassThrough, type Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, vi } from 'vitest';
import type { Told } from './command/messages.ts';
import { runSeeds } from './command/pool.ts';
import { COMMANDS, replay } from './command/replay.ts';
import { Sum } from './command/sum.ts';
import { FAULT_KINDS } from './scenarios/faults.ts';
import { run, without } from './scenarios/run.ts';
import { FAULTS, ORDERS, RARE_FAULTS, storyOf, WORK, WRITTEN_FAULTS } from './scenarios/story.ts';

vi.setConfig({ testTimeout: 300_000 });

const SEEDS = Array.from({ length: 20 }, (_, at) => at);

const all = async (seeds: readonly number[]): Promise<Told[]> => {
  const answers: Told[] = [];
  await runSeeds({
    seeds: seeds.map((seed) => ({ seed, isShrunk: true })),
    workers: 1,
    told: (answer) => {
      answers.push(answer);
      return false;
    },
  });
  return answers;
};

it('no seed of this share breaks an invariant', async () => {
  const answers = await all(SEEDS);
  expect(answers.map(({ seed }) => seed).sort()).toEqual([...SEEDS].sort());
  expect(answers.flatMap(({ seed, violations }) => violations.map((violation) => ({ seed, ...violation })))).toEqual(
    [],
  );
  expect(answers.every(({ checks }) => checks > 0)).toBe(true);
});

it('a campaign that is interrupted ends with the seeds that were done', async () => {
  const stop = new AbortController();
  const done: number[] = [];
  const endless = function* () {
    for (let seed = 0; ; seed += 1) yield { seed, isShrunk: true };
  };
  const told = ({ seed }: Told): boolean => {
    done.push(seed);
    if (done.length === 2) stop.abort();
    return false;
  };
  await runSeeds({ seeds: endless(), workers: 1, signal: stop.signal, told });
  expect(done).toEqual([0, 1]);
});

it('the closing line has what a campaign found, and nothing that differs from one machine to another', () => {
  const sum = new Sum();
  const violation = { invariant: 'I1', checker: 'one-active', text: '', atMs: 0, step: 0 };
  const answer = { seed: 1, violations: [], virtualMs: 1_800_000, checks: 4, lines: 1, acts: [] };
  sum.add({ ...answer, faults: { 'hsm-gone': 1, cut: 2 } });
  sum.add({ ...answer, faults: { cut: 1 }, violations: [violation, violation] });
  Object.assign(sum.mutants, { caught: 3, tried: 3 });
  expect(JSON.stringify(sum)).toBe(
    '{"seeds":2,"violations":1,"virtualHours":1,"faults":{"cut":3,"hsm-gone":1},"checks":8,"mutantsCaught":"3/3"}',
  );
  expect(sum.isClean).toBe(false);
});

describe('the same seed', () => {
  it('has the same event log, byte for byte', async () => {
    const story = storyOf('7');
    const [one, other] = [await run(story), await run(story)];
    expect(other.log.lines).toEqual(one.log.lines);
    expect(one.log.lines.length).toBeGreaterThan(300);
  });

  it('has the same event log in other surroundings', async () => {
    const { log } = await run(storyOf('7'));
    const main = fileURLToPath(new URL('command/main.ts', import.meta.url));
    const elsewhere = (flags: readonly string[], env: Readonly<Record<string, string>>): string => {
      const { stdout } = spawnSync(process.execPath, [...flags, main, '--replay', '7'], {
        cwd: tmpdir(),
        env,
        input: 'quit\n',
        encoding: 'utf8',
      });
      return /event log ([0-9a-f]{64})/.exec(stdout)?.[1] ?? stdout;
    };
    const far = { TZ: 'Pacific/Kiritimati', LC_ALL: 'tr_TR.UTF-8', LANG: 'tr_TR.UTF-8', HOME: '/nonexistent' };
    expect(elsewhere(['--hash-seed=4711', '--no-opt'], far)).toBe(log.sha256);
    expect(elsewhere(['--random-seed=99', '--max-semi-space-size=1'], { TZ: 'America/St_Johns', LC_ALL: 'C' })).toBe(
      log.sha256,
    );
  });

  it('has another event log than the next one', async () => {
    const [one, other] = [await run(storyOf('8'), { untilStep: 400 }), await run(storyOf('9'), { untilStep: 400 })];
    expect(other.log.sha256).not.toBe(one.log.sha256);
  });

  it('tells a story in which the other acts stay when one is left out', () => {
    const story = storyOf('11');
    const [first, ...rest] = story.acts;
    expect(without(story, new Set([first!.id])).acts).toEqual(rest);
  });
});

it('every kind of act is one that somebody can do', () => {
  const inSeeds = [...Object.keys(FAULTS), ...Object.keys(RARE_FAULTS)];
  expect([...inSeeds, ...WRITTEN_FAULTS].sort()).toEqual([...FAULT_KINDS].sort());
  const told = new Set(
    Array.from({ length: 400 }, (_, seed) => storyOf(String(seed)).acts.map(({ kind }) => kind)).flat(),
  );
  expect([...told].sort()).toEqual([...inSeeds, ...Object.keys(ORDERS), ...Object.keys(WORK)].sort());
});

describe('a replay', () => {
  const told = async (...commands: readonly string[]): Promise<string> => {
    const output = new PassThrough();
    const chunks: string[] = [];
    output.on('data', (chunk: Buffer) => chunks.push(chunk.toString()));
    const input = new PassThrough();
    input.end(`${commands.join('\n')}\n`);
    await replay('7', { without: new Set(), input: input as Readable, output });
    return chunks.join('');
  };

  it('shows the state at a step, and what changed between two', async () => {
    const text = await told('state 250 site a', 'diff 250 900');
    expect(text).toContain('no violation');
    expect(text).toMatch(/site a: journal member grp=payments serial=a-1 role=active/);
    expect(text).toMatch(/^[+-] database: intent/m);
  });

  it('shows the lines of the event log, and says which commands there are', async () => {
    const text = await told('log 0 60', 'what');
    expect(text).toMatch(/told coordinator one: info leading/);
    expect(text).toContain(COMMANDS.trim());
  });
});
