import { createHash } from 'node:crypto';
import { hex } from '@antipode/runtime';
import { expect, it } from 'vitest';
import { derivedBy } from './kdf.ts';

const Z = Buffer.from('96c05619d56c328ab95fe84b18264b08725b85e33fd34f08', 'hex');

it('derives by X9.63 what the vectors of NIST (CAVP, ANSI X9.63, no shared information) say', () => {
  expect(hex(derivedBy('sha256', Z, 16))).toBe('443024c3dae66b95e6f5670601558f71');
});

it('counts its blocks from one, and cuts the last', () => {
  const block = (counter: number): Buffer =>
    createHash('sha1')
      .update(Z)
      .update(Buffer.of(0, 0, 0, counter))
      .digest();
  expect(derivedBy('sha1', Z, 32)).toEqual(new Uint8Array(Buffer.concat([block(1), block(2)]).subarray(0, 32)));
});

it('leaves the secret as it is without a function', () => {
  expect(derivedBy('null', Z, Z.length)).toEqual(Z);
});
