/** Chance, injected everywhere, so that a run can be repeated from a seed. */
import { createHash, randomBytes } from 'node:crypto';

export interface Prng {
  bytes(length: number): Uint8Array;
  /** A number in [0, 1). */
  fraction(): number;
}

export const systemPrng: Prng = {
  bytes: (length) => new Uint8Array(randomBytes(length)),
  fraction: () => randomBytes(6).readUIntBE(0, 6) / 2 ** 48,
};

/** A random identifier in the form of a UUID, version 4. */
export function uuidFrom(prng: Prng): string {
  const bytes = Buffer.from(prng.bytes(16));
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x40, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

/** SHA-256 in counter mode over a seed: slow, but the same on every machine. For tests and the simulator only. */
export function seededPrng(seed: string): Prng {
  let counter = 0;
  let pool = Buffer.alloc(0);
  const take = (length: number): Buffer => {
    while (pool.length < length) {
      pool = Buffer.concat([pool, createHash('sha256').update(`${seed}:${counter++}`).digest()]);
    }
    const taken = pool.subarray(0, length);
    pool = pool.subarray(length);
    return taken;
  };
  return { bytes: (length) => new Uint8Array(take(length)), fraction: () => take(6).readUIntBE(0, 6) / 2 ** 48 };
}
