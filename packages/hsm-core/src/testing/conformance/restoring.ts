/** Promises about making objects from their sealed form. */
import { randomBytes } from 'node:crypto';
import { expect } from 'vitest';
import { CURVES } from '../../model/curve.ts';
import type { ObservedObject } from '../../model/object.ts';
import { ecPublicHalf, pointOf } from '../../model/public-half.ts';
import type { ProofItem } from '../../provider/provider.ts';
import { CERTIFICATE } from '../certificate.ts';
import { all, named, plantedKey, SoftwareDomain, secretKey } from '../software-domain.ts';
import type { Chapter } from './device.ts';
import { AES, ecPair, kindsOf } from './key-material.ts';

const USES = ['encrypt', 'decrypt', 'wrap', 'unwrap', 'sign', 'signRecover', 'verify', 'derive'] as const;

export function restoring({ promise, has, make }: Chapter): void {
  promise(
    'makes keys with exactly what they are given: what is not named is not allowed',
    async ({ provider, plant }) => {
      for (const [kind, planted, use] of kindsOf({ has })) {
        const attributes = { ...named(kind), [use]: true };
        const [handle] = await plant({ ...planted, attributes });
        // For a key that only agrees, both points with its x are equally good. The provider takes the expected one.
        const [{ attributes: seen, ...object }] = (await provider.read([handle!], [planted.publicHalf])) as [
          ObservedObject,
        ];
        expect(object).toMatchObject({ objectClass: planted.objectClass, keyType: planted.keyType });
        expect(seen).toMatchObject({ sensitive: true, extractable: true, ...attributes });
        const allowed = USES.filter((one) => seen[one] === true);
        expect([kind, allowed]).toEqual([kind, [use]]);
        if (planted.publicHalf !== undefined) expect(object.publicHalf).toEqual(planted.publicHalf);
      }
    },
  );

  promise(
    'stops a batch at the first that fails, and leaves nothing of it',
    async ({ provider, domain, countObjects }) => {
      const before = await countObjects();
      const items = ['one', 'two', 'three'].map((word) => domain.item(secretKey('aes', randomBytes(32), named(word))));
      items[1] = { ...items[1]!, blob: items[1]!.blob.map((byte, index) => (index === 3 ? byte ^ 1 : byte)) };
      const { handles, failure } = await provider.unwrap(domain.handle, items);
      expect(handles).toHaveLength(1);
      expect(failure).toMatchObject({ index: 1, code: 'BLOB_INVALID' });
      expect(await countObjects()).toBe(before + 1);
    },
  );

  promise(
    'says of a blob that it is invalid when it is cut, changed, or of another type',
    async ({ provider, domain, countObjects }) => {
      const before = await countObjects();
      const aes = domain.item(secretKey('aes', randomBytes(32), named('invalid')));
      const ec = domain.item(plantedKey(ecPair('P-256'), named('invalid ec')));
      const wrong = [
        { ...aes, blob: aes.blob.subarray(0, -8) },
        { ...aes, blob: new Uint8Array(randomBytes(40)) },
        { ...ec, blob: aes.blob },
        ...(has('rsa') ? [{ ...ec, keyType: 'rsa' } as const] : []),
      ];
      for (const item of wrong)
        expect(await provider.unwrap(domain.handle, [item])).toMatchObject({
          handles: [],
          failure: { index: 0, code: 'BLOB_INVALID' },
        });
      expect(await countObjects()).toBe(before);
    },
  );

  promise(
    'overwrites nothing: a second key under the id of another is another, or is refused',
    async ({ provider, domain, plant, blobOf }) => {
      const [first, second] = [randomBytes(32), randomBytes(32)];
      const [handle] = await plant(secretKey('aes', first, { ...named('twin'), ...AES }));
      const item = domain.item(secretKey('aes', second, { ...named('twin'), ...AES }));
      const outcome = await provider.unwrap(domain.handle, [item]);
      expect(await blobOf(handle!)).toEqual(domain.wrap(first));
      if (has('second-key-per-id')) {
        expect(await blobOf(all(outcome)[0]!)).toEqual(domain.wrap(second));
        await provider.destroy(outcome.handles);
      } else expect(outcome).toMatchObject({ handles: [], failure: { index: 0, code: 'ID_TAKEN' } });
    },
  );

  promise(
    'makes what replaces another, beside it or in its place',
    async ({ provider, domain, plant, read, blobOf }) => {
      const value = randomBytes(32);
      const [former] = await plant(secretKey('aes', value, { ...named('replaced'), ...AES, decrypt: false }));
      const attributes = { ...named('replaced'), label: Buffer.from('new'), decrypt: true };
      const item = { ...domain.item(secretKey('aes', value, attributes)), replaces: former! };
      const [made] = all(await provider.unwrap(domain.handle, [item]));
      expect(made === former).toBe(!has('second-key-per-id'));
      const { attributes: seen } = await read(made!);
      expect(Buffer.from(seen.label!).toString()).toBe('new');
      expect([seen.encrypt ?? false, seen.decrypt]).toEqual([false, true]);
      expect(await blobOf(made!)).toEqual(domain.wrap(value));
    },
  );

  promise('keeps what an object forbids, or does not make it', async ({ provider, domain, read, countObjects }) => {
    const before = await countObjects();
    const restricted = { ...named('restricted'), ...AES, copyable: false, destroyable: false, modifiable: false };
    const item = domain.item(secretKey('aes', randomBytes(32), restricted));
    const outcome = await provider.unwrap(domain.handle, [item]);
    if (!has('restrictions')) {
      expect(outcome).toMatchObject({ handles: [], failure: { index: 0, code: 'HSM_REFUSED' } });
      expect(await countObjects()).toBe(before);
      return;
    }
    const [handle] = all(outcome);
    expect((await read(handle!)).attributes).toMatchObject({
      copyable: false,
      destroyable: false,
      modifiable: false,
    });
    expect(await provider.destroy([handle!])).toEqual([handle]);
    expect(await read(handle!)).toBeDefined();
  });

  promise('makes public keys and certificates', async ({ provider, domain }) => {
    const curve = CURVES[0]!;
    const publicHalf = new Uint8Array(ecPair('P-256').publicKey.export({ format: 'der', type: 'spki' }));
    const point = pointOf(curve, publicHalf);
    const ecPoint = Buffer.concat([Uint8Array.of(0x04, point.length), point]);
    const ecParams = Buffer.from(curve.params, 'hex');
    const names = named('public');
    const key = { ...names, private: false, verify: true, ecParams, ecPoint };
    const certificate = { ...CERTIFICATE, ...names, private: false };
    const handles = all(
      await provider.create([
        { objectClass: 'public-key', keyType: 'ec', attributes: key },
        { objectClass: 'certificate', attributes: certificate },
      ]),
    );
    const [asKey, asCertificate] = await provider.read(handles);
    expect(asKey).toMatchObject({ objectClass: 'public-key', keyType: 'ec', publicHalf });
    expect(asKey!.attributes).toMatchObject({ ...names, verify: true });
    expect([asKey!.attributes.encrypt ?? false, asKey!.attributes.wrap ?? false]).toEqual([false, false]);
    expect(asCertificate).toMatchObject({ objectClass: 'certificate', attributes: certificate });

    const proofs: ProofItem[] = [
      { handle: handles[0]!, objectClass: 'public-key', keyType: 'ec', sizeBits: 256, attributes: key, publicHalf },
      { handle: handles[1]!, objectClass: 'certificate', sizeBits: 0, attributes: certificate },
    ];
    expect(await provider.prove(domain.handle, proofs)).toMatchObject([{ proved: true }, { proved: true }]);
    const others: ProofItem[] = [
      { ...proofs[0]!, publicHalf: ecPublicHalf(curve, pointOf(curve, plantedKey(ecPair('P-256'), {}).publicHalf!)) },
      { ...proofs[1]!, attributes: { ...certificate, value: certificate.value.subarray(1) } },
    ];
    expect(await provider.prove(domain.handle, others)).toMatchObject([{ proved: false }, { proved: false }]);
  });

  promise(
    'says that no more fits, with what was made until then',
    async () => {
      const full = await make('full');
      try {
        const key = await SoftwareDomain.installIn(full.provider);
        full.limit!(2);
        const items = ['1', '2', '3'].map((word) => key.item(secretKey('aes', randomBytes(32), named(word))));
        const { handles, failure } = await full.provider.unwrap(key.handle, items);
        expect(handles).toHaveLength(2);
        expect(failure).toMatchObject({ index: 2, code: 'HSM_FULL' });
      } finally {
        await full.remove();
      }
    },
    'full-storage',
  );
}
