/** node_modules, exactly as the lock file has it. */
import { readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import process, { arch, platform } from 'node:process';
import { hasProgram } from './find-program.js';
import { withLock } from './lock.js';
import { run } from './run.js';
import { BootstrapError, interruptedBy, say } from './say.js';

/** Scripts of packages never run here; development and optional packages always come, whatever the user's settings say. */
const NPM_CI = [
  'ci',
  '--ignore-scripts',
  '--include=dev',
  '--include=optional',
  '--no-audit',
  '--no-fund',
  '--loglevel=error',
];

/**
 * @param {{ root: string, isComplete: () => boolean }} options isComplete: one more thing that must hold besides
 * npm's own record of what it has installed.
 */
export async function installNpmPackages({ root, isComplete }) {
  const isInstalled = () => isComplete() && matchesLockFile(root);
  if (isInstalled()) return;
  await withLock(join(root, '.bootstrap', 'lock'), async (lock) => {
    // Somebody else may have done it while we waited.
    if (isInstalled()) return;
    await npmCi(root, lock);
    if (!isInstalled()) {
      throw new BootstrapError(
        'npm ci ended well, but node_modules is not what package-lock.json says. Remove node_modules and try again.',
      );
    }
  });
}

async function npmCi(root, lock) {
  const env = environmentForNpm(process.env);
  if (!hasProgram('npm'))
    throw new BootstrapError('npm is not installed. Install Node 20 or newer with npm, then try again.');
  say('installing the npm packages of package-lock.json into node_modules (about 550 MB, a minute or less) ...');
  const startedAt = Date.now();
  // npm reports on standard output, which belongs to the program that runs afterwards.
  const end = await run('npm', NPM_CI, { cwd: root, env, stdio: ['ignore', 2, 2, lock] });
  if (end.signal !== null) throw interruptedBy(end.signal);
  if (end.code !== 0) {
    throw new BootstrapError(
      'npm ci failed, see above. Check that the package registry can be reached and this folder written to, then try again.',
      1,
    );
  }
  say(`npm packages installed in ${Math.round((Date.now() - startedAt) / 1000)} s.`);
}

/**
 * Whether node_modules holds the packages of the lock file. As its last step npm writes down what it has installed. So an
 * interrupted installation is noticed, and so is one for another kind of machine. One made by hand is accepted.
 */
function matchesLockFile(root) {
  const installed = readPackages(join(root, 'node_modules', '.package-lock.json'));
  const wanted = readPackages(join(root, 'package-lock.json'));
  if (wanted === undefined) throw new BootstrapError('package-lock.json is missing or damaged: get it back with git.');
  if (installed === undefined) return false;
  return Object.entries(wanted).every(([path, entry]) => {
    const found = installed[path];
    if (found === undefined) return path === '' || mayBeAbsent(entry);
    return found.version === entry.version && found.integrity === entry.integrity;
  });
}

/** Optional packages are absent on machines of another kind; which C library a machine has, npm knows better than we. */
function mayBeAbsent({ optional, os, cpu, libc }) {
  if (optional !== true) return false;
  const isConstrained = os !== undefined || cpu !== undefined;
  const isForUs = [os, cpu].every((kinds, at) => kinds === undefined || kinds.includes([platform, arch][at]));
  return !isConstrained || !isForUs || libc !== undefined;
}

function readPackages(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8')).packages;
  } catch {
    return undefined;
  }
}

/** Settings that say how to reach the registry. All others of a surrounding npm would change what gets installed. */
const CONNECTION_SETTING =
  /^npm_config_(registry|cache|userconfig|globalconfig|.*proxy|ca|cafile|strict_ssl|fetch_.*|offline|prefer_offline|@.*|\/\/.*)$/i;

/**
 * The environment for an npm inside `npm run`: without the outer one's words about its own command, and without
 * node_modules/.bin in PATH, whose `node` disappears in the middle of `npm ci`.
 */
export function environmentForNpm(env) {
  const kept = Object.entries(env).filter(([name]) => {
    if (name === 'NODE_ENV' || name === 'INIT_CWD') return false;
    return !/^npm_/i.test(name) || CONNECTION_SETTING.test(name);
  });
  const path = (env.PATH ?? '').split(delimiter).filter((folder) => !folder.includes('node_modules'));
  return { ...Object.fromEntries(kept), PATH: path.join(delimiter) };
}
