/**
 * Promises of every cloner by which devices copy keys among themselves (ADR 0058): tried on two partitions, each with a
 * provider. The client of the second one sees the first.
 */
import { randomBytes } from 'node:crypto';
import { hex } from '@antipode/runtime';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Handle, ObservedObject } from '../../model/object.ts';
import { differencesOf } from '../../objects/clone-comparison.ts';
import type { DeviceItem, DeviceOutcome, HsmProvider } from '../../provider/provider.ts';
import { named, type Planted, plantedKey, SoftwareDomain, secretKey } from '../software-domain.ts';
import { AES, ecPair } from './key-material.ts';

export interface DevicePair {
  readonly source: HsmProvider;
  readonly target: HsmProvider;
  /** Whether the client of the target reaches the source. Before, it does. */
  reach(isReached: boolean): void;
  /** Moves the source to another cloning domain, which its name does not show, and back. */
  estrange(isOther: boolean): void;
  remove(): Promise<void>;
}

const newName = (): string => `copied ${hex(randomBytes(8))}`;
const aes = (name = newName()): Planted => secretKey('aes', randomBytes(32), { ...named(name), ...AES });
const ec = (): Planted => plantedKey(ecPair('P-256'), { ...named(newName()), sign: true });

export function deviceConformance({ name, make }: { name: string; make(): Promise<DevicePair> }): void {
  describe(`the device cloner of ${name}`, () => {
    let pair: DevicePair;
    let domain: SoftwareDomain;
    /** The domain key in the target. */
    let domainKey: Handle;
    let serial: string;

    beforeAll(async () => {
      pair = await make();
      domain = await SoftwareDomain.installIn(pair.source);
      domainKey = (await domain.copyInto(pair.target)).handle;
      ({ serial } = await pair.source.describe());
    });
    afterAll(() => pair?.remove());

    const plant = async (...planted: Planted[]): Promise<Handle[]> => [...(await domain.plant(pair.source, planted))];
    const count = async (): Promise<number> => (await pair.target.inventory()).length;
    const copy = (items: readonly DeviceItem[], source = serial): Promise<readonly DeviceOutcome[]> =>
      pair.target.cloneNative({ domainKey, source, items });
    const codes = (outcomes: readonly DeviceOutcome[]): string[] =>
      outcomes.map((one) => ('code' in one ? one.code : 'made'));

    /** The object as a manifest says it. */
    async function itemOf(handle: Handle): Promise<DeviceItem> {
      const [seen] = (await pair.source.read([handle])) as [ObservedObject];
      const { objectClass, keyType, sizeBits, attributes, publicHalf } = seen;
      const [vectors = []] = await pair.source.makeVectors(domain.handle, [handle]);
      return {
        objectClass: objectClass as DeviceItem['objectClass'],
        ...(keyType === undefined || keyType === 'unsupported' ? {} : { keyType }),
        sizeBits,
        attributes,
        ...(publicHalf === undefined ? {} : { publicHalf }),
        ...(vectors.length === 0 ? {} : { vectors }),
      };
    }

    async function shows(item: DeviceItem, outcome: DeviceOutcome | undefined): Promise<boolean> {
      if (outcome === undefined || 'code' in outcome) return false;
      const [seen] = await pair.target.read([outcome.handle], [item.publicHalf]);
      const [proof] = await pair.target.prove(domainKey, [{ ...item, handle: outcome.handle, isClone: true }]);
      return seen !== undefined && differencesOf(item, seen).length === 0 && proof?.proved === true;
    }

    const forget = async (outcomes: readonly DeviceOutcome[]): Promise<void> => {
      const handles = outcomes.flatMap((one) => ('handle' in one ? one.handle : []));
      expect(await pair.target.destroy(handles)).toEqual([]);
    };

    it('gives out no blob, and takes none in', async () => {
      const [handle] = await plant(aes());
      const { cloning } = await pair.source.describe();
      const { handle: dataKey } = await pair.source.generateDataKey(domain.handle);
      const aad = Buffer.from('a place');
      expect([cloning?.shape, cloning?.domain.length]).toEqual(['device', 32]);
      expect(await pair.source.takeNative({ dataKey, items: [{ handle: handle!, aad }] })).toMatchObject([
        { reason: 'not-wrappable' },
      ]);
      const item = { ...(await itemOf(handle!)), ciphertext: aad, aad };
      expect(await pair.source.putNative({ dataKey, items: [item] })).toMatchObject({
        failure: { code: 'NATIVE_UNAVAILABLE' },
      });
      await pair.source.forget([dataKey]);
    });

    it('names its cloning domain alike in two partitions of it', async () => {
      const [here, there] = await Promise.all([pair.source.describe(), pair.target.describe()]);
      expect(here.cloning?.domain).toEqual(there.cloning?.domain);
    });

    it('copies objects, equal in every attribute and in their value, and nothing beside them', async () => {
      const handles = await plant(aes(), ec(), aes());
      const items = [await itemOf(handles[0]!), await itemOf(handles[1]!)];
      const before = await count();
      const outcomes = await copy(items);
      expect(await Promise.all(items.map((item, index) => shows(item, outcomes[index])))).toEqual([true, true]);
      expect((await count()) - before).toBe(2);
      await forget(outcomes);
    });

    it('has an outcome of its own for an object that its source does not have', async () => {
      const [gone, there] = await plant(aes(), aes());
      const items = [await itemOf(gone!), await itemOf(there!)];
      await pair.source.destroy([gone!]);
      const outcomes = await copy(items);
      expect(codes(outcomes)).toEqual(['NATIVE_NOT_CLONED', 'made']);
      await forget(outcomes);
    });

    it('leaves nothing of an object that differs from its item', async () => {
      const [handle] = await plant(aes());
      const item = await itemOf(handle!);
      const before = await count();
      const { attributes } = item;
      for (const [what, said] of [
        ['an id', { ...item, attributes: { ...attributes, id: Buffer.from('another') } }],
        ['a use', { ...item, attributes: { ...attributes, wrap: attributes.wrap !== true } }],
        ['a way out', { ...item, attributes: { ...attributes, extractable: attributes.extractable !== true } }],
        ['a history', { ...item, attributes: { ...attributes, local: attributes.local !== true } }],
        ['a type', { ...item, keyType: 'generic-secret' }],
      ] as const satisfies readonly (readonly [string, DeviceItem])[])
        expect([what, codes(await copy([said])), await count()]).toEqual([what, ['NATIVE_MISMATCH'], before]);
    });

    it('gives each of several objects of one name its own value', async () => {
      const name = newName();
      const handles = await plant(aes(name), aes(name), aes(name));
      const items = await Promise.all(handles.map(itemOf));
      const before = await count();
      const some = await copy(items.slice(1));
      expect(await Promise.all(items.slice(1).map((item, index) => shows(item, some[index])))).toEqual([true, true]);
      // The third was asked for by nobody.
      expect((await count()) - before).toBe(2);
      await forget(some);
    });

    it('makes no second copy of a repeat', async () => {
      const [handle] = await plant(aes());
      const item = await itemOf(handle!);
      const first = await copy([item]);
      const before = await count();
      expect([codes(await copy([item])), await count()]).toEqual([['NATIVE_NOT_CLONED'], before]);
      await forget(first);
    });

    it('gives an object that is here the attributes of its item, whether its source is reached or not', async () => {
      const [handle] = await plant(aes());
      const item = await itemOf(handle!);
      const [made] = await copy([item]);
      const replaces = (made as { handle: Handle }).handle;
      const label = Buffer.from(newName());
      const changed = { ...item, replaces, attributes: { ...item.attributes, label, wrap: true } };
      pair.reach(false);
      const outcomes = await copy([changed]);
      pair.reach(true);
      expect([outcomes, await shows(changed, outcomes[0])]).toEqual([[{ handle: replaces }], true]);
      await forget(outcomes);
    });

    it('changes nothing while its client does not reach the source, and says so of each object', async () => {
      const handles = await plant(aes(), ec());
      const items = await Promise.all(handles.map(itemOf));
      const before = await count();
      pair.reach(false);
      expect(codes(await copy(items))).toEqual(['NATIVE_SOURCE_UNREACHED', 'NATIVE_SOURCE_UNREACHED']);
      pair.reach(true);
      expect(await count()).toBe(before);
    });

    it('asks every partition that its client sees, whichever the manifest names', async () => {
      const [handle] = await plant(aes());
      const outcomes = await copy([await itemOf(handle!)], 'a partition that nobody sees');
      expect(codes(outcomes)).toEqual(['made']);
      await forget(outcomes);
    });

    it('is refused by a device of another cloning domain, before anything is changed', async () => {
      const [handle] = await plant(aes());
      const item = await itemOf(handle!);
      const before = await count();
      pair.estrange(true);
      expect(codes(await copy([item]))).toEqual(['CLONING_DOMAIN_OTHER']);
      pair.estrange(false);
      expect(await count()).toBe(before);
    });
  });
}
