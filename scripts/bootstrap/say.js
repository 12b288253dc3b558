import { constants } from 'node:os';
import process from 'node:process';

/** For people. Standard output belongs to the program that runs afterwards: `demo --json` ends with one line of JSON. */
export function say(text) {
  process.stderr.write(`antipode: ${text}\n`);
}

/** A bootstrap that cannot go on for a reason that the user can remove; the message says how. */
export class BootstrapError extends Error {
  /** @param {string} message @param {number} exitCode 2: something must be installed or changed by hand first. */
  constructor(message, exitCode = 2) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** A signal ended the installation: the exit code is the one that shells give. */
export function interruptedBy(signal) {
  return new BootstrapError(`interrupted by ${signal}.`, 128 + constants.signals[signal]);
}
