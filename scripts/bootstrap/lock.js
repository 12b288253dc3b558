import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { hasProgram } from './find-program.js';
import { BootstrapError, say } from './say.js';

/**
 * Does `work` while no other process holds the lock on `file`. The kernel keeps the lock as long as anybody has the
 * descriptor open, so a killed holder leaves nothing behind. `work` gets the descriptor: a child that inherits it
 * extends the lock to its own life.
 */
export async function withLock(file, work) {
  const descriptor = openLockFile(file);
  try {
    lock(descriptor);
    return await work(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function openLockFile(file) {
  try {
    mkdirSync(dirname(file), { recursive: true });
    return openSync(file, 'a');
  } catch (error) {
    throw new BootstrapError(`node_modules must be installed, and this user cannot write here: ${error.message}`);
  }
}

/** flock(1) locks the open file that we share with it, and the lock stays ours when it has ended. */
function lock(descriptor) {
  if (!hasProgram('flock')) return;
  const flock = (...options) =>
    spawnSync('flock', [...options, '3'], { stdio: ['ignore', 'inherit', 'inherit', descriptor] }).status === 0;
  if (flock('--nonblock')) return;
  say('another installation is under way here, waiting for it ...');
  flock();
}
