/**
 * One login attempt per PIN: tokens lock after a few wrong ones, and a service that restarts would use them up.
 *
 * The attempt is recorded, durably, before it is made and after it ended. A PIN that was refused is not tried again until
 * the PIN file holds another one. The record keeps 16 bits of a salted scrypt hash: enough to notice a new PIN, too
 * little to find one.
 */
import { randomBytes, scryptSync } from 'node:crypto';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { AntipodeError, type Secret, writeFileDurably } from '@antipode/runtime';
import { CKF_USER_PIN_COUNT_LOW, CKF_USER_PIN_FINAL_TRY, CKF_USER_PIN_LOCKED } from './constants.ts';

interface Attempt {
  readonly outcome: 'trying' | 'refused';
  readonly salt: string;
  readonly mark: string;
}

export class LoginGuard {
  readonly #path: string;
  readonly #serial: string;

  constructor({ stateFolder, serial }: { stateFolder: string; serial: string }) {
    this.#path = join(stateFolder, `login-${serial}.json`);
    this.#serial = serial;
  }

  /**
   * Allows an attempt, or refuses it before the token is asked.
   * @param tokenFlags CK_TOKEN_INFO.flags as read just now
   * @throws PIN_REFUSED, PIN_LOCKED
   */
  begin(pin: Secret, tokenFlags: number): void {
    const details = { serial: this.#serial };
    if (tokenFlags & CKF_USER_PIN_LOCKED)
      throw new AntipodeError('PIN_LOCKED', 'the user PIN of the token is locked', { details });
    const last = this.#read();
    if (last !== undefined && markOf(pin, last.salt) === last.mark) {
      // "trying" without an outcome: the process died in the middle. The token itself tells whether the PIN was wrong.
      const wasRefused = last.outcome === 'refused' || (tokenFlags & CKF_USER_PIN_COUNT_LOW) !== 0;
      if (wasRefused) {
        this.#write('refused', pin);
        throw new AntipodeError('PIN_REFUSED', 'this PIN was refused before, and is not tried again', { details });
      }
    }
    if (tokenFlags & CKF_USER_PIN_FINAL_TRY) {
      throw new AntipodeError('PIN_LOCKED', 'one more wrong PIN would lock the token, so none is tried', { details });
    }
    this.#write('trying', pin);
  }

  refused(pin: Secret): void {
    this.#write('refused', pin);
  }

  succeeded(): void {
    rmSync(this.#path, { force: true });
  }

  #write(outcome: Attempt['outcome'], pin: Secret): void {
    const salt = randomBytes(16).toString('hex');
    const attempt: Attempt = { outcome, salt, mark: markOf(pin, salt) };
    writeFileDurably(this.#path, `${JSON.stringify(attempt)}\n`);
  }

  #read(): Attempt | undefined {
    if (!existsSync(this.#path)) return undefined;
    try {
      return JSON.parse(readFileSync(this.#path, 'utf8')) as Attempt;
    } catch (cause) {
      throw new AntipodeError('FILE_UNWRITABLE', `cannot read ${this.#path}`, { details: { path: this.#path }, cause });
    }
  }
}

function markOf(pin: Secret, salt: string): string {
  return pin.expose((bytes) =>
    scryptSync(bytes, Buffer.from(salt, 'hex'), 2, { N: 2 ** 14, r: 8, p: 1 }).toString('hex'),
  );
}
