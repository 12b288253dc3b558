/** Key management functions (PKCS#11 3.0 base, section 5.18). */
import { CKR_OK } from '../constants.ts';
import type { Module } from '../module.ts';
import { ANSWER_BYTES_MAX } from '../operations.ts';
import { needsRoom } from '../return-values.ts';
import { type Mechanism, pack, packMechanism, type Template, ulong } from '../template.ts';

/** Big enough for RSA-4096 in PKCS#8; a larger key asks for its size first. */
const BLOB_BYTES = 4096;

export const keys = (module: Module) => ({
  generateKey(session: bigint, mechanism: Mechanism, template: Template): bigint {
    const [packed, packedMechanism, handle] = [pack(template), packMechanism(mechanism), ulong(0n)];
    module.call('C_GenerateKey', session, packedMechanism, packed, template.length, handle);
    return handle.readBigUInt64LE();
  },

  generateKeyPair(
    session: bigint,
    mechanism: Mechanism,
    publicTemplate: Template,
    privateTemplate: Template,
  ): { publicKey: bigint; privateKey: bigint } {
    const packedMechanism = packMechanism(mechanism);
    const [packedPublic, packedPrivate] = [pack(publicTemplate), pack(privateTemplate)];
    const [publicKey, privateKey] = [ulong(0n), ulong(0n)];
    module.call(
      'C_GenerateKeyPair',
      session,
      packedMechanism,
      packedPublic,
      publicTemplate.length,
      packedPrivate,
      privateTemplate.length,
      publicKey,
      privateKey,
    );
    return { publicKey: publicKey.readBigUInt64LE(), privateKey: privateKey.readBigUInt64LE() };
  },

  wrapKey(session: bigint, mechanism: Mechanism, wrappingKey: bigint, key: bigint): Buffer {
    const packed = packMechanism(mechanism);
    const room = Buffer.alloc(BLOB_BYTES);
    const length = ulong(BigInt(room.length));
    const returned = module.tryCall('C_WrapKey', session, packed, wrappingKey, key, room, length);
    if (returned === CKR_OK) return Buffer.from(room.subarray(0, Number(length.readBigUInt64LE())));
    const needed = length.readBigUInt64LE();
    if (!needsRoom(returned) || needed > ANSWER_BYTES_MAX) throw module.failure('C_WrapKey', returned);
    const larger = Buffer.alloc(Number(needed));
    module.call('C_WrapKey', session, packed, wrappingKey, key, larger, length);
    return larger.subarray(0, Number(length.readBigUInt64LE()));
  },

  unwrapKey(
    session: bigint,
    mechanism: Mechanism,
    unwrappingKey: bigint,
    blob: Uint8Array,
    template: Template,
  ): bigint {
    const [packed, packedMechanism, handle] = [pack(template), packMechanism(mechanism), ulong(0n)];
    module.call(
      'C_UnwrapKey',
      session,
      packedMechanism,
      unwrappingKey,
      blob,
      blob.length,
      packed,
      template.length,
      handle,
    );
    return handle.readBigUInt64LE();
  },

  deriveKey(session: bigint, mechanism: Mechanism, baseKey: bigint, template: Template): bigint {
    const [packed, packedMechanism, handle] = [pack(template), packMechanism(mechanism), ulong(0n)];
    module.call('C_DeriveKey', session, packedMechanism, baseKey, packed, template.length, handle);
    return handle.readBigUInt64LE();
  },
});
