/** Promises about the partition itself, its identity and its domain keys. */
import { createPublicKey, randomBytes, verify } from 'node:crypto';
import { hex } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { expect } from 'vitest';
import { KDFS } from '../../model/kdf.ts';
import { domainKeyLabel, markedId } from '../../model/own-key-name.ts';
import { deliver, named, secretKey, tagInSoftware } from '../software-domain.ts';
import type { Chapter } from './device.ts';
import { ecPair } from './key-material.ts';

export function ownKeys({ promise }: Chapter): void {
  promise('says who it is, the same at every time', async ({ provider, other }) => {
    const description = await provider.describe();
    for (const text of [description.serial, description.label, description.model]) expect(text).not.toBe('');
    expect(await provider.describe()).toEqual(description);
    expect((await other.describe()).serial).not.toBe(description.serial);
  });

  promise('makes an identity that signs, is found by its record, and never leaves', async ({ provider, domain }) => {
    const ckaId = new Uint8Array(randomBytes(16));
    const { publicHalf } = await provider.generateIdentity(ckaId);
    const own = await provider.findIdentity({ ckaId, publicHalf });
    // The journal keeps its public half. In the token, it would show the id to sessions without a login.
    expect(own?.companions).toEqual([]);
    const message = randomBytes(100);
    const signature = await provider.signAsIdentity(own!.handle, message);
    const key = createPublicKey({ key: Buffer.from(publicHalf), format: 'der', type: 'spki' });
    expect(verify('sha256', message, { key, dsaEncoding: 'ieee-p1363' }, signature)).toBe(true);
    expect(await provider.wrap(domain.handle, [own!.handle])).toMatchObject([{ reason: 'unextractable' }]);

    const another = new Uint8Array(ecPair('P-256').publicKey.export({ format: 'der', type: 'spki' }));
    expect(await provider.findIdentity({ ckaId, publicHalf: another })).toBeUndefined();
    expect(await provider.findIdentity({ ckaId: new Uint8Array(randomBytes(16)), publicHalf })).toBeUndefined();
    const under = await provider.findUnder([ckaId, new Uint8Array(randomBytes(16))]);
    expect(under).toEqual([own!.handle]);
  });

  promise(
    'brings one domain key to two partitions, its birthplace included, under one check tag',
    async ({ provider, other }) => {
      const key = await provider.generateDomainKey();
      const tags: string[] = [];
      for (const receiver of [provider, other]) {
        const [ours, theirs] = [await provider.generateEphemeral(), await receiver.generateEphemeral()];
        const kdf = ours.kdfs[0]!;
        const sending = { ephemeral: ours.handle, peerPoint: theirs.point, use: 'wrap', kdf } as const;
        const receiving = { ephemeral: theirs.handle, peerPoint: ours.point, use: 'unwrap', kdf } as const;
        const [outer, inner] = [await provider.deriveExchangeKey(sending), await receiver.deriveExchangeKey(receiving)];
        const blob = await provider.wrapDomainKey({ exchangeKey: outer, domainKey: key });
        const ckaId = new Uint8Array(randomBytes(16));
        const { checkTag } = await receiver.installDomainKey({
          exchangeKey: inner,
          blob,
          ckaId,
          label: `a ${hex(ckaId)}`,
        });
        tags.push(hex(checkTag));
        expect(await receiver.findDomainKey({ ckaId, checkTag })).toMatchObject({ companions: [] });
        await provider.forget([ours.handle, outer]);
        await receiver.forget([theirs.handle, inner]);
      }
      await provider.forget([key]);
      // Forgetting a key twice is not an error.
      await provider.forget([key]);
      expect(new Set(tags).size).toBe(1);
    },
  );

  promise('agrees as software does by every key derivation function that it offers, and by no other', async (open) => {
    const { provider } = open;
    const { handle: ephemeral, point: peerPoint, kdfs } = await provider.generateEphemeral();
    expect(kdfs.length).toBeGreaterThan(0);
    for (const kdf of kdfs) {
      const value = randomBytes(32);
      const { exchangeKey, wrapped, ephemeral: ours } = await deliver(provider, value, { kdf });
      const ckaId = new Uint8Array(randomBytes(16));
      const { checkTag } = await provider.installDomainKey({ exchangeKey, blob: wrapped, ckaId, label: `by ${kdf}` });
      expect(checkTag).toEqual(tagInSoftware(value, Buffer.from('antipode domain key check v1')));
      expect(await provider.destroyDomainKey({ ckaId, checkTag })).toBe('destroyed');
      await provider.forget([exchangeKey, ours]);
    }
    for (const kdf of KDFS.filter((one) => !kdfs.includes(one)))
      expect((await rejection(provider.deriveExchangeKey({ ephemeral, peerPoint, use: 'wrap', kdf }))).code).toBe(
        'HSM_REFUSED',
      );
    await provider.forget([ephemeral]);
  });

  promise(
    'lends a domain key for a trial, which wraps, and leaves the token as it was',
    async ({ provider, plant, countObjects }) => {
      const [key] = await plant(secretKey('aes', randomBytes(32), named('to be wrapped')));
      const objects = await countObjects();
      const [first, second] = [await provider.lendDomainKey(), await provider.lendDomainKey()];
      expect(hex(first.checkTag)).not.toBe(hex(second.checkTag));
      expect(await provider.wrap(first.handle, [key!])).toMatchObject([{ blob: expect.any(Uint8Array) }]);
      expect(await provider.wrap(first.handle, [second.handle])).toMatchObject([{ reason: expect.any(String) }]);
      expect(await countObjects()).toBe(objects);
      await provider.forget([first.handle, second.handle]);
      expect((await rejection(provider.wrap(first.handle, [key!]))).code).toBe('HSM_SESSION_VOID');
    },
  );

  promise('keeps a domain key to itself: no use but wrapping, and no way out', async ({ provider, domain, read }) => {
    const { attributes } = await read(domain.handle);
    expect(attributes).toMatchObject({ sensitive: true, extractable: false, wrap: true, unwrap: true });
    for (const use of ['encrypt', 'decrypt', 'sign', 'verify', 'derive'] as const)
      expect([use, attributes[use] ?? false]).toEqual([use, false]);
    expect(await provider.wrap(domain.handle, [domain.handle])).toMatchObject([{ reason: 'unextractable' }]);
    const { ckaId, checkTag } = domain;
    expect(checkTag).toEqual(domain.tagOf(Buffer.from('antipode domain key check v1')));
    expect((await provider.findDomainKey({ ckaId, checkTag }))?.handle).toBe(domain.handle);
    expect(await provider.findDomainKey({ ckaId, checkTag: checkTag.map((byte) => byte ^ 1) })).toBeUndefined();
    expect(await provider.findDomainKey({ ckaId: new Uint8Array(16), checkTag })).toBeUndefined();
  });

  promise(
    'destroys the domain key that proves itself, and no other object under its id',
    async ({ provider, domain }) => {
      const { exchangeKey, wrapped } = await deliver(provider, randomBytes(32));
      const ckaId = new Uint8Array(randomBytes(16));
      const { checkTag } = await provider.installDomainKey({ exchangeKey, blob: wrapped, ckaId, label: 'c' });
      const another = checkTag.map((byte) => byte ^ 1);
      expect(await provider.destroyDomainKey({ ckaId, checkTag: another })).toBe('unproven');
      expect(await provider.destroyDomainKey({ ckaId: domain.ckaId, checkTag })).toBe('unproven');
      expect(await provider.findDomainKey({ ckaId, checkTag })).toBeDefined();
      expect(await provider.destroyDomainKey({ ckaId, checkTag })).toBe('destroyed');
      expect(await provider.findUnder([ckaId])).toEqual([]);
      expect(await provider.destroyDomainKey({ ckaId, checkTag })).toBe('absent');
      expect(await provider.findDomainKey({ ckaId: domain.ckaId, checkTag: domain.checkTag })).toBeDefined();
    },
  );

  promise(
    'finds a domain key without a record by its marked id, and no other key by its label',
    async ({ provider, plant }) => {
      const [identityId, another] = [new Uint8Array(randomBytes(16)), new Uint8Array(randomBytes(16))];
      const label = domainKeyLabel({ group: `group of ${hex(identityId)}`, version: 7 });
      const install = async (ckaId: Uint8Array) => {
        const { exchangeKey, wrapped } = await deliver(provider, randomBytes(32));
        const { checkTag } = await provider.installDomainKey({ exchangeKey, blob: wrapped, ckaId, label });
        return { ckaId, checkTag };
      };
      const random = new Uint8Array(randomBytes(16));
      const own = await install(markedId({ identityId, label, random }));
      const others = [await install(markedId({ identityId: another, label, random })), await install(random)];
      const id = markedId({ identityId, label, random: new Uint8Array(randomBytes(16)) });
      const looksOwn = { label: Buffer.from(label), id };
      const [planted] = await plant(secretKey('aes', randomBytes(32), looksOwn));
      const found = await provider.findMarked([identityId]);
      const { handle } = (await provider.findDomainKey(own))!;
      expect(found).toEqual([{ kind: 'domain', group: `group of ${hex(identityId)}`, version: 7, handle, ...own }]);
      expect(await provider.findMarked([])).toEqual([]);
      for (const record of [own, ...others]) expect(await provider.destroyDomainKey(record)).toBe('destroyed');
      expect(await provider.findMarked([identityId, another])).toEqual([]);
      await provider.destroy([planted!]);
    },
  );

  promise(
    'refuses a point that is not on the curve, and a delivery that was changed, and installs nothing',
    async ({ provider }) => {
      const ckaId = new Uint8Array(randomBytes(16));
      const { handle: ephemeral, point, kdfs } = await provider.generateEphemeral();
      const kdf = kdfs[0]!;
      const offCurve = point.map((byte, index) => (index === 64 ? byte ^ 1 : byte));
      const derive = provider.deriveExchangeKey({ ephemeral, peerPoint: offCurve, use: 'unwrap', kdf });
      expect((await rejection(derive)).code).toBe('HSM_REFUSED');
      const { exchangeKey, wrapped } = await deliver(provider, randomBytes(32));
      const blob = wrapped.map((byte, index) => (index === 7 ? byte ^ 1 : byte));
      expect((await rejection(provider.installDomainKey({ exchangeKey, blob, ckaId, label: 'b' }))).code).toBe(
        'HSM_REFUSED',
      );
      expect(await provider.findUnder([ckaId])).toEqual([]);
    },
  );
}
