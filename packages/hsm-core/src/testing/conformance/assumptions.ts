/**
 * Assumptions about tokens on which the code relies and that no other chapter tries. The page
 * docs/devices/assumptions.md lists all of them, each with the code that relies on it.
 */
import { randomBytes } from 'node:crypto';
import { expect } from 'vitest';
import { named, plantedKey, SoftwareDomain, secretKey } from '../software-domain.ts';
import type { Chapter } from './device.ts';
import { AES, ecPair, kindsOf } from './key-material.ts';

export function assumptions({ promise, has, make }: Chapter): void {
  promise('keeps the handle of an object while others come and go', async ({ provider, plant, blobOf, domain }) => {
    const secret = randomBytes(32);
    const [before, kept] = await plant(
      secretKey('aes', randomBytes(32), { ...named('comes first'), ...AES }),
      secretKey('aes', secret, { ...named('keeps its handle'), ...AES }),
    );
    await provider.destroy([before!]);
    await plant(secretKey('aes', randomBytes(32), { ...named('comes later'), ...AES }));
    const { handles } = await provider.look({});
    expect([...handles]).toContain(kept);
    expect(await blobOf(kept!)).toEqual(domain.wrap(secret));
  });

  promise('gives no handle twice, or is known to', async ({ provider, plant }) => {
    const { reusesHandles = false } = await provider.describe();
    const given: bigint[] = [];
    for (let time = 0; time < 4; time += 1) {
      const [handle] = await plant(secretKey('aes', randomBytes(32), { ...named(`handle ${time}`), ...AES }));
      given.push(handle!);
      await provider.destroy([handle!]);
    }
    if (!reusesHandles) expect(new Set(given).size).toBe(given.length);
  });

  promise('shows at once what another session has made and destroyed', async ({ subject, provider, domain }) => {
    const another = await subject.openAnother();
    const own = (await another.findDomainKey(domain))!.handle;
    const labels = async (): Promise<string[]> =>
      (await provider.inventory()).map(({ attributes }) => Buffer.from(attributes.label ?? []).toString());
    const item = domain.item(secretKey('aes', randomBytes(32), { ...named('made elsewhere'), ...AES }));
    const { handles, failure } = await another.unwrap(own, [item]);
    expect(failure).toBeUndefined();
    expect(await labels()).toContain('made elsewhere');
    expect(await another.destroy(handles)).toEqual([]);
    expect(await labels()).not.toContain('made elsewhere');
  });

  promise('keeps session objects to their session, and out of every look', async ({ subject, provider, domain }) => {
    const another = await subject.openAnother();
    const before = [await provider.inventory(), await another.inventory()].map(({ length }) => length);
    const dataKey = await provider.generateDataKey(domain.handle);
    const ephemeral = await provider.generateEphemeral();
    const after = [await provider.inventory(), await another.inventory()].map(({ length }) => length);
    expect(after).toEqual(before);
    await provider.forget([dataKey.handle, ephemeral.handle]);
  });

  promise('has after a restart what it had made before, with the same values', async () => {
    const lasting = await make('lasting');
    try {
      const secret = randomBytes(32);
      const pair = plantedKey(ecPair('P-256'), { ...named('lasting pair'), sign: true });
      const domain = await SoftwareDomain.installIn(lasting.provider);
      await domain.plant(lasting.provider, [secretKey('aes', secret, { ...named('lasting'), ...AES }), pair]);
      await lasting.lose();
      const again = await lasting.openAnother();
      const own = (await again.findDomainKey(domain))!.handle;
      const extractable = (await again.inventory()).filter(({ attributes }) => attributes.extractable === true);
      expect(extractable).toHaveLength(2);
      const secretHere = extractable.find(({ objectClass }) => objectClass === 'secret-key')!;
      const pairHere = extractable.find(({ objectClass }) => objectClass === 'private-key')!;
      expect(await again.wrap(own, [secretHere.handle])).toEqual([
        { handle: secretHere.handle, blob: domain.wrap(secret) },
      ]);
      const [read] = await again.read([pairHere.handle], [pair.publicHalf]);
      expect(read?.publicHalf).toEqual(pair.publicHalf);
    } finally {
      await lasting.remove();
    }
  });

  promise('wraps a private key of each kind to the same blob every time', async ({ plant, blobOf }) => {
    for (const [kind, planted, use] of kindsOf({ has })) {
      if (planted.objectClass !== 'private-key') continue;
      const [handle] = await plant({ ...planted, attributes: { ...named(`wrapped twice ${kind}`), [use]: true } });
      const first = await blobOf(handle!);
      expect([kind, await blobOf(handle!)]).toEqual([kind, first]);
    }
  });

  promise('reads an unchanged object alike at every look', async ({ provider, plant }) => {
    const [handle] = await plant(secretKey('aes', randomBytes(32), { ...named('read alike'), ...AES }));
    const [first] = await provider.read([handle!]);
    const inLook = (await provider.look({})).objects.find((object) => object.handle === handle);
    const [last] = await provider.read([handle!]);
    expect([inLook?.readDigest, last?.readDigest]).toEqual([first!.readDigest, first!.readDigest]);
  });
}
