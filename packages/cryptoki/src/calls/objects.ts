/** Object management functions (PKCS#11 3.0 base, section 5.7). */
import { AttributeReader } from '../attribute-reader.ts';
import { CKR_OK } from '../constants.ts';
import type { Module } from '../module.ts';
import type { Operations } from '../operations.ts';
import { CryptokiFailure, IS_GONE, returnValueName } from '../return-values.ts';
import { readUlongs } from '../structures.ts';
import { ATTRIBUTE_SIZE, addressOf, pack, type Template, ulong, writeAttribute } from '../template.ts';

export const objects = (module: Module, operations: Operations) => ({
  /**
   * All handles that match, in one search. Where the token fails of it, it may be failing of one object's attribute:
   * SoftHSM refuses the whole search then. All objects are looked at one by one instead, and those that it cannot tell
   * do not match.
   */
  find(session: bigint, template: Template): bigint[] {
    try {
      return search(module, operations, session, template);
    } catch (thrown) {
      if (!(thrown instanceof CryptokiFailure) || template.length === 0) throw thrown;
      return search(module, operations, session, []).filter((handle) => matches(module, session, handle, template));
    }
  },

  /**
   * Reads attributes of one object, bytes and booleans; one that the token does not have, or does not tell, is absent
   * from the result. A CK_ULONG may be: NSS gives it into the room of one only, as {@link AttributeReader} offers where
   * told. Undefined when the object is gone.
   */
  attributes(session: bigint, object: bigint, types: readonly number[]): Map<number, Buffer> | undefined {
    const wanted = types.map((type) => ({ type, size: 'variable' }) as const);
    const reader = new AttributeReader({ cryptoki: module, session, wanted });
    if (!reader.read(object) || !reader.complete(object, types)) return undefined;
    return new Map(types.flatMap((type) => (reader.value(type) === undefined ? [] : [[type, reader.value(type)!]])));
  },

  create(session: bigint, template: Template): bigint {
    const packed = pack(template);
    const handle = ulong(0n);
    try {
      module.call('C_CreateObject', session, packed, template.length, handle);
    } finally {
      // It may hold the value of a data object.
      packed.fill(0);
    }
    return handle.readBigUInt64LE();
  },

  copy(session: bigint, object: bigint, template: Template): bigint {
    const packed = pack(template);
    const handle = ulong(0n);
    module.call('C_CopyObject', session, object, packed, template.length, handle);
    return handle.readBigUInt64LE();
  },

  setAttributes(session: bigint, object: bigint, template: Template): void {
    module.call('C_SetAttributeValue', session, object, pack(template), template.length);
  },

  /** False when the object was already gone. */
  destroy(session: bigint, object: bigint): boolean {
    const returned = module.tryCall('C_DestroyObject', session, object);
    if (returned === CKR_OK) return true;
    if (returnValueName(returned) === IS_GONE) return false;
    throw module.failure('C_DestroyObject', returned);
  },
});

function search(module: Module, operations: Operations, session: bigint, template: Template): bigint[] {
  const packed = pack(template);
  const used = operations.begin('C_FindObjectsInit', session, [packed, template.length], (one) =>
    module.tryCall('C_FindObjectsFinal', one),
  );
  try {
    const handles: bigint[] = [];
    const room = Buffer.alloc(8 * 1024);
    const count = ulong(0n);
    for (;;) {
      module.call('C_FindObjects', used, room, room.length / 8, count);
      const found = Number(count.readBigUInt64LE());
      handles.push(...readUlongs(room, found));
      if (found < room.length / 8) return handles;
    }
  } finally {
    module.tryCall('C_FindObjectsFinal', used);
    // It may hold the value of a key.
    packed.fill(0);
  }
}

function matches(module: Module, session: bigint, object: bigint, template: Template): boolean {
  return template.every(([type, value]) => {
    const wanted =
      value instanceof Uint8Array ? value : typeof value === 'boolean' ? Buffer.of(value ? 1 : 0) : undefined;
    const room = Buffer.alloc(wanted === undefined ? 8 : wanted.length + 1);
    const attribute = Buffer.alloc(ATTRIBUTE_SIZE);
    writeAttribute(attribute, 0, { type, address: addressOf(room), length: room.length });
    const returned = module.tryCall('C_GetAttributeValue', session, object, attribute, 1);
    if (returned !== CKR_OK) return false;
    const found = room.subarray(0, Number(attribute.readBigUInt64LE(16)));
    return Buffer.compare(found, wanted ?? ulong(BigInt(value as number))) === 0;
  });
}
