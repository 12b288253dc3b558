/**
 * What `npm run demo|test|bench|check|generate|format` call.
 *
 * The machine's own Node can be too old for this project. So this file and its imports are plain JavaScript for Node 20.
 * It makes sure that everything needed is installed, then runs the real work on the Node of the lock file. It uses an
 * absolute path, because the shell that started it can have cached another `node`.
 */
import { dirname, join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { bootstrap } from './bootstrap/bootstrap.js';
import { exitLike, run } from './bootstrap/run.js';
import { BootstrapError, say } from './bootstrap/say.js';
import { needsOf, VERBS } from './verbs.js';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

async function main([name, ...args]) {
  const verb = Object.hasOwn(VERBS, name ?? '') ? VERBS[name] : undefined;
  if (verb === undefined) {
    throw new BootstrapError(`Usage: node scripts/with-node.js ${Object.keys(VERBS).join('|')} [arguments]`);
  }
  const node = await bootstrap({ root, needs: needsOf(verb, args) });
  // Children that ask for `node` by name must find the same one.
  const env = { ...process.env, PATH: `${dirname(node)}:${process.env.PATH ?? ''}` };
  // Output to a file or a program needs no colours.
  if (!process.stdout.isTTY) env.NO_COLOR = '1';
  for (const [file, ...rest] of verb.steps(args)) {
    const end = await run(node, [join(root, file), ...rest], { cwd: root, env });
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
