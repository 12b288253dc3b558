/** One logged-in session on one token: finds the slot by serial and label, logs in once. */
import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import {
  type AnsweredCall,
  answerOf,
  CKF_TOKEN_INITIALIZED,
  CKU_CONTEXT_SPECIFIC,
  type Cryptoki,
  codeOf,
  loadCryptoki,
  SessionFailure,
  type TokenInfo,
  translate,
} from '@antipode/cryptoki';
import { AntipodeError, readPinFile, systemClock } from '@antipode/runtime';
import type { LunaCloning } from '../../luna/cloner/luna-cloner.ts';
import type { Protection } from '../../provider/provider.ts';
import { withLocked } from '../own-keys/swap.ts';
import type { MechanismSettings } from '../self-test/mechanisms.ts';
import { LoginGuard } from './login-guard.ts';

/** Where a partition is, and how to get in. Everything local to the site. */
export interface PartitionConfig extends MechanismSettings {
  /** Path of the PKCS#11 module. */
  readonly module: string;
  /** For C_Initialize, of a module that wants some (NSS). Never a secret. */
  readonly moduleParameters?: string;
  /** Of the module's entry points, where that is not the standard's `C`: `FC` is NSS in FIPS mode. */
  readonly functionPrefix?: string;
  readonly tokenLabel: string;
  /**
   * When absent, exactly one token must have the label. The partition's name where the token has no number of its own.
   */
  readonly serial?: string;
  readonly pinFile: string;
  /** For the worker process only, such as SOFTHSM2_CONF. Never a PIN. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Where the login guard keeps its record. */
  readonly stateFolder: string;
  /** Protections without which this partition is used all the same. */
  readonly acceptUnenforced?: readonly Protection[];
  /** Numbers of attributes of the vendor's own that no replica gets. The partition reports which objects have them. */
  readonly vendorAttributes?: readonly number[];
  /** How its keys are cloned, where they are: by the files of SoftHSM's token store, or by a Luna device. */
  readonly native?: { readonly kind: 'softhsm' } | LunaCloning;
  /** The token of the identity key, where that is another. */
  readonly identity?: Omit<PartitionConfig, 'identity'>;
}

export interface OpenSession {
  readonly cryptoki: Cryptoki;
  readonly session: bigint;
  readonly token: TokenInfo;
  /** The answers of slots that do not tell their token. */
  readonly silentSlots: readonly string[];
  /** Slots in which a token could be made. */
  readonly freeSlots: number;
  /** Logs in again, after somebody else had his turn in this process. @throws PIN_REFUSED, PIN_LOCKED */
  readonly loginAgain: () => void;
  /** The token's flags about its PINs now. */
  readonly flags: () => number;
  /** Logs in once more, for the operation that the session has just begun. @throws PIN_REFUSED, PIN_LOCKED */
  readonly loginForUse: (session: bigint) => void;
}

/**
 * A look that finds nothing is not proof: of 48 processes that started at once on one SoftHSM folder, 18 saw no token.
 */
const LOOKS = 5;
const LOOK_PAUSE_MS = 120;

/** The slots on the way to a token. */
export interface SlotSearch {
  /** Slots that did not answer an earlier worker, and are not asked. */
  readonly skipped: readonly bigint[];
  /** Called before a slot is asked, and without one when none is any more: a slot may never answer. */
  readonly asking: (slot?: bigint) => Promise<void>;
  /** Told of every call that the module has answered, and without one of other signs of life. */
  readonly answered?: (call?: AnsweredCall) => void;
}

const PATIENT: SlotSearch = { skipped: [], asking: async () => {} };

export async function openSession(config: PartitionConfig, search = PATIENT): Promise<OpenSession> {
  for (let look = 1; ; look += 1) {
    const cryptoki = loadCryptoki(config.module, config.moduleParameters, config.functionPrefix);
    if (search.answered !== undefined) cryptoki.reportAnswers(search.answered);
    try {
      const { slot, token, silentSlots, freeSlots } = await findToken(cryptoki, config, search);
      const session = cryptoki.openSession(slot);
      login(cryptoki, session, token, config);
      const loginForUse = (used: bigint): void => contextLogin(cryptoki, used, { slot, token }, config);
      const loginAgain = (): void => login(cryptoki, session, { ...token, flags: flags() }, config);
      const flags = (): number => cryptoki.tokenInfo(slot).flags;
      return { cryptoki, session, token, silentSlots, freeSlots, loginForUse, loginAgain, flags };
    } catch (thrown) {
      cryptoki.finalize();
      const error = translate(thrown, { isOpening: true });
      if (error.code !== 'PARTITION_NOT_FOUND' || look === LOOKS) throw error;
      await systemClock.sleep(LOOK_PAUSE_MS * look);
    }
  }
}

