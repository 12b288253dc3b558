/** Promises about secrets that are sealed byte for byte. */
import { randomBytes } from 'node:crypto';
import { expect } from 'vitest';
import type { ExactItem, ProofItem } from '../../provider/provider.ts';
import { all, named, secretKey } from '../software-domain.ts';
import type { Chapter } from './device.ts';

/** Zeros at the ends are where a token pads or cuts. */
const VALUES = [1, 13, 20, 64, 77, 201].map((bytes) => {
  const value = new Uint8Array(randomBytes(bytes));
  value.fill(0, 0, bytes / 8).fill(0, -bytes / 8);
  return value;
});

export function exact({ promise, has }: Chapter): void {
  promise('makes no key for the exact way where it does not carry every value', async ({ provider, domain }) => {
    if (has('exact-secrets')) return;
    expect(await provider.generateExactKey(domain.handle, 3072)).toBeUndefined();
    expect(await provider.generateExactKey(domain.handle, 3072)).toBeUndefined();
  });

  const planted = VALUES.map((value) =>
    secretKey('generic-secret', value, { ...named(`exact ${value.length}`), sign: true }),
  );

  promise(
    'tags secrets to the last byte, so that only who holds the domain key can test a guess',
    async ({ provider, domain, plant }) => {
      const handles = await plant(...planted);
      expect(await provider.tagSecrets(domain.handle, handles)).toEqual(
        VALUES.map((value) => domain.exactTagOf(value)),
      );
      expect(await provider.destroy(handles)).toEqual([]);
    },
    'exact-secrets',
  );

  promise(
    'seals secrets byte for byte, each bound to its place, and makes them again',
    async ({ provider, domain, plant, countObjects }) => {
      const handles = await plant(...planted);
      const before = await countObjects();
      const { blob: keyBlob, ...exactKey } = (await provider.generateExactKey(domain.handle, 3072))!;
      expect(await countObjects()).toBe(before);
      const aad = (index: number): Uint8Array => Buffer.from(`place ${index}`);
      const items = handles.map((handle, index) => ({ handle, aad: aad(index) }));
      const sealed = await provider.sealSecrets({ domainKey: domain.handle, exactKey, items });
      await provider.forget(Object.values(exactKey));
      const made = sealed.map((outcome, index): ExactItem => {
        if ('reason' in outcome) throw new Error(`${VALUES[index]!.length} bytes: ${outcome.reason}`);
        expect(outcome.valueTag).toEqual(domain.exactTagOf(VALUES[index]!));
        const attributes = { ...named(`again ${index}`), sign: true };
        return {
          objectClass: 'secret-key',
          keyType: 'generic-secret',
          attributes,
          blob: outcome.ciphertext,
          aad: aad(index),
        };
      });
      const opened = await provider.openExactKey(domain.handle, keyBlob);
      if ('failure' in opened) throw new Error(opened.failure.code);
      const unwrap = (...some: ExactItem[]) => provider.unwrapSecrets({ exactKey: opened.key, items: some });
      const flipped = made[0]!.blob.map((byte, index) => (index === 40 ? byte ^ 1 : byte));
      for (const wrong of [
        { ...made[0]!, aad: aad(1) },
        { ...made[0]!, blob: flipped },
      ])
        expect(await unwrap(wrong)).toMatchObject({ handles: [], failure: { index: 0, code: 'BLOB_INVALID' } });
      const foreign = keyBlob.map((byte, index) => (index === 60 ? byte ^ 1 : byte));
      expect(await provider.openExactKey(domain.handle, foreign)).toMatchObject({ failure: { code: 'BLOB_INVALID' } });
      const copies = all(await unwrap(...made));
      await provider.forget([opened.key.dataKey, opened.key.wrapping, opened.key.opening]);
      expect(await provider.tagSecrets(domain.handle, copies)).toEqual(VALUES.map((value) => domain.exactTagOf(value)));
      for (const [index, { attributes }] of made.entries()) {
        const proof: ProofItem = {
          handle: copies[index]!,
          objectClass: 'secret-key',
          keyType: 'generic-secret',
          sizeBits: VALUES[index]!.length * 8,
          attributes,
          valueTag: domain.exactTagOf(VALUES[index]!),
        };
        expect(await provider.prove(domain.handle, [proof])).toMatchObject([{ proved: true }]);
        const other = { ...proof, valueTag: domain.exactTagOf(Buffer.concat([VALUES[index]!, Buffer.alloc(1)])) };
        expect(await provider.prove(domain.handle, [other])).toMatchObject([{ proved: false }]);
      }
      expect(await provider.destroy([...handles, ...copies])).toEqual([]);
      expect(await countObjects()).toBe(before - handles.length);
    },
    'exact-secrets',
  );
}
