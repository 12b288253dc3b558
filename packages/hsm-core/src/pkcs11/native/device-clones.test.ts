/** The judgement behind a device that copies: what has arrived, what fits, and what may be destroyed. */
import { partialCryptoki } from '@antipode/cryptoki/testing';
import { expect, it } from 'vitest';
import type { Attributes } from '../../model/attributes.ts';
import type { Handle, ObservedObject } from '../../model/object.ts';
import type { DeviceCloner, DeviceMove } from '../../provider/device-cloner.ts';
import type { DeviceItem } from '../../provider/native-cloner.ts';
import { soundSession } from '../../testing/sound-session.ts';
import { DeviceClones } from './device-clones.ts';

type Shown = Omit<ObservedObject, 'handle' | 'readDigest'>;

const attributes = (label: string): Attributes => ({ label: Buffer.from(label), extractable: false, local: true });
const key = (label: string, more: Attributes = {}): Shown & DeviceItem => ({
  objectClass: 'secret-key',
  keyType: 'aes',
  sizeBits: 256,
  attributes: { ...attributes(label), ...more },
});
const name = (label: string) => ({ objectClass: 'secret-key' as const, label });

interface Device {
  /** Objects that are there after the call, and were not before. */
  readonly arrives?: readonly Shown[];
  readonly move?: Partial<DeviceMove>;
  /** Is aborted while the devices copy. */
  readonly ends?: AbortController;
}

/** Sources that answer in their order, and a token with one object of somebody else. */
function clones(devices: Readonly<Record<string, Device>>) {
  const objects = new Map<Handle, Shown>([[1n, key('of somebody else')]]);
  const destroyed: Handle[] = [];
  const asked: string[] = [];
  const cryptoki = partialCryptoki({
    find: () => [...objects.keys()],
    destroy: (_session, handle) => destroyed.push(handle) > 0,
  });
  const cloner: DeviceCloner = {
    shape: 'device',
    kind: 'lying',
    domain: async () => new Uint8Array(32),
    sources: Object.keys(devices),
    clone: async (serial, items) => {
      asked.push(serial);
      const { arrives = [], move = {}, ends } = devices[serial]!;
      for (const object of arrives) objects.set(BigInt(objects.size + 1), object);
      ends?.abort();
      return { refusals: items.map(() => undefined), brought: [], ...move };
    },
  };
  const made = new DeviceClones(soundSession(cryptoki), {
    cloner,
    read: (handle) => {
      const one = objects.get(handle);
      return one && { ...one, handle, readDigest: '' };
    },
    shows: async (_domainKey, item, handle) => item.vectors === undefined || handle === 3n,
  });
  const copy = (items: readonly DeviceItem[], source = '0a') => made.clone({ domainKey: 9n, source, items });
  return { copy, made, destroyed, asked };
}

it('asks the source of the manifest first, whatever zeros its serial number has, and the others for the rest', async () => {
  const { copy, asked } = clones({ b: { arrives: [key('y')] }, a: { arrives: [key('x')] }, c: {} });
  expect(await copy([key('x'), key('y')])).toEqual([{ handle: 2n }, { handle: 3n }]);
  expect(asked).toEqual(['a', 'b']);
});

it('tells the reason of the source that the manifest names', async () => {
  const refusals = [{ code: 'NATIVE_SOURCE_UNREACHED' as const, returnValue: 'PARTITION_NOT_FOUND' }];
  const { copy } = clones({ a: { move: { refusals } }, b: {} });
  expect(await copy([key('x')])).toEqual(refusals);
});

it('reaches nothing where no source is named', async () => {
  expect(await clones({}).copy([key('x')])).toEqual([{ code: 'NATIVE_SOURCE_UNREACHED' }]);
});

it('does not count as copied what did not arrive', async () => {
  const { copy } = clones({ a: { move: { brought: [name('x')] } } });
  expect(await copy([key('x')])).toEqual([{ code: 'NATIVE_NOT_CLONED' }]);
});

it('keeps what fits, even where the device does not say that it has brought it', async () => {
  const { copy, destroyed } = clones({ a: { arrives: [key('x')] } });
  expect([await copy([key('x')]), destroyed]).toEqual([[{ handle: 2n }], []]);
});

