import { seededPrng } from '@antipode/runtime';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseObjectFile, type StoredObject, type StoredValue, serialiseObject } from './object-file.ts';

/** An AES key that pkcs11-tool has made in SoftHSM 2.6.1, cut after its first attributes. */
const RECORDED = Buffer.from(
  [
    '0000000000000023',
    '0000000000000000 0000000000000002 0000000000000004',
    '0000000000000001 0000000000000001 ff',
    '0000000000000002 0000000000000001 00',
    '0000000000000003 0000000000000003 0000000000000003 616573',
    '0000000040000600 0000000000000005 0000000000000001 0000000000001081',
    '0000000040000212 0000000000000004 0000000000000000',
  ]
    .join('')
    .replaceAll(' ', ''),
  'hex',
);

const READ: readonly (readonly [number, StoredValue])[] = [
  [0x000, { kind: 'number', value: 4n }],
  [0x001, { kind: 'boolean', value: true }],
  [0x002, { kind: 'boolean', value: false }],
  [0x003, { kind: 'bytes', value: Buffer.from('aes') }],
  [0x4000_0600, { kind: 'mechanisms', value: [0x1081n] }],
  [0x4000_0212, { kind: 'template', value: Buffer.alloc(0) }],
];

describe('an object file', () => {
  it('is read, and written again byte for byte', () => {
    const stored = parseObjectFile(RECORDED)!;
    expect(stored.generation).toBe(0x23n);
    expect([...stored.attributes]).toEqual(READ);
    expect(serialiseObject(stored)).toEqual(RECORDED);
  });

  it('is not taken for whole where it was cut, but between two attributes', () => {
    const whole: number[] = [];
    for (let length = 0; length < RECORDED.length; length += 1)
      if (parseObjectFile(RECORDED.subarray(0, length)) !== undefined) whole.push(length);
    expect(whole).toEqual([8, 32, 49, 66, 93, 125]);
  });

  it.each([
    ['a kind that SoftHSM does not know', '0000000000000003 0000000000000009 0000000000000000'],
    ['a boolean that is none', '0000000000000001 0000000000000001 01'],
    ['a length beyond the end', '0000000000000003 0000000000000003 ffffffffffffffff'],
    ['an attribute that is there twice', '0000000000000001 0000000000000001 ff'.repeat(2)],
  ])('is refused where it has %s', (_what, body) => {
    const file = Buffer.concat([Buffer.alloc(8), Buffer.from(body.replaceAll(' ', ''), 'hex')]);
    expect(parseObjectFile(file)).toBeUndefined();
  });

  it('comes back as it was, whatever its attributes', () => {
    const bytes = fc.uint8Array({ maxLength: 80 }).map((value) => Buffer.from(value));
    const word = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
    const value: fc.Arbitrary<StoredValue> = fc.oneof(
      fc.record({ kind: fc.constant('boolean' as const), value: fc.boolean() }),
      fc.record({ kind: fc.constant('number' as const), value: word }),
      fc.record({ kind: fc.constant('bytes' as const), value: bytes }),
      fc.record({ kind: fc.constant('template' as const), value: bytes }),
      fc.record({ kind: fc.constant('mechanisms' as const), value: fc.array(word, { maxLength: 5 }) }),
    );
    const stored: fc.Arbitrary<StoredObject> = fc.record({
      generation: word,
      attributes: fc.array(fc.tuple(fc.nat(), value), { maxLength: 12 }).map((entries) => new Map(entries)),
    });
    fc.assert(
      fc.property(stored, (one) => {
        expect(parseObjectFile(serialiseObject(one))).toEqual(one);
      }),
    );
  });

  it('is never read beyond its end, whatever its bytes', () => {
    const prng = seededPrng('damaged object files');
    for (let round = 0; round < 2_000; round += 1) {
      const damaged = Buffer.from(RECORDED);
      damaged[Math.floor(prng.fraction() * damaged.length)] = Math.floor(prng.fraction() * 256);
      const stored = parseObjectFile(damaged);
      if (stored !== undefined) expect(serialiseObject(stored)).toHaveLength(damaged.length);
    }
  });
});
