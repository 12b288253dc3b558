/** Message digesting functions, for the value of a secret key (PKCS#11 3.0 base, section 5.12). */
import { CKF, CKR_OK } from '../constants.ts';
import type { Module } from '../module.ts';
import type { Operations } from '../operations.ts';
import { type Mechanism, packMechanism, ulong } from '../template.ts';

/** Room for any digest there is. */
const DIGEST_BYTES = 128;

export const digesting = (module: Module, operations: Operations) => ({
  /** The digest of `prefix` and, behind it, of the value of a secret key. The value does not leave the token. */
  digestKey(session: bigint, mechanism: Mechanism, prefix: Uint8Array, key: bigint): Buffer {
    const room = Buffer.alloc(DIGEST_BYTES);
    const length = ulong(BigInt(room.length));
    const end = (used: bigint): number => module.tryCall('C_DigestFinal', used, room, length);
    const used = operations.begin('C_DigestInit', session, [packMechanism(mechanism)], end);
    let isOver = false;
    try {
      module.call('C_DigestUpdate', used, prefix, prefix.length);
      module.call('C_DigestKey', used, key);
      length.writeBigUInt64LE(BigInt(room.length));
      const returned = end(used);
      isOver = true;
      if (returned !== CKR_OK) throw module.failure('C_DigestFinal', returned);
      return Buffer.from(room.subarray(0, Number(length.readBigUInt64LE())));
    } finally {
      // A refusal leaves the operation open on some devices, and the session could begin no other.
      if (!isOver && !module.cancel(used, CKF.DIGEST)) end(used);
    }
  },
});
