const VITEST = 'node_modules/vitest/vitest.mjs';
const CHECK = 'scripts/check.ts';

/**
 * What `npm run demo|test|bench|chaos:hsm|check|generate|format` do: whether they run HSMs, databases and queues, whether
 * they use tokens by the tools of others, whether they compile C, and their steps, each a file of this project for Node,
 * with its arguments.
 */
export const VERBS = {
  demo: { needsPrograms: true, steps: (args) => [['apps/cli/src/main.ts', 'demo', ...args]] },
  // The unit tests run once, with the others: the last words of the suite are those of vitest. Whoever names the tests to
  // run wants those, and not what is checked without running any.
  test: {
    needsPrograms: true,
    needsTools: true,
    steps: (args) => [...(args.length === 0 ? [[CHECK, '--static']] : []), [VITEST, 'run', ...args]],
  },
  bench: { needsPrograms: true, needsCompiler: true, steps: (args) => [['test/bench/main.ts', ...args]] },
  'chaos:hsm': { needsPrograms: true, steps: (args) => [['test/chaos/hsm/main.ts', ...args]] },
  check: { needsPrograms: false, steps: (args) => [[CHECK, ...args]] },
  generate: { needsPrograms: false, steps: (args) => [['scripts/generate.ts', ...args]] },
  format: { needsPrograms: false, steps: (args) => [['scripts/format.ts', ...args]] },
};
