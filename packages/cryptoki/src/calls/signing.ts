/** Signing, MACing and verification functions, in one part (PKCS#11 3.0 base, sections 5.13 and 5.15). */
import type { Module } from '../module.ts';
import type { Operations } from '../operations.ts';
import { type Mechanism, packMechanism } from '../template.ts';

/** Room for a signature by RSA-8192; a longer one asks for its size. */
const SIGNATURE_BYTES = 1024;

export const signing = (module: Module, operations: Operations) => ({
  sign: (session: bigint, mechanism: Mechanism, key: bigint, data: Uint8Array): Buffer =>
    operations.transform(SIGN, session, mechanism, key, data, SIGNATURE_BYTES),

  signRecover: (session: bigint, mechanism: Mechanism, key: bigint, data: Uint8Array): Buffer =>
    operations.transform(SIGN_RECOVER, session, mechanism, key, data, SIGNATURE_BYTES),

  /** @throws CryptokiFailure, CKR_SIGNATURE_INVALID where it is another's */
  verify(session: bigint, mechanism: Mechanism, key: bigint, data: Uint8Array, signature: Uint8Array): void {
    const packed = packMechanism(mechanism);
    const used = operations.begin('C_VerifyInit', session, [packed, key], (one) =>
      module.tryCall('C_Verify', one, data, data.length, signature, signature.length),
    );
    module.call('C_Verify', used, data, data.length, signature, signature.length);
  },
});

const SIGN = ['C_SignInit', 'C_Sign'] as const;
const SIGN_RECOVER = ['C_SignRecoverInit', 'C_SignRecover'] as const;
