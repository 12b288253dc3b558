import { chmodSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';
import { ClosingLine } from './test/support/closing-line.ts';
import { LongestFirst } from './test/support/longest-first.ts';

// The programs that tests start, some thousand, find the types of their files stripped: half of what a start costs.
process.env['NODE_COMPILE_CACHE'] ??= join(import.meta.dirname, 'node_modules/.cache/antipode/compiled');

// The first system that a test starts makes its database and the keys of its tokens, and all others begin with copies.
const prepared = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'antipode-prepared-'));
chmodSync(prepared, 0o711);
process.env['ANTIPODE_PREPARED'] = prepared;
process.once('exit', () => rmSync(prepared, { recursive: true, force: true }));

/** Of each process of tests, before its first file. */
const setupFiles = ['test/support/properties.ts'];
/** Where each file has a process of its own. */
const ownProcess = [...setupFiles, 'test/support/cost.ts'];

export default defineConfig({
  test: {
    reporters: ['dot', new ClosingLine()],
    passWithNoTests: false,
    // Most tests wait for tokens, servers and processes: with a worker for each core, cores would stay idle.
    maxWorkers: availableParallelism() + 1,
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        test: {
          name: 'unit',
          setupFiles,
          include: ['{packages,services,apps,scripts}/**/*.test.ts', 'test/{golden,rules}/*.test.ts'],
          // A process for each file took three fifths of the time, to load the same modules again. A unit test
          // leaves nothing behind in its process: the files pass in any order (`--sequence.shuffle.files`).
          isolate: false,
          // As below: properties are tried many hundred times, and the first start of a database in process makes its cluster.
          testTimeout: 30_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'integration',
          setupFiles: ownProcess,
          include: ['test/integration/**/*.int.test.ts'],
          // Real tokens, servers and processes on a machine that may be busy: a limit against hanging, no measure of speed.
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'attacks',
          setupFiles: ownProcess,
          include: ['test/attacks/**/*.attack.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      {
        test: {
          name: 'chaos',
          setupFiles: ownProcess,
          include: ['test/chaos/**/*.chaos.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
