/** Session management functions (PKCS#11 3.0 base, section 5.6). */
import { CKF_RW_SESSION, CKF_SERIAL_SESSION, CKU_USER } from '../constants.ts';
import type { Module } from '../module.ts';
import { readSessionInfo, SESSION_INFO_SIZE, type SessionInfo } from '../structures.ts';
import { ulong } from '../template.ts';

export const sessions = (module: Module) => ({
  openSession: (slot: bigint): bigint => openSession(module, slot),

  sessionInfo: (session: bigint): SessionInfo => sessionInfo(module, session),

  /** One attempt. The bytes are used for the call only. */
  login(session: bigint, pin: Uint8Array, user: number = CKU_USER): void {
    module.call('C_Login', session, user, pin, pin.length);
  },
});

export function openSession(module: Module, slot: bigint): bigint {
  const session = ulong(0n);
  module.call('C_OpenSession', slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, null, null, session);
  return session.readBigUInt64LE();
}

export function sessionInfo(module: Module, session: bigint): SessionInfo {
  const info = Buffer.alloc(SESSION_INFO_SIZE);
  module.call('C_GetSessionInfo', session, info);
  return readSessionInfo(info);
}
