import fc from 'fast-check';
import { expect, it } from 'vitest';
import { bytesEqual, fromHex, hex, sha256, sha256Hex } from './bytes.ts';

const someBytes = fc.uint8Array({ maxLength: 64 });

it('reads back what it wrote as hexadecimal, also of a view into a larger buffer', () => {
  fc.assert(
    fc.property(someBytes, someBytes, (before, bytes) => {
      const view = new Uint8Array([...before, ...bytes, 0xff]).subarray(before.length, before.length + bytes.length);
      expect(hex(view)).toBe(Buffer.from(bytes).toString('hex'));
      expect(fromHex(hex(view))).toEqual(bytes);
    }),
  );
});

it('hashes the concatenation of its parts', () => {
  expect(sha256Hex('a', Buffer.from('bc'))).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  expect(hex(sha256())).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
});

it('calls bytes equal only when length and every byte agree', () => {
  fc.assert(
    fc.property(someBytes, someBytes, (a, b) => {
      expect(bytesEqual(a, b)).toBe(hex(a) === hex(b));
      expect(bytesEqual(a, new Uint8Array(a))).toBe(true);
      expect(bytesEqual(a, new Uint8Array([...a, 0]))).toBe(false);
    }),
  );
});