/** A module shows the slots of several HSMs: one of them that is dead says nothing of the others (I15). */
async function findToken(
  cryptoki: Cryptoki,
  { tokenLabel, serial }: PartitionConfig,
  { skipped, asking }: SlotSearch,
): Promise<{ slot: bigint; token: TokenInfo; silentSlots: string[]; freeSlots: number }> {
  const silentSlots = skipped.map(() => 'no answer in time');
  const initialised: { slot: bigint; token: TokenInfo }[] = [];
  let freeSlots = 0;
  for (const slot of cryptoki.slots().filter((one) => !skipped.includes(one))) {
    await asking(slot);
    try {
      const token = cryptoki.tokenInfo(slot);
      if (token.flags & CKF_TOKEN_INITIALIZED) initialised.push({ slot, token });
      else freeSlots += 1;
    } catch (thrown) {
      silentSlots.push(answerOf(thrown));
    }
  }
  await asking();
  const matching = initialised.filter(
    ({ token }) =>
      token.label === tokenLabel && (serial === undefined || token.serial === serial || NO_SERIAL.test(token.serial)),
  );
  const [only, second] = matching;
  if (only !== undefined && second === undefined)
    return { ...only, token: named(only.token, serial), silentSlots, freeSlots };
  const wanted = `label "${tokenLabel}"${serial === undefined ? '' : ` and serial ${serial}`}`;
  const found = `${matching.length} tokens have ${wanted}, expected one; the module shows ${initialised.length} tokens`;
  const details = { found: matching.length, shown: initialised.length };
  if (matching.length > 0 || silentSlots.length === 0)
    throw new AntipodeError('PARTITION_NOT_FOUND', found, {
      details,
      hint: hintFor({ initialised, matching: matching.length, tokenLabel, serial }),
    });
  // The token may be in one of them: it is not gone, it is away.
  const answers = silentSlots.join(', ');
  throw new AntipodeError('HSM_UNAVAILABLE', `${found}, and ${silentSlots.length} slots do not answer (${answers})`, {
    details: { ...details, silent: silentSlots.length, returnValue: answers },
  });
}

/** The most likely cause, judged by the tokens that the module shows instead. */
function hintFor({
  initialised,
  matching,
  tokenLabel,
  serial,
}: {
  initialised: readonly { token: TokenInfo }[];
  matching: number;
  tokenLabel: string;
  serial: string | undefined;
}): string {
  if (matching > 1) return 'Set the `serial` of the partition in the configuration: several tokens have this label.';
  if (initialised.length === 0)
    return 'Check the HSM, the link to it, and the configuration that the module reads (for SoftHSM: SOFTHSM2_CONF in `environment`): the module shows no token at all. The agent tries again by itself. If the HSM is gone, see docs/runbooks/hsm-lost.md.';
  const other = initialised.find(({ token }) => token.label === tokenLabel && token.serial !== serial);
  if (serial !== undefined && other !== undefined)
    return `Restore the old token, or set this one up as a new member. The token with this label has serial ${other.token.serial}: it was initialised again, or is another token, and does not have the keys of the partition.`;
  return 'Compare serial number and label with `pkcs11-tool --list-token-slots`: the module shows other tokens only. Perhaps one of several appliances is unavailable, or the configuration names another token.';
}

/** NSS gives every token sixteen zeros. */
const NO_SERIAL = /^0*$/;

/**
 * A token without a number of its own goes by the one that the configuration gives it: groups, journals and pins call
 * partitions by it. The identity key shows that it is the same token as ever. The number does not.
 */
function named(token: TokenInfo, serial: string | undefined): TokenInfo {
  if (!NO_SERIAL.test(token.serial)) return token;
  if (serial !== undefined && !NO_SERIAL.test(serial)) return { ...token, serial };
  throw new AntipodeError(
    'CONFIG_INVALID',
    `tokens of this kind all report the serial number "${token.serial}": set a \`serial\` of the partition that no other partition has`,
    { details: { field: 'serial' } },
  );
}

function login(cryptoki: Cryptoki, session: bigint, token: TokenInfo, { pinFile, stateFolder }: PartitionConfig): void {
  const pin = readPinFile(pinFile, { owners: ownersOf(stateFolder) });
  const guard = new LoginGuard({ stateFolder, serial: token.serial });
  withLocked(pin, (bytes) => {
    guard.begin(pin, token.flags);
    try {
      cryptoki.login(session, bytes);
    } catch (thrown) {
      if (thrown instanceof SessionFailure && ['PIN_REFUSED', 'PIN_LOCKED'].includes(codeOf(thrown.returnValue)))
        guard.refused(pin);
      throw thrown;
    }
    guard.succeeded(pin);
  });
}

/**
 * Its own record in the guard: a token that wants another PIN here must not make the partition refuse the right one,
 * and is asked once and never again.
 */
function contextLogin(
  cryptoki: Cryptoki,
  session: bigint,
  { slot, token }: { slot: bigint; token: TokenInfo },
  { pinFile, stateFolder }: PartitionConfig,
): void {
  const pin = readPinFile(pinFile, { owners: ownersOf(stateFolder) });
  const guard = new LoginGuard({ stateFolder, serial: `${token.serial} for use` });
  withLocked(pin, (bytes) => {
    guard.begin(pin, cryptoki.tokenInfo(slot).flags);
    try {
      cryptoki.login(session, bytes, CKU_CONTEXT_SPECIFIC);
    } catch (thrown) {
      // NSS knows no login for a use. It has not looked at the PIN, and lets the key be used.
      if (thrown instanceof SessionFailure && thrown.returnValue === 'CKR_USER_ALREADY_LOGGED_IN')
        return guard.succeeded(pin);
      if (thrown instanceof SessionFailure && ['PIN_REFUSED', 'PIN_LOCKED'].includes(codeOf(thrown.returnValue)))
        guard.refused(pin);
      throw translate(thrown);
    }
    guard.succeeded(pin);
  });
}

/** Root works for the user whose data folder it is: `partition init` and `doctor` are often run as root. */
export function ownersOf(folder: string): number[] {
  if (process.geteuid?.() !== 0) return [];
  for (let path = folder; ; path = dirname(path)) {
    const found = statSync(path, { throwIfNoEntry: false });
    if (found !== undefined) return [found.uid];
  }
}
