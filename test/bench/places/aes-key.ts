/** AES keys that no token made, by their number: for measurements that need more keys than a token makes in time. */
import type { ObservedObject } from '@antipode/hsm-core';
import { sha256 } from '@antipode/runtime';

/** As long as a wrapped AES-256 key. */
export const blobOf = (index: number): Uint8Array =>
  new Uint8Array(Buffer.concat([sha256(`blob ${index}`), new Uint8Array(8)]));

/** The attributes that SoftHSM gives of an AES key. */
export const attributesOf = (index: number): ObservedObject['attributes'] => ({
  private: true,
  label: Buffer.from(`key ${index}`),
  id: sha256(`id ${index}`).subarray(0, 8),
  sensitive: true,
  encrypt: true,
  decrypt: true,
  wrap: false,
  unwrap: false,
  sign: false,
  verify: false,
  derive: false,
  extractable: true,
  local: true,
  neverExtractable: false,
  alwaysSensitive: true,
  keyGenMechanism: 0x1080,
  modifiable: true,
  copyable: true,
  destroyable: true,
  wrapWithTrusted: false,
  allowedMechanisms: [],
});
