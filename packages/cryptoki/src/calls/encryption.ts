/** Encryption and decryption functions, in one part (PKCS#11 3.0 base, sections 5.8 and 5.10). */
import type { Operations } from '../operations.ts';
import type { Mechanism } from '../template.ts';

/** Room for the bytes that a cipher adds. One that adds more says so and is asked again. */
const OVERHEAD_BYTES = 1024;

export const encryption = (operations: Operations) => ({
  encrypt: (session: bigint, mechanism: Mechanism, key: bigint, data: Uint8Array): Buffer =>
    operations.transform(ENCRYPT, session, mechanism, key, data, data.length + OVERHEAD_BYTES),

  decrypt: (session: bigint, mechanism: Mechanism, key: bigint, data: Uint8Array): Buffer =>
    operations.transform(DECRYPT, session, mechanism, key, data, data.length + OVERHEAD_BYTES),
});

const ENCRYPT = ['C_EncryptInit', 'C_Encrypt'] as const;
const DECRYPT = ['C_DecryptInit', 'C_Decrypt'] as const;
