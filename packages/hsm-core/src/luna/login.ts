/**
 * Logins of the roles of a Luna device, under the record of attempts that PKCS#11 logins have too. The crypto officer is
 * the user of PKCS#11 and the officer of a partition its security officer, so that they share a record.
 *
 * A device erases itself at the third wrong password of its security officer. Two attempts that failed or got lost are
 * all that this driver ever makes.
 */
import { AntipodeError, type ErrorCode, type Secret } from '@antipode/runtime';
import { flagsOf, LoginGuard, type Whose } from '../pkcs11/session/login-guard.ts';
import { type Command, type Role, roleLogin, roleLogout, roleShow } from './commands.ts';
import { underLock } from './device-lock.ts';
import type { LunacmSession, Reply } from './lunacm-session.ts';
import type { Refusal } from './parse/reply.ts';
import { isRoleStateIn, type RoleState, roleStateIn } from './parse/role-state.ts';
import type { Phrases } from './phrases.ts';

export interface Login {
  readonly role: Role;
  /** `ped` where people serve the role at the PED. */
  readonly password: Secret | 'ped';
}

export interface LoginOptions {
  readonly login: Login;
  /** Of the partition in the current slot. */
  readonly serial: string;
  readonly stateFolder: string;
  readonly lockFolder: string;
  readonly phrases: Phrases;
  /** The password is typed where the tool asks for it, and is on no command line. */
  readonly isPrompted: boolean;
  /** With fewer attempts left, none is made. */
  readonly attemptsFloor: number;
}

const WHOSE: Readonly<Record<Role, Whose>> = {
  co: 'user',
  cu: 'crypto user',
  po: 'security officer',
  so: 'security officer',
};

/** The third wrong one erases the device. */
const SPENT_MAX: Partial<Record<Role, number>> = { so: 2 };

/** Refusals in which the device did not look at the password, and what they mean. */
const NOT_LOOKED_AT: Partial<Record<Refusal, ErrorCode>> = {
  transportMode: 'LUNA_HUMAN_NEEDED',
  roleLocked: 'PIN_LOCKED',
  unknownCommand: 'LUNA_REFUSED',
  otherTool: 'LUNA_OUTPUT_UNCLEAR',
};

/**
 * Logs in to the partition in the current slot, with one attempt.
 * @throws PIN_REFUSED, PIN_LOCKED, LUNA_HUMAN_NEEDED, LUNA_REFUSED, LUNA_OUTCOME_UNKNOWN
 */
export async function logIn(session: LunacmSession, options: LoginOptions): Promise<void> {
  const { login, phrases, serial } = options;
  const shown = await session.run(roleShow(login.role));
  if (shown.outcome !== 'done') throw loginError(shown, options);
  const state = roleStateIn(shown.lines, phrases);
  if (!state.isInitialised)
    throw new AntipodeError('LUNA_REFUSED', `the role ${login.role} is not initialised`, { details: { serial } });
  const reply = await attempt(session, options, state);
  if (reply.outcome === 'failed' && reply.failure.refusal === 'alreadyLoggedIn') {
    // Another role has the session. The device did not look at the password, so that this is still its first use.
    await session.run(roleLogout);
    const again = await attempt(session, options, state);
    if (again.outcome !== 'done') throw loginError(again, options);
  } else if (reply.outcome !== 'done') throw loginError(reply, options);
}

async function attempt(session: LunacmSession, options: LoginOptions, state: RoleState): Promise<Reply> {
  const { login, isPrompted } = options;
  const { role, password } = login;
  const command = roleLogin(role, password, { isPrompted });
  if (password === 'ped') return session.run(command);
  if (state.isLocked) throw locked(options, '');
  // Two agents that read one record at the same time would each take the last attempt.
  return underLock(`the role ${role} of ${options.serial}`, options, () =>
    guardedAttempt(session, { command, password, state, options }),
  );
}

interface Attempt {
  readonly command: Command;
  readonly password: Secret;
  readonly state: RoleState;
  readonly options: LoginOptions;
}

