/**
 * One login attempt per PIN: tokens lock after a few wrong ones, and a service that restarts would use them up.
 *
 * The attempt is recorded, durably, before it is made and after it ended. A PIN that was refused is not tried again
 * until the PIN file holds another one. The PIN that succeeded last may be tried even where other programs have used up
 * all attempts but one: else their wrong PINs would shut the right one out for good. This does not hold for a security
 * officer, whose PIN can have been changed elsewhere and whose last wrong one can erase a device. The record keeps 16
 * bits of a salted scrypt hash of each: enough to recognise a PIN, too little to find one.
 */
import { randomBytes, scryptSync } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  CKF_SO_PIN_COUNT_LOW,
  CKF_SO_PIN_FINAL_TRY,
  CKF_SO_PIN_LOCKED,
  CKF_USER_PIN_COUNT_LOW,
  CKF_USER_PIN_FINAL_TRY,
  CKF_USER_PIN_LOCKED,
} from '@antipode/cryptoki';
import { AntipodeError, type Secret, sha256Hex, writeFileDurably } from '@antipode/runtime';

const CLEAR_THE_MARK =
  'Log in once with another program and the right PIN (`pkcs11-tool --login --list-objects`), or have the security officer reset the PIN. Either of them clears the warning of the token. The agent then tries the PIN in the file by itself.';

const CLEAR_THE_OFFICER =
  'Log in once as the security officer with the vendor tool and the right PIN: the token then counts from the beginning again. Write that PIN into its file. The last wrong one can erase the device.';

const SPENT =
  'Log in once with the vendor tool and the right password, so that the device counts from the beginning again. Then remove the record of this role from the folder `login` of the agent.';

interface Mark {
  readonly salt: string;
  readonly mark: string;
}

interface Record {
  /** An attempt without an outcome: the process, or the way to the token, was lost in the middle of it. */
  readonly trying?: Mark;
  readonly refused?: Mark;
  readonly succeeded?: Mark;
  /** Attempts since the last success that the token refused, or whose outcome nobody saw. */
  readonly spent?: number;
}

/** What 0.1 wrote while an attempt was open or had been refused. */
interface OlderRecord extends Mark {
  readonly outcome: 'trying' | 'refused';
}

/** Whose PIN it is: each has a record of its own, and flags of its own in CK_TOKEN_INFO. */
export type Whose = 'user' | 'security officer' | 'crypto user';

const FLAGS = {
  user: { countLow: CKF_USER_PIN_COUNT_LOW, finalTry: CKF_USER_PIN_FINAL_TRY, locked: CKF_USER_PIN_LOCKED },
  'security officer': { countLow: CKF_SO_PIN_COUNT_LOW, finalTry: CKF_SO_PIN_FINAL_TRY, locked: CKF_SO_PIN_LOCKED },
  'crypto user': { countLow: CKF_USER_PIN_COUNT_LOW, finalTry: CKF_USER_PIN_FINAL_TRY, locked: CKF_USER_PIN_LOCKED },
} as const;

/** The flags of a token that counts attempts in another way than CK_TOKEN_INFO does. */
export function flagsOf(whose: Whose, { isLocked, isLow }: { isLocked: boolean; isLow: boolean }): number {
  const { countLow, finalTry, locked } = FLAGS[whose];
  return (isLocked ? locked : 0) | (isLow ? countLow | finalTry : 0);
}

export class LoginGuard {
  readonly #path: string;
  readonly #serial: string;
  readonly #whose: Whose;
  readonly #spentMax: number;
  #before: Record | undefined;
  #tried: { readonly pin: Secret; readonly mark: Mark } | undefined;

  /**
   * @param options `spentMax` is the number of attempts, with whatever PIN, that can fail or get lost before none is made
   * any more: for a role whose last wrong PIN erases the device.
   */
  constructor({
    stateFolder,
    serial,
    whose = 'user',
    spentMax = Number.POSITIVE_INFINITY,
  }: {
    stateFolder: string;
    serial: string;
    whose?: Whose;
    spentMax?: number;
  }) {
    this.#path = join(stateFolder, `login-${fileNameOf(whose === 'user' ? serial : `${serial} ${whose}`)}.json`);
    this.#serial = serial;
    this.#whose = whose;
    this.#spentMax = spentMax;
  }

