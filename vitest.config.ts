import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { ClosingLine } from './test/support/closing-line.ts';

export default defineConfig({
  test: {
    reporters: ['dot', new ClosingLine()],
    passWithNoTests: false,
    // Most tests wait for tokens, servers and processes: by default one core of two would stay idle.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    projects: [
      {
        test: {
          name: 'unit',
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
          include: ['test/integration/**/*.int.test.ts'],
          // Real tokens, servers and processes on a machine that may be busy: a limit against hanging, no measure of speed.
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'attacks',
          include: ['test/attacks/**/*.attack.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      {
        test: {
          name: 'chaos',
          include: ['test/chaos/**/*.chaos.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
