/** What can be wrong with a token that is neither crashed nor full nor lying, switched by tests in the middle of everything. */
import { AntipodeError, type Clock } from '@antipode/runtime';
import type { SimulatedSession } from './simulated-session.ts';

export interface SimulatedFaults {
  /** So many of the next calls are answered with "not now". */
  busyCalls: number;
  /** The slot is gone, and with it, for good, every session that calls meanwhile. */
  isAbsent: boolean;
  isPinLocked: boolean;
  /** Every call takes so long. */
  callMs: number;
}

export const soundToken = (): SimulatedFaults => ({ busyCalls: 0, isAbsent: false, isPinLocked: false, callMs: 0 });

/** @throws PARTITION_NOT_FOUND, PIN_LOCKED, as a login does */
export function checkLogin(serial: string, { isAbsent, isPinLocked }: SimulatedFaults): void {
  const details = { serial };
  if (isAbsent) throw new AntipodeError('PARTITION_NOT_FOUND', 'no slot holds the token', { details });
  if (isPinLocked) throw new AntipodeError('PIN_LOCKED', 'the user PIN of the token is locked', { details });
}

/** The session, with the faults of its token between it and whoever calls. */
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
