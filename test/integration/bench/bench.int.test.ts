/** Whether the benchmark works, and what its answer looks like. Never how fast anything is. */
import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import type { Report } from '../../bench/report/report.ts';

const run = promisify(execFile);
const MAIN = fileURLToPath(new URL('../../bench/main.ts', import.meta.url));
const TIMEOUT_MS = 180_000;

/** Ends with the output and the exit code, whichever it is, and with what is left of it on tmpfs. */
async function bench(args: readonly string[], environment: NodeJS.ProcessEnv = process.env) {
  const ended = run(process.execPath, [MAIN, ...args], { timeout: TIMEOUT_MS, env: environment });
  const { code, stdout, stderr } = await ended
    .then((output) => ({ code: 0, ...output }))
    .catch((thrown: { code: number; stdout: string; stderr: string }) => thrown);
  const left = readdirSync('/dev/shm').filter((name) => name.startsWith(`antipode-bench-${ended.child.pid}-`));
  return { code, stdout, stderr, left };
}

/** With its headers, which Debian packs apart. */
const hasCompiler = await run('cc', ['-include', 'dlfcn.h', '-fsyntax-only', '-x', 'c', '/dev/null'])
  .then(() => true)
  .catch(() => false);

const number = expect.any(Number);
/** Measured beside the C program, or left out together with it. */
const beside = hasCompiler ? number : null;
const verdict = hasCompiler ? expect.any(Boolean) : null;

it(
  'a small run answers with every figure in one line, and leaves nothing behind',
  async () => {
    const floor = hasCompiler ? [] : ['--no-floor'];
    const small = ['--quick', '--keys', '20', '--large', '50', '--rounds', '1', '--rtt', '2'];
    const { code, stdout, stderr, left } = await bench([...small, '--json', ...floor]);
    expect({ code, lines: stdout.trimEnd().split('\n').length, left }, stderr).toEqual({ code: 0, lines: 1, left: [] });
    const report = JSON.parse(stdout) as Report;
    const phasesMs = { seal: number, unseal: number, readBack: number };
    const full = {
      oursMs: number,
      floorMs: beside,
      ratio: beside,
      phasesMs,
      floorPhasesMs: hasCompiler
        ? { find: number, read: number, wrap: number, unwrap: number, create: number, use: number }
        : null,
      callsMs: { source: { look: number, wrap: number }, target: { unwrap: number, prove: number } },
      roundsMs: [{ ours: number, floor: beside }],
    };
    const growth = { after: number, rest: number, peak: number };
    expect(report).toMatchObject({
      bench: 1,
      commit: { isChanged: expect.any(Boolean) },
      machine: { cores: number, memoryGiB: number, kernel: expect.any(String) },
      versions: { node: process.version, softhsm: expect.any(String) },
      load: { before: number, after: number },
      rounds: 1,
      figures: {
        full: { keys: 20, objects: 34, target: 1.25, isMet: verdict, ...full },
        aes: {
          keys: 20,
          target: 25,
          isMet: expect.any(Boolean),
          ...full,
          script: { perKeyMs: number, sampledKeys: 5, scaledMs: number },
          timesAsFast: number,
        },
        unchanged: { keys: 50, oursMs: number, passMs: beside, ratio: beside, target: 1.5, isMet: verdict },
        newKey: { keys: 50, oursMs: number, passMs: beside, limitMs: beside, isMet: verdict, phasesMs },
        sites: { keys: 50, rttMs: 2, pull: { blobs: 50, withoutMs: number, delayedMs: number }, target: 1.1 },
        memory: { keys: 50, activeMiB: number, standbyMiB: number, target: 150, isMet: expect.any(Boolean) },
        move: { keys: 500, sourceMiB: growth, destinationMiB: growth, target: 100, isMet: expect.any(Boolean) },
        native: { keys: 20, oursMs: number, floorMs: number, ratio: number, target: 1.5, isMet: expect.any(Boolean) },
        history: { days: 10, generations: 5_760, oursMs: number, emptyMs: number, ratio: number, target: 2 },
      },
    });
    // Never left out in silence.
    expect(report.notes.some((note) => note.includes('--no-floor'))).toBe(!hasCompiler);
  },
  TIMEOUT_MS,
);

it(
  'a coordinator is measured under a small fleet',
  async () => {
    const small = ['--only', 'scale', '--fleet', '3x3x3', '--seconds', '1', '--pace', '90', '--json'];
    const { code, stdout, stderr, left } = await bench(small);
    expect({ code, left }, stderr).toEqual({ code: 0, left: [] });
    const report = JSON.parse(stdout) as Report;
    const steady = {
      coordinatorCores: number,
      coordinatorMiB: number,
      statementsPerSecond: number,
      heartbeatsPerSecond: number,
      heartbeatsFailed: 0,
    };
    expect(report.figures.scale).toMatchObject({ groups: 3, sites: 3, members: 3, steady });
  },
  TIMEOUT_MS,
);

it.each([
  ['an unknown option', ['--fast']],
  ['a fleet that is none', ['--fleet', '10x2x3']],
  ['a number that is none', ['--keys', 'many']],
  ['an unknown part', ['--only', 'everything']],
])('%s is a mistake in the usage', async (_what, args) => {
  expect(await bench(args)).toMatchObject({ code: 2, stdout: '' });
});

it('says so, and measures nothing, where there is no C compiler', async () => {
  const { code, stdout, stderr, left } = await bench(['--quick'], { PATH: '/nowhere' });
  expect({ code, stdout, left }).toEqual({ code: 2, stdout: '', left: [] });
  expect(stderr).toContain('--no-floor');
});