async function guardedAttempt(session: LunacmSession, { command, password, state, options }: Attempt): Promise<Reply> {
  const guard = guardOf(options);
  // An officer with three attempts in all must not count as one with few left.
  const floor = Math.min(options.attemptsFloor, (SPENT_MAX[options.login.role] ?? Number.POSITIVE_INFINITY) + 1);
  const isLow = state.attemptsLeft !== undefined && state.attemptsLeft < floor;
  guard.begin(password, flagsOf(WHOSE[options.login.role], { isLocked: false, isLow }));
  const reply = await session.run(command);
  if (reply.outcome === 'done') {
    // A device that sends people to its PED ignores what was typed.
    if (reply.wasAtPed) guard.withdrawn();
    else if (await isInStep(session, options)) guard.succeeded(password);
    // The attempt stays open in the record: nobody knows what the device made of it.
    else return { outcome: 'unknown', why: 'several trailers', lines: reply.lines };
  } else if (reply.outcome === 'failed') {
    const { refusal } = reply.failure;
    if (refusal === 'wrongPassword') guard.refused(password);
    // Only the right password can have expired.
    else if (refusal === 'passwordExpired') guard.succeeded(password);
    else if (refusal === 'alreadyLoggedIn' || NOT_LOOKED_AT[refusal] !== undefined) guard.withdrawn();
  }
  return reply;
}

/**
 * Whether that success was the answer to the login. An answer without lines can be one that the tool printed late for an
 * earlier command. The next answer is then that of the login, and not that of the command here.
 */
async function isInStep(session: LunacmSession, { login, phrases }: LoginOptions): Promise<boolean> {
  const reply = await session.run(roleShow(login.role));
  return reply.outcome === 'done' && isRoleStateIn(reply.lines, phrases);
}

function guardOf({ login, serial, stateFolder }: LoginOptions): LoginGuard {
  const { role } = login;
  const spentMax = SPENT_MAX[role];
  return new LoginGuard({ stateFolder, serial, whose: WHOSE[role], ...(spentMax === undefined ? {} : { spentMax }) });
}

function loginError(reply: Exclude<Reply, { outcome: 'done' }>, { login, serial }: LoginOptions): AntipodeError {
  const details = { serial, role: login.role };
  if (reply.outcome !== 'failed')
    return new AntipodeError('LUNA_OUTCOME_UNKNOWN', `the login as ${login.role} has no known outcome`, {
      details,
      hint: 'Look at the number of attempts left (`role show`) before anything is tried again. The attempt counts as spent.',
    });
  const { refusal, code } = reply.failure;
  const withCode = { ...details, code };
  if (refusal === 'wrongPassword')
    return new AntipodeError('PIN_REFUSED', `the device refused the password of ${login.role}`, { details: withCode });
  if (refusal === 'passwordExpired')
    return new AntipodeError('LUNA_HUMAN_NEEDED', `the password of ${login.role} is one for the first login only`, {
      details: withCode,
      hint: 'Change it with `role changepw`, then write the new one into its file.',
    });
  if (refusal === 'transportMode')
    return new AntipodeError('LUNA_HUMAN_NEEDED', 'the device is in secure transport mode', {
      details: withCode,
      hint: 'Compare its verification string and end the mode with `stm recover`. Then start the job again.',
    });
  if (refusal === 'roleLocked') return locked({ login, serial }, code);
  return new AntipodeError(NOT_LOOKED_AT[refusal] ?? 'LUNA_REFUSED', `the login as ${login.role} was refused`, {
    details: withCode,
  });
}

function locked({ login, serial }: Pick<LoginOptions, 'login' | 'serial'>, code: string): AntipodeError {
  return new AntipodeError('PIN_LOCKED', `the role ${login.role} is locked`, {
    details: { serial, role: login.role, code },
    hint: 'Have the partition officer reset it. If the lock has lapsed, log in once with `lunacm`: until then the device goes on saying `Locked out`.',
  });
}
