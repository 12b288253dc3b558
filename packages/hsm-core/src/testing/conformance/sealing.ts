/** Promises about wrapping, tagging and encrypting. */
import { randomBytes } from 'node:crypto';
import { rejection } from '@antipode/runtime/testing';
import { expect } from 'vitest';
import type { ProofItem } from '../../provider/provider.ts';
import { all, encryptInSoftware, named, SoftwareDomain, secretKey } from '../software-domain.ts';
import type { Chapter } from './device.ts';

export function sealing({ promise, has }: Chapter): void {
  promise('wraps by RFC 5649, byte for byte, and the same every time', async ({ provider, domain, plant }) => {
    const secrets = [16, 24, 32].map((bytes) => secretKey('aes', randomBytes(bytes), named(`aes ${bytes}`)));
    secrets.push(secretKey('generic-secret', randomBytes(64), named('generic 64')));
    const handles = await plant(...secrets);
    for (let time = 0; time < 2; time += 1) {
      const outcomes = await provider.wrap(domain.handle, handles);
      expect(outcomes).toEqual(handles.map((handle, index) => ({ handle, blob: domain.wrap(secrets[index]!.secret) })));
    }
  });

  promise(
    'gives an outcome for each key, and an error when it is the domain key that does not wrap',
    async ({ provider, domain, plant }) => {
      const [gone, there] = await plant(
        secretKey('aes', randomBytes(32), named('gone')),
        secretKey('aes', randomBytes(32), named('there')),
      );
      expect(await provider.destroy([gone!])).toEqual([]);
      expect(await provider.wrap(domain.handle, [gone!, there!])).toMatchObject([
        { handle: gone, reason: 'unreadable' },
        { handle: there, blob: expect.any(Uint8Array) },
      ]);
      const short = await SoftwareDomain.installIn(provider);
      await provider.destroy([short.handle]);
      expect((await rejection(provider.wrap(short.handle, [there!]))).code).toBe('HSM_SESSION_VOID');
    },
  );

  promise('tags bytes so that only who holds the domain key can test a guess', async ({ provider, domain }) => {
    const values = [new Uint8Array(), Buffer.from('a'), randomBytes(5_000)];
    expect(await provider.tagBytes(domain.handle, values)).toEqual(values.map((value) => domain.tagOf(value)));
  });

  promise('seals a data object, each bound to its place, and makes it again', async ({ provider, domain, read }) => {
    const dataKey = await provider.generateDataKey(domain.handle);
    const again = await provider.unwrapDataKey(domain.handle, dataKey.blob);
    const aad = Buffer.from('first');
    const value = randomBytes(5_000);
    const attributes = { label: Buffer.from('data'), application: Buffer.from('app'), private: true };
    // Sealed in software, in the format of the contract: iv, ciphertext, tag.
    const seeds = await SoftwareDomain.installIn(provider);
    const known = randomBytes(32);
    const sealing = await provider.unwrapDataKey(seeds.handle, seeds.wrap(known));
    const ciphertext = encryptInSoftware(known, value, aad);
    const make = (change: Partial<{ ciphertext: Uint8Array; aad: Uint8Array }>) =>
      provider.createData({ dataKey: sealing, items: [{ attributes, ciphertext, aad, ...change }] });
    for (const change of [{ aad: Buffer.from('second') }, { ciphertext: ciphertext.map((byte) => byte ^ 1) }])
      expect(await make(change)).toMatchObject({ handles: [], failure: { index: 0, code: 'BLOB_INVALID' } });
    const made = await make({});
    if (has('data-objects')) {
      const [handle] = all(made);
      const items = [{ handle: handle!, aad }];
      const [sealed] = await provider.sealData({ domainKey: domain.handle, dataKey: dataKey.handle, items });
      if (sealed === undefined || 'reason' in sealed) throw new Error('the data object was not sealed');
      expect(sealed.valueTag).toEqual(domain.tagOf(value));
      expect(await provider.tagData(domain.handle, [handle!])).toEqual([domain.tagOf(value)]);
      const twin = { attributes, ciphertext: sealed.ciphertext, aad };
      const [copy] = all(await provider.createData({ dataKey: again, items: [twin] }));
      const observed = await read(copy!);
      expect(observed).toMatchObject({ objectClass: 'data' });
      expect(Buffer.from(observed.attributes.label!).toString()).toBe('data');
      const proof: ProofItem = {
        handle: copy!,
        objectClass: 'data',
        sizeBits: 0,
        attributes,
        valueTag: sealed.valueTag,
      };
      expect(await provider.prove(domain.handle, [proof])).toMatchObject([{ proved: true }]);
      const other = { ...proof, valueTag: domain.tagOf(randomBytes(8)) };
      expect(await provider.prove(domain.handle, [other])).toMatchObject([{ proved: false }]);
      await provider.destroy([handle!, copy!]);
    } else expect(made).toMatchObject({ handles: [], failure: { code: 'HSM_REFUSED' } });
    await provider.forget([dataKey.handle, again, sealing]);
    const flipped = dataKey.blob.map((byte, index) => (index === 9 ? byte ^ 1 : byte));
    expect((await rejection(provider.unwrapDataKey(domain.handle, flipped))).code).toBe('BLOB_INVALID');
    await provider.destroy([seeds.handle]);
  });
}
