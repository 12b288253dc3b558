/**
 * What `npm run demo|test|check|generate|format` call.
 *
 * The machine's own Node may be too old for this project, so this file and what it imports are plain JavaScript for Node 20.
 * It makes sure that everything needed is installed, then runs the real work on the Node of the lock file, by absolute
 * path: the shell that started us may have cached another `node`, and keeps it for the rest of the script line.
 */
import { dirname, join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { bootstrap } from './bootstrap/bootstrap.js';
import { exitLike, run } from './bootstrap/run.js';
import { BootstrapError, say } from './bootstrap/say.js';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const at = (...parts) => join(root, ...parts);
const vitest = at('node_modules/vitest/vitest.mjs');

/** Each verb: whether it runs HSMs, databases and queues, and its steps, each a file for Node with its arguments. */
const VERBS = {
  demo: { needsPrograms: true, steps: (args) => [[at('apps/cli/src/main.ts'), 'demo', ...args]] },
  // The unit tests run once, with the others: the last words of the suite are those of vitest.
  test: {
    needsPrograms: true,
    steps: (args) => [
      [at('scripts/check.ts'), '--static'],
      [vitest, 'run', ...args],
    ],
  },
  check: { needsPrograms: false, steps: (args) => [[at('scripts/check.ts'), ...args]] },
  generate: { needsPrograms: false, steps: (args) => [[at('scripts/generate.ts'), ...args]] },
  format: { needsPrograms: false, steps: (args) => [[at('scripts/format.ts'), ...args]] },
};

async function main([name, ...args]) {
  const verb = Object.hasOwn(VERBS, name ?? '') ? VERBS[name] : undefined;
  if (verb === undefined) {
    throw new BootstrapError(`Usage: node scripts/with-node.js ${Object.keys(VERBS).join('|')} [arguments]`);
  }
  const node = await bootstrap({ root, needsPrograms: verb.needsPrograms });
  // Children that ask for `node` by name must find the same one.
  const env = { ...process.env, PATH: `${dirname(node)}:${process.env.PATH ?? ''}` };
  for (const step of verb.steps(args)) {
    const end = await run(node, step, { cwd: root, env });
    if (end.signal !== null || end.code !== 0) return exitLike(end);
  }
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof BootstrapError)) throw error;
  say(error.message);
  process.exitCode = error.exitCode;
}
