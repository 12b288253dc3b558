/** Faults of a token that is neither crashed nor full nor lying. Tests switch them at any moment. */
import { AntipodeError, type Clock } from '@antipode/runtime';
import type { SimulatedSession } from './simulated-session.ts';

export interface SimulatedFaults {
  /** How many of the next calls the token answers with "not now". */
  busyCalls: number;
  /** The slot is gone. Every session that calls meanwhile is lost for good. */
  isAbsent: boolean;
  isPinLocked: boolean;
  /** How long every call takes. */
  callMs: number;
}

export const soundToken = (): SimulatedFaults => ({ busyCalls: 0, isAbsent: false, isPinLocked: false, callMs: 0 });

/**
 * Fails as a login does.
 * @throws PARTITION_NOT_FOUND, PIN_LOCKED
 */
export function checkLogin(serial: string, { isAbsent, isPinLocked }: SimulatedFaults): void {
  const details = { serial };
  if (isAbsent) throw new AntipodeError('PARTITION_NOT_FOUND', 'no slot holds the token', { details });
  if (isPinLocked) throw new AntipodeError('PIN_LOCKED', 'the user PIN of the token is locked', { details });
}

/** The session behind the faults of its token. */
export function throughFaults(session: SimulatedSession, faults: SimulatedFaults, clock: Clock): SimulatedSession {
  let isVoid = false;
  const enter = async (call: string): Promise<void> => {
    if (faults.callMs > 0) await clock.sleep(faults.callMs);
    if (faults.isAbsent) isVoid = true;
    if (isVoid) throw unavailable(call, faults.isAbsent ? 'CKR_DEVICE_REMOVED' : 'CKR_SESSION_HANDLE_INVALID');
    if (faults.busyCalls === 0) return;
    faults.busyCalls -= 1;
    throw unavailable(call, 'CKR_DEVICE_ERROR');
  };
  return new Proxy(session, {
    get: (target, name) => {
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== 'function') return member;
      if (name === 'close' || name === 'lose') return member.bind(target);
      return async (...args: unknown[]) => {
        await enter(String(name));
        return member.apply(target, args);
      };
    },
  });
}

const unavailable = (call: string, returnValue: string): AntipodeError =>
  new AntipodeError('HSM_UNAVAILABLE', `the HSM answered ${returnValue} to ${call}`, {
    details: { call, returnValue },
  });
