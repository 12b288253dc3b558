import { spawn } from 'node:child_process';
import process from 'node:process';

/**
 * Runs a child in our place: our standard streams are its own, and we end only after it. Ctrl-C reaches the whole
 * foreground group, the child included, so we only outlive it; SIGTERM and SIGHUP come to us alone and are passed on.
 *
 * @returns {Promise<{ code: number | null, signal: NodeJS.Signals | null }>}
 */
export function run(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: 'inherit', ...options });
    const outlive = () => {};
    const passOn = (signal) => child.kill(signal);
    process.on('SIGINT', outlive).on('SIGTERM', passOn).on('SIGHUP', passOn);
    const settle = () => process.off('SIGINT', outlive).off('SIGTERM', passOn).off('SIGHUP', passOn);
    child.once('error', (error) => {
      settle();
      reject(error);
    });
    child.once('exit', (code, signal) => {
      settle();
      resolve({ code, signal });
    });
  });
}

/** Ends this process the way the child did: whoever waits for us sees the same code or signal. */
export function exitLike({ code, signal }) {
  if (signal === null) process.exitCode = code ?? 1;
  else process.kill(process.pid, signal);
}
