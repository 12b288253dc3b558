import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

interface Verb {
  readonly needs: readonly string[];
  readonly steps: (args: readonly string[]) => string[][];
}

const root = new URL('../', import.meta.url);
// Plain JavaScript without types: it also runs on the machine's own Node.
const { VERBS, needsOf } = (await import(fileURLToPath(new URL('scripts/verbs.js', root)))) as {
  VERBS: Record<string, Verb>;
  needsOf: (verb: Verb, args: readonly string[]) => string[];
};

it('every script of package.json is a verb whose files are there', () => {
  const { scripts } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8')) as {
    scripts: Record<string, string>;
  };
  expect(Object.entries(scripts)).toEqual(
    Object.keys(VERBS).map((name) => [name, `node scripts/with-node.js ${name}`]),
  );
  for (const { steps } of Object.values(VERBS))
    for (const [file] of steps([])) expect(existsSync(new URL(file!, root))).toBe(true);
});

it('nothing asks for more of the system than it runs', () => {
  const asked = Object.entries(VERBS).flatMap(([name, { needs }]) => (needs.length === 0 ? [] : [[name, ...needs]]));
  expect(asked).toEqual([
    ['demo', 'services'],
    ['test', 'services', 'java', 'tests', 'compiler', 'browser'],
    ['bench', 'services', 'compiler'],
    ['chaos:hsm', 'services'],
    ['chaos:live', 'services', 'java', 'tests'],
    ['chaos:soak', 'services', 'java', 'tests'],
  ]);
});

it('the demonstration asks for Java only where it uses it', () => {
  expect(needsOf(VERBS['demo']!, ['--json'])).toEqual(['services']);
  expect(needsOf(VERBS['demo']!, ['--luna', '--json'])).toEqual(['services', 'java']);
  expect(needsOf(VERBS['check']!, ['--luna'])).toEqual([]);
});

it('the whole suite checks what needs no tests first, and ends with the words of vitest', () => {
  const steps = VERBS['test']!.steps([]);
  expect(steps.map(([file, ...args]) => [file!.split('/').at(-1), ...args])).toEqual([
    ['check.ts', '--static'],
    ['vitest.mjs', 'run'],
  ]);
});

it.each([[['test/rules']], [['--project', 'unit', 'apps/cli']]])(
  'a part of the suite is only that part: %j',
  (args) => {
    expect(VERBS['test']!.steps(args)).toEqual([['node_modules/vitest/vitest.mjs', 'run', ...args]]);
  },
);
