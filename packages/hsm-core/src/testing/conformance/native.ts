/** Promises about objects that a device clones. Every cloner keeps them. */
import { randomBytes } from 'node:crypto';
import { bytesEqual, hex } from '@antipode/runtime';
import { expect } from 'vitest';
import type { Handle } from '../../model/object.ts';
import { differencesOf } from '../../objects/clone-comparison.ts';
import type { HsmProvider, NativeItem } from '../../provider/provider.ts';
import { all, named, type Planted, plantedKey, SoftwareDomain, secretKey } from '../software-domain.ts';
import type { Chapter, OpenPartitions } from './device.ts';
import { AES, ecPair } from './key-material.ts';

const AAD = Buffer.from('a place');

/** Takes one object, with what a manifest would say of it, and has its data key in another partition too. */
async function taken(
  { provider, read, domain }: OpenPartitions,
  handle: Handle,
  to: HsmProvider,
): Promise<{ item: NativeItem; dataKey: Handle; forget: () => Promise<void> }> {
  const sealing = await provider.generateDataKey(domain.handle);
  const [outcome] = await provider.takeNative({ dataKey: sealing.handle, items: [{ handle, aad: AAD }] });
  if (outcome === undefined || 'reason' in outcome) throw new Error(`not taken: ${outcome?.reason}`);
  const { objectClass, keyType, sizeBits, attributes, publicHalf } = await read(handle);
  const there = await domain.copyInto(to);
  const dataKey = await to.unwrapDataKey(there.handle, sealing.blob);
  return {
    item: {
      objectClass: objectClass as NativeItem['objectClass'],
      ...(keyType === undefined || keyType === 'unsupported' ? {} : { keyType }),
      sizeBits,
      attributes,
      ...(publicHalf === undefined ? {} : { publicHalf }),
      ciphertext: outcome.ciphertext,
      aad: AAD,
    },
    dataKey,
    forget: async () => {
      await provider.forget([sealing.handle]);
      await to.forget([dataKey]);
      await to.destroy([there.handle]);
    },
  };
}

/** No two objects of one partition may read alike. */
const nextName = (): string => `cloned ${hex(randomBytes(8))}`;

const count = async (provider: HsmProvider): Promise<number> => (await provider.inventory()).length;

