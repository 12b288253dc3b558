const VITEST = 'node_modules/vitest/vitest.mjs';
const CHECK = 'scripts/check.ts';

/**
 * What `npm run demo|test|bench|chaos:hsm|chaos:soak|check|generate|format` do: which programs of the system they need
 * (bootstrap/debian-programs.js), and their steps, each a file of this project for Node, with its arguments.
 */
export const VERBS = {
  demo: { needs: ['services'], steps: (args) => [['apps/cli/src/main.ts', 'demo', ...args]] },
  // The unit tests run once, with the others, so that vitest has the last line. With names of tests only those run, and no
  // static checks.
  test: {
    needs: ['services', 'tests', 'compiler'],
    steps: (args) => [...(args.length === 0 ? [[CHECK, '--static']] : []), [VITEST, 'run', ...args]],
  },
  bench: { needs: ['services', 'compiler'], steps: (args) => [['test/bench/main.ts', ...args]] },
  'chaos:hsm': { needs: ['services'], steps: (args) => [['test/chaos/hsm/main.ts', ...args]] },
  'chaos:soak': { needs: ['services', 'tests'], steps: (args) => [['test/chaos/soak/main.ts', ...args]] },
  check: { needs: [], steps: (args) => [[CHECK, ...args]] },
  generate: { needs: [], steps: (args) => [['scripts/generate.ts', ...args]] },
  format: { needs: [], steps: (args) => [['scripts/format.ts', ...args]] },
};