it.each<[string, Shown, readonly Handle[]]>([
  ['may wrap', key('x', { wrap: true }), [2n]],
  ['can be extracted', key('x', { extractable: true }), [2n]],
  ['is of another type', { ...key('x'), keyType: 'generic-secret' }, [2n]],
  ['has another size', { ...key('x'), sizeBits: 128 }, [2n]],
  ['cannot be read', { ...key('x'), isPartlyRead: true }, [2n]],
])('destroys a copy that %s', async (_how, arrived, expected) => {
  const { copy, destroyed } = clones({ a: { arrives: [arrived], move: { brought: [name('x')] } } });
  expect([await copy([key('x')]), destroyed]).toEqual([[{ code: 'NATIVE_MISMATCH' }], expected]);
});

it('destroys nothing that the device has not surely brought', async () => {
  const { copy, destroyed } = clones({ a: { arrives: [key('x', { wrap: true })] } });
  expect([await copy([key('x')]), destroyed]).toEqual([[{ code: 'NATIVE_MISMATCH' }], []]);
});

it('destroys neither of two where somebody made one of that name at the same time', async () => {
  const arrives = [key('x', { wrap: true }), key('x', { verify: true })];
  const { copy, destroyed } = clones({ a: { arrives, move: { brought: [name('x')] } } });
  expect([await copy([key('x')]), destroyed]).toEqual([[{ code: 'NATIVE_MISMATCH' }], []]);
});

it('destroys a copy that nobody has asked for, beside one that fits', async () => {
  const move = { brought: [name('x'), name('x')] };
  const { copy, destroyed } = clones({ a: { arrives: [key('x', { wrap: true }), key('x')], move } });
  expect([await copy([key('x')]), destroyed]).toEqual([[{ handle: 3n }], [2n]]);
});

it('gives an item the one of several alike that shows its value', async () => {
  const vectors = [{ use: 'encrypt' as const, mechanism: 1, nonce: new Uint8Array(16), result: new Uint8Array(32) }];
  const { copy, destroyed } = clones({
    a: { arrives: [key('x'), key('x')], move: { brought: [name('x'), name('x')] } },
  });
  expect([await copy([{ ...key('x'), vectors }]), destroyed]).toEqual([[{ handle: 3n }], [2n]]);
});

it('does not ask a second source for a copy that differs', async () => {
  const { copy, asked } = clones({ a: { arrives: [key('x', { wrap: true })] }, b: { arrives: [key('x')] } });
  expect([await copy([key('x')]), asked]).toEqual([[{ code: 'NATIVE_MISMATCH' }], ['a']]);
});

it('asks no device without a source, and changes what is here', async () => {
  const { made, asked } = clones({ a: { arrives: [key('x')] } });
  expect(await made.clone({ domainKey: 9n, items: [key('x')] })).toEqual([{ code: 'NATIVE_SOURCE_UNREACHED' }]);
  expect(asked).toEqual([]);
});

it('compares what has arrived when it is ended, says nothing of the rest, and asks no other source', async () => {
  const ending = new AbortController();
  const { made, asked, destroyed } = clones({
    a: { arrives: [key('x'), key('y', { wrap: true })], ends: ending },
    b: { arrives: [key('z')] },
  });
  const items = [key('x'), key('y'), key('z')];
  expect(await made.clone({ domainKey: 9n, source: 'a', items, signal: ending.signal })).toEqual([
    { handle: 2n },
    { code: 'NATIVE_MISMATCH' },
    { code: 'NATIVE_SOURCE_UNREACHED', returnValue: 'ended' },
  ]);
  expect([asked, destroyed]).toEqual([['a'], []]);
});

it('copies beside the other calls, and compares within its turn', async () => {
  const { made, asked } = clones({ a: { arrives: [key('x')] } });
  const told: string[] = [];
  const meanwhile = async <T>(copying: () => Promise<T>): Promise<T> => {
    told.push(`leaves after ${asked.length}`);
    const result = await copying();
    told.push(`is back after ${asked.length}`);
    return result;
  };
  expect(await made.clone({ domainKey: 9n, source: 'a', items: [key('x')], meanwhile })).toEqual([{ handle: 2n }]);
  expect(told).toEqual(['leaves after 0', 'is back after 1']);
});