  /**
   * Allows an attempt, or refuses it before the token is asked.
   * @param tokenFlags CK_TOKEN_INFO.flags as read just now
   * @throws PIN_REFUSED, PIN_LOCKED
   */
  begin(pin: Secret, tokenFlags: number): void {
    const details = { serial: this.#serial };
    const { countLow, finalTry, locked } = FLAGS[this.#whose];
    if (tokenFlags & locked)
      throw new AntipodeError('PIN_LOCKED', `the PIN of the ${this.#whose} is locked`, { details });
    const record = this.#read();
    const { trying, refused, succeeded } = record;
    if (isOf(refused, pin))
      throw new AntipodeError('PIN_REFUSED', 'this PIN was refused before and is not tried again', { details });
    const isKnownGood = isOf(succeeded, pin);
    const wasLost = isOf(trying, pin);
    // The token itself tells whether a lost attempt was wrong. Of the PIN that succeeded last, others' attempts are
    // likelier.
    if (wasLost && !isKnownGood && tokenFlags & countLow) {
      throw new AntipodeError(
        'PIN_REFUSED',
        'the outcome of the last attempt with this PIN is unknown, and the token reports that a wrong PIN was entered',
        { details, hint: CLEAR_THE_MARK },
      );
    }
    const isOfficer = this.#whose === 'security officer';
    if (tokenFlags & finalTry && (isOfficer || !isKnownGood || wasLost)) {
      throw new AntipodeError('PIN_LOCKED', 'one more wrong PIN would lock the token, so no PIN is tried', {
        details,
        hint: isOfficer ? CLEAR_THE_OFFICER : CLEAR_THE_MARK,
      });
    }
    const spent = this.#spentOf(record);
    if (spent >= this.#spentMax) {
      throw new AntipodeError('PIN_LOCKED', `${spent} attempts failed or got lost, so no PIN is tried`, {
        details,
        hint: SPENT,
      });
    }
    this.#before = record;
    const mark = isKnownGood && succeeded !== undefined ? succeeded : markOf(pin);
    this.#tried = { pin, mark };
    this.#write({
      trying: mark,
      ...(succeeded === undefined ? {} : { succeeded }),
      ...(spent === 0 ? {} : { spent }),
    });
  }

  /** A PIN that is refused now is no longer good, whatever it was. */
  refused(pin: Secret): void {
    const record = this.#read();
    const { succeeded } = record;
    const isOther = succeeded !== undefined && !isOf(succeeded, pin);
    const spent = this.#spentOf(record);
    this.#write({ refused: this.#markOf(pin), ...(isOther ? { succeeded } : {}), ...(spent === 0 ? {} : { spent }) });
  }

  /** The token did not look at the PIN: what was known before the attempt holds. */
  withdrawn(): void {
    if (this.#before !== undefined) this.#write(this.#before);
  }

  succeeded(pin: Secret): void {
    this.#write({ succeeded: this.#markOf(pin) });
  }

  /** Not under another salt, where the PIN has a mark: whoever has the records of several logins learns no more of it. */
  #markOf(pin: Secret): Mark {
    return this.#tried?.pin === pin ? this.#tried.mark : markOf(pin);
  }

  /** Counted only for a role that has a limit, and kept by every other. An open attempt counts as lost. */
  #spentOf({ spent = 0, trying }: Record): number {
    const isLost = trying !== undefined && this.#spentMax !== Number.POSITIVE_INFINITY;
    return isLost ? spent + 1 : spent;
  }

  #write(record: Record): void {
    writeFileDurably(this.#path, `${JSON.stringify(record)}\n`);
  }

  #read(): Record {
    if (!existsSync(this.#path)) return {};
    try {
      const found = JSON.parse(readFileSync(this.#path, 'utf8')) as Record | OlderRecord;
      if (!('outcome' in found)) return found;
      return { [found.outcome]: { salt: found.salt, mark: found.mark } };
    } catch (cause) {
      throw new AntipodeError('FILE_UNWRITABLE', `cannot read ${this.#path}`, { details: { path: this.#path }, cause });
    }
  }
}

/** A serial is the token's word: it must not lead out of the folder, nor to the record of another token. */
export function fileNameOf(serial: string): string {
  return /^[A-Za-z0-9_-]{1,64}$/.test(serial) ? serial : `sha256-${sha256Hex(serial)}`;
}

function isOf(mark: Mark | undefined, pin: Secret): boolean {
  return mark !== undefined && hashOf(pin, mark.salt) === mark.mark;
}

function markOf(pin: Secret): Mark {
  const salt = randomBytes(16).toString('hex');
  return { salt, mark: hashOf(pin, salt) };
}

function hashOf(pin: Secret, salt: string): string {
  return pin.expose((bytes) =>
    scryptSync(bytes, Buffer.from(salt, 'hex'), 2, { N: 2 ** 14, r: 8, p: 1 }).toString('hex'),
  );
}
