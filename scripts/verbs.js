const VITEST = 'node_modules/vitest/vitest.mjs';
const CHECK = 'scripts/check.ts';

/**
 * The verbs of `npm run`: which programs of the system each needs (bootstrap/debian-programs.js), with `needsWith` for an
 * option of it, and its steps. A step is a file of this project for Node, with its arguments.
 */
export const VERBS = {
  demo: {
    needs: ['services'],
    needsWith: { '--luna': ['java'] },
    steps: (args) => [['apps/cli/src/main.ts', 'demo', ...args]],
  },
  // The unit tests run once, with the others, so that vitest has the last line. With names of tests only those run, and no
  // static checks.
  test: {
    needs: ['services', 'java', 'tests', 'compiler', 'browser'],
    steps: (args) => [...(args.length === 0 ? [[CHECK, '--static']] : []), [VITEST, 'run', ...args]],
  },
  bench: { needs: ['services', 'compiler'], steps: (args) => [['test/bench/main.ts', ...args]] },
  chaos: { needs: [], steps: (args) => [['test/chaos/command/main.ts', ...args]] },
  'chaos:hsm': { needs: ['services'], steps: (args) => [['test/chaos/hsm/main.ts', ...args]] },
  'chaos:live': {
    needs: ['services', 'java', 'tests'],
    steps: (args) => [['test/chaos/live/campaign/main.ts', ...args]],
  },
  'chaos:soak': { needs: ['services', 'java', 'tests'], steps: (args) => [['test/chaos/soak/main.ts', ...args]] },
  check: { needs: [], steps: (args) => [[CHECK, ...args]] },
  generate: { needs: [], steps: (args) => [['scripts/generate.ts', ...args]] },
  package: { needs: [], steps: (args) => [['scripts/package/main.ts', ...args]] },
  format: { needs: [], steps: (args) => [['scripts/format.ts', ...args]] },
};

/** The needs of a verb with these arguments. */
export function needsOf({ needs, needsWith = {} }, args) {
  const more = Object.entries(needsWith).filter(([option]) => args.includes(option));
  return [...needs, ...more.flatMap(([, names]) => names)];
}