export function native({ promise, has, makeForeign }: Chapter): void {
  promise('clones nothing, and says so of each object, where it has no cloner', async ({ provider, domain, plant }) => {
    if (has('native-cloning')) return;
    expect((await provider.describe()).cloning).toBeUndefined();
    const [handle] = await plant(secretKey('aes', randomBytes(32), { ...named('not cloned'), ...AES }));
    const { handle: dataKey } = await provider.generateDataKey(domain.handle);
    const items = [{ handle: handle!, aad: AAD }];
    expect(await provider.takeNative({ dataKey, items })).toMatchObject([{ reason: 'not-wrappable' }]);
    const item: NativeItem = { objectClass: 'data', sizeBits: 0, attributes: {}, ciphertext: AAD, aad: AAD };
    expect(await provider.putNative({ dataKey, items: [item] })).toMatchObject({
      handles: [],
      failure: { index: 0, code: 'NATIVE_UNAVAILABLE' },
    });
    await provider.forget([dataKey]);
  });

  const promised = (title: string, work: (open: OpenPartitions) => Promise<void>): void =>
    promise(title, work, 'native-cloning');

  promised('names its cloning domain alike in two partitions of it, and at every time', async ({ provider, other }) => {
    const names = [provider, provider, other].map(async (one) => hex((await one.describe()).cloning!.domain));
    const [first, again, there] = await Promise.all(names);
    expect(first).toMatch(/^[0-9a-f]{64}$/);
    expect([again, there]).toEqual([first, first]);
  });

  const kinds: readonly (readonly [kind: string, make: () => Planted])[] = [
    ['AES', () => secretKey('aes', randomBytes(32), { ...named(nextName()), ...AES })],
    ['EC', () => plantedKey(ecPair('P-256'), { ...named(nextName()), sign: true })],
  ];

  promised('clones an object into another partition, equal in every attribute and in its value', async (open) => {
    for (const [kind, make] of kinds) {
      const planted = make();
      const [handle] = await open.plant(planted);
      const { item, dataKey, forget } = await taken(open, handle!, open.other);
      const before = await count(open.other);
      const [made] = all(await open.other.putNative({ dataKey, items: [item] }));
      expect([kind, (await count(open.other)) - before]).toEqual([kind, 1]);
      const [seen] = await open.other.read([made!], [item.publicHalf]);
      expect([kind, differencesOf(item, seen!)]).toEqual([kind, []]);
      const there = await SoftwareDomain.installIn(open.other);
      const [wrapped] = await open.other.wrap(there.handle, [made!]);
      if (planted.objectClass === 'secret-key')
        expect(wrapped).toEqual({ handle: made, blob: there.wrap(planted.secret) });
      expect(await open.other.challenge(there.handle, [made!])).toEqual(['works']);
      expect(await open.other.destroy([made!, there.handle])).toEqual([]);
      await forget();
    }
  });

  promised('gives an outcome for an object that is gone, and a blob for the one beside it', async (open) => {
    const { provider, domain, plant } = open;
    const [gone, there] = await plant(kinds[0]![1](), kinds[1]![1]());
    expect(await provider.destroy([gone!])).toEqual([]);
    const { handle: dataKey } = await provider.generateDataKey(domain.handle);
    const items = [gone!, there!].map((handle) => ({ handle, aad: AAD }));
    expect(await provider.takeNative({ dataKey, items })).toMatchObject([
      { handle: gone, reason: 'unreadable' },
      { handle: there, ciphertext: expect.any(Uint8Array) },
    ]);
    await provider.forget([dataKey]);
  });

  promised('makes nothing of a blob that was changed, cut, or taken for another place', async (open) => {
    const { other, plant } = open;
    const [handle] = await plant(kinds[0]![1]());
    const { item, dataKey, forget } = await taken(open, handle!, other);
    const before = await count(other);
    for (const wrong of [
      { ...item, aad: Buffer.from('another place') },
      { ...item, ciphertext: item.ciphertext.map((byte, index) => (index === 50 ? byte ^ 1 : byte)) },
      { ...item, ciphertext: item.ciphertext.subarray(0, -1) },
    ])
      expect(await other.putNative({ dataKey, items: [wrong] })).toMatchObject({
        handles: [],
        failure: { index: 0, code: 'BLOB_INVALID' },
      });
    expect(await count(other)).toBe(before);
    await forget();
  });

  promised('leaves nothing of a blob that makes another object than its item says', async (open) => {
    const { other, plant } = open;
    const [handle] = await plant(kinds[0]![1]());
    const { item, dataKey, forget } = await taken(open, handle!, other);
    const before = await count(other);
    const { attributes } = item;
    for (const [what, said] of [
      ['a label', { ...item, attributes: { ...attributes, label: Buffer.from('another') } }],
      ['an id', { ...item, attributes: { ...attributes, id: Buffer.from('another') } }],
      ['a use', { ...item, attributes: { ...attributes, wrap: attributes.wrap !== true } }],
      ['a way out', { ...item, attributes: { ...attributes, extractable: attributes.extractable !== true } }],
      ['a history', { ...item, attributes: { ...attributes, local: attributes.local !== true } }],
      ['a type', { ...item, keyType: 'generic-secret' }],
    ] as const satisfies readonly (readonly [string, NativeItem])[]) {
      const { handles, failure } = await other.putNative({ dataKey, items: [said] });
      expect([what, handles, failure?.code]).toEqual([what, [], 'NATIVE_MISMATCH']);
      expect([what, (await count(other)) - before]).toEqual([what, 0]);
    }
    await forget();
  });

  promised('stops a batch at the first that fails, and keeps what it had made', async (open) => {
    const { other, plant } = open;
    const [handle] = await plant(kinds[0]![1]());
    const { item, dataKey, forget } = await taken(open, handle!, other);
    const before = await count(other);
    const items = [item, { ...item, aad: Buffer.from('another place') }, item];
    const { handles, failure } = await other.putNative({ dataKey, items });
    expect([handles.length, failure?.index, (await count(other)) - before]).toEqual([1, 1, 1]);
    await other.destroy(handles);
    await forget();
  });

  promised('makes no second object of a repeat', async (open) => {
    const { other, plant } = open;
    const [handle] = await plant(kinds[0]![1]());
    const { item, dataKey, forget } = await taken(open, handle!, other);
    const before = await count(other);
    const first = await other.putNative({ dataKey, items: [item] });
    expect(await other.putNative({ dataKey, items: [item] })).toEqual(first);
    expect((await count(other)) - before).toBe(1);
    await other.destroy(first.handles);
    await forget();
  });

  promised('is refused by a partition of another cloning domain, before anything is changed', async (open) => {
    const foreign = await makeForeign!('foreign');
    try {
      const { provider } = foreign;
      const [own, theirs] = await Promise.all([open.provider, provider].map((one) => one.describe()));
      expect(bytesEqual(own!.cloning!.domain, theirs!.cloning!.domain)).toBe(false);
      const [handle] = await open.plant(kinds[0]![1]());
      const { item, dataKey } = await taken(open, handle!, provider);
      const before = await count(provider);
      expect(await provider.putNative({ dataKey, items: [item] })).toMatchObject({
        handles: [],
        failure: { index: 0, code: 'CLONING_DOMAIN_OTHER' },
      });
      expect(await count(provider)).toBe(before);
    } finally {
      await foreign.remove();
    }
  });
}
