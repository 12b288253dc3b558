import { bytesEqual, hex, seededPrng, sha256Hex } from '@antipode/runtime';
import { FakeClock } from '@antipode/runtime/testing';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { differs } from '../capture/entry.ts';
import type { Attributes } from '../model/attributes.ts';
import { type Entry, entryDigest } from '../model/generation.ts';
import type { ObservedObject } from '../model/object.ts';
import { SimulatedHsm } from '../testing/index.ts';
import {
  aadOf,
  type Examined,
  entryRecognitionKey,
  examine,
  hasValueOf,
  observedDigest,
  pair,
  recognitionKey,
} from './recognise.ts';

const bytes = (text: string): Uint8Array => Buffer.from(text);

function secret(handle: bigint, { value, label, id }: { value: string; label: string; id?: string }): Examined {
  const attributes: Attributes = { label: bytes(label), ...(id === undefined ? {} : { id: bytes(id) }) };
  const object: ObservedObject = {
    handle,
    objectClass: 'secret-key',
    keyType: 'aes',
    sizeBits: 256,
    attributes,
    readDigest: `${handle}`,
  };
  return { object, blob: bytes(value) };
}

function entry(objectId: string, { value, label, id }: { value: string; label: string; id?: string }): Entry {
  return {
    objectId,
    objectClass: 'secret-key',
    keyType: 'aes',
    sizeBits: 256,
    attributes: { label: bytes(label), ...(id === undefined ? {} : { id: bytes(id) }) },
    blobSha256: sha256Hex(bytes(value)),
    blobSize: value.length,
  };
}

describe('an object is recognised', () => {
  it('by its value, whatever its names are', () => {
    const { matched } = pair(
      [secret(1n, { value: 'x', label: 'renamed' })],
      [entry('01', { value: 'x', label: 'old' })],
    );
    expect(matched.get(1n)?.objectId).toBe('01');
  });

  it('never as a key of another type that has its value', () => {
    const generic: Entry = { ...entry('01', { value: 'x', label: 'same' }), keyType: 'generic-secret' };
    const one = secret(1n, { value: 'x', label: 'same' });
    expect([pair([one], [generic]).matched.size, hasValueOf(one, generic)]).toEqual([0, false]);
    expect(pair([one], [generic, entry('02', { value: 'x', label: 'same' })]).matched.get(1n)?.objectId).toBe('02');
  });

  it('never by its names', () => {
    const { matched, unmatched, absent } = pair(
      [secret(1n, { value: 'y', label: 'same', id: 'i' })],
      [entry('01', { value: 'x', label: 'same', id: 'i' })],
    );
    expect([matched.size, unmatched.length, absent.length]).toEqual([0, 1, 1]);
  });

  it.each([
    ['label', { label: 'a' }, { label: 'b' }],
    ['id', { label: 'a', id: 'i' }, { label: 'a', id: 'j' }],
  ])('among several of one value by its %s first, wherever it stands', (_name, one, other) => {
    const entries = [entry('01', { value: 'x', ...one }), entry('02', { value: 'x', ...other })];
    const seen = [secret(1n, { value: 'x', ...other }), secret(2n, { value: 'x', ...one })];
    for (const examined of [seen, seen.toReversed()]) {
      const { matched } = pair(examined, entries);
      expect([matched.get(1n)?.objectId, matched.get(2n)?.objectId]).toEqual(['02', '01']);
    }
  });

  it('among several of one value and one name by all of its attributes first, wherever it stands', () => {
    const names = { value: 'x', label: 'a' };
    const uses = (attributes: Attributes, sign: boolean): Attributes => ({ ...attributes, sign, encrypt: !sign });
    const entries = [entry('01', names), entry('02', names)].map((one, index) => ({
      ...one,
      attributes: uses(one.attributes, index === 0),
    }));
    const seen = [secret(1n, names), secret(2n, names)].map((one, index) => ({
      ...one,
      object: { ...one.object, attributes: uses(one.object.attributes, index === 1) },
    }));
    for (const examined of [seen, seen.toReversed()]) {
      const { matched } = pair(examined, entries);
      expect([matched.get(1n)?.objectId, matched.get(2n)?.objectId]).toEqual(['02', '01']);
    }
  });

  it('only once: a copy too many is left over', () => {
    const copies = [secret(1n, { value: 'x', label: 'a' }), secret(2n, { value: 'x', label: 'a' })];
    const { matched, unmatched } = pair(copies, [entry('01', { value: 'x', label: 'a' })]);
    expect([...matched.keys()]).toEqual([1n]);
    expect(unmatched.map(({ object }) => object.handle)).toEqual([2n]);
  });

  it('not at all when it shows nothing to go by', () => {
    const { blob: _blob, ...half } = secret(1n, { value: 'x', label: 'a' });
    expect(recognitionKey(half)).toBeUndefined();
    expect(pair([half], [entry('01', { value: 'x', label: 'a' })]).unmatched).toEqual([half]);
  });
});

it('pairs each object and each entry at most once, leaves none out, and only equal values', () => {
  const one = fc.record({ value: fc.constantFrom('x', 'y', 'z'), label: fc.constantFrom('a', 'b') });
  fc.assert(
    fc.property(fc.array(one, { maxLength: 8 }), fc.array(one, { maxLength: 8 }), (objects, kept) => {
      const examined = objects.map((object, index) => secret(BigInt(index), object));
      const entries = kept.map((known, index) => entry(`0${index}`, known));
      const { matched, unmatched, absent } = pair(examined, entries);
      expect(matched.size + unmatched.length).toBe(objects.length);
      expect(matched.size + absent.length).toBe(kept.length);
      expect(new Set([...matched.values()].map(({ objectId }) => objectId)).size).toBe(matched.size);
      for (const [handle, known] of matched)
        expect(recognitionKey(examined[Number(handle)]!)).toBe(entryRecognitionKey(known));
      // Nothing that could still be paired is left on both sides.
      const free = new Set(absent.map(entryRecognitionKey));
      for (const left of unmatched) expect(free.has(recognitionKey(left)!)).toBe(false);
    }),
  );
});

describe('what a partition shows of an object', () => {
  const hsm = new SimulatedHsm({ serial: 'a', prng: seededPrng('recognise') });
  const provider = hsm.open();
  hsm.addSecret('secret');
  hsm.addEcPair('pair');
  hsm.addCertificate('certificate');
  hsm.addData('data', bytes('value'));
  hsm.addSecret('fixed', { extractable: false });

  async function look() {
    const domainKey = await provider.generateDomainKey();
    const objects = await provider.inventory();
    return { domainKey, examined: await examine(provider, { clock: new FakeClock(), domainKey, objects }) };
  }

  it('is a blob for secrets, a tag for data, a refusal for what is not given, and nothing more than needed', async () => {
    const { examined } = await look();
    expect(
      examined.map(({ object, blob, valueTag, refusal }) => [
        Buffer.from(object.attributes.label ?? []).toString(),
        blob !== undefined,
        valueTag !== undefined,
        refusal,
      ]),
    ).toEqual([
      ['secret', true, false, undefined],
      ['pair', false, false, undefined],
      ['pair', false, false, undefined],
      ['certificate', false, false, undefined],
      ['data', false, true, undefined],
      ['fixed', false, false, 'unextractable'],
    ]);
    expect(new Set(examined.map(recognitionKey)).size).toBe(6);
  });

  it('has the digest of its entry, and another when a named attribute or the value changes', async () => {
    const { examined } = await look();
    for (const one of examined.filter(({ refusal }) => refusal === undefined)) {
      const { object, blob, valueTag } = one;
      const { handle: _handle, readDigest: _digest, keyType, ...shown } = object;
      const known = {
        ...shown,
        objectId: '01',
        ...(keyType === undefined || keyType === 'unsupported' ? {} : { keyType }),
        blobSize: 0,
        ...(blob === undefined ? {} : { blobSha256: sha256Hex(blob) }),
        ...(valueTag === undefined ? {} : { valueTag }),
      } as Entry;
      const digest = (change: Partial<Examined> = {}): string => hex(observedDigest(known, { ...one, ...change }));
      const withAttributes = (attributes: Attributes): string => digest({ object: { ...object, attributes } });
      expect(digest()).toBe(hex(entryDigest(known)));
      expect(withAttributes({ ...object.attributes, label: bytes('other') })).not.toBe(digest());
      expect(withAttributes({ ...object.attributes, copyable: false })).toBe(digest());
      // Of what goes without saying, silence says the same; of what restricts, it does not.
      const naming = (attributes: Attributes): string[] => {
        const named = { ...known, attributes: { ...known.attributes, ...attributes } };
        return [observedDigest(named, one), entryDigest(named)].map(hex);
      };
      expect(new Set(naming({ copyable: true, destroyable: true })).size).toBe(1);
      expect(new Set(naming({ copyable: false })).size).toBe(2);
      if (object.objectClass === 'secret-key') expect(digest({ blob: bytes('other') })).not.toBe(digest());
      if (object.objectClass === 'data') expect(digest({ valueTag: bytes('other') })).not.toBe(digest());
      if (object.objectClass === 'public-key')
        expect(digest({ object: { ...object, publicHalf: bytes('other') } })).not.toBe(digest());
    }
  });
});

describe('a use that only RSA keys have', () => {
  const shown = (keyType: 'ec' | 'rsa', signRecover: boolean): Examined => {
    const { object, ...rest } = secret(1n, { value: 'key', label: 'same' });
    const attributes = { ...object.attributes, signRecover };
    return { ...rest, object: { ...object, objectClass: 'private-key', keyType, attributes } };
  };
  const held = (keyType: 'ec' | 'rsa'): Entry => ({
    ...entry('01', { value: 'key', label: 'same' }),
    objectClass: 'private-key',
    keyType,
    attributes: { ...entry('01', { value: 'key', label: 'same' }).attributes, signRecover: true },
  });

  it.each([
    ['decides nothing: NSS 3.132 drops it from EC keys', 'ec', true],
    ['counts where an RSA key loses it', 'rsa', false],
  ] as const)('%s', (_which, keyType, isSame) => {
    const known = held(keyType);
    for (const signRecover of [true, false])
      expect(bytesEqual(observedDigest(known, shown(keyType, signRecover)), entryDigest(known))).toBe(
        signRecover || isSame,
      );
    expect(differs(shown(keyType, false).object, known)).toBe(!isSame);
  });
});

it('binds sealed data to its group and its object', () => {
  const aads = [aadOf('a', '01'), aadOf('a', '02'), aadOf('b', '01'), aadOf('a\0', '01')];
  for (const [index, aad] of aads.entries())
    for (const other of aads.slice(index + 1)) expect(bytesEqual(aad, other)).toBe(false);
});

describe('a secret that is sealed exactly', () => {
  const tag = (text: string): Uint8Array => bytes(`tag of ${text}`);
  const exactly = (objectId: string, value: string): Entry => ({
    ...entry(objectId, { value: `random ${objectId}`, label: 'same' }),
    keyType: 'generic-secret',
    dataKeyId: 'd0',
    valueTag: tag(value),
  });
  const shown = (handle: bigint, value: string, padded = value): Examined => {
    const one = secret(handle, { value: padded, label: 'same' });
    return { ...one, object: { ...one.object, keyType: 'generic-secret' }, valueTag: tag(value) };
  };

  it('is recognised by its tag, and one of unknown length that was wrapped by its blob', () => {
    const wrapped: Entry = { ...entry('01', { value: 'ab00', label: 'same' }), keyType: 'generic-secret' };
    const { matched } = pair([shown(1n, 'ab00'), shown(2n, 'ab', 'ab00')], [exactly('02', 'ab'), wrapped]);
    expect([matched.get(1n)?.objectId, matched.get(2n)?.objectId]).toEqual(['01', '02']);
    expect(bytesEqual(observedDigest(wrapped, shown(1n, 'ab00')), entryDigest(wrapped))).toBe(true);
  });

  it('has the same digest however it is sealed, and another one with another value', () => {
    const one = exactly('01', 'ab');
    expect(bytesEqual(entryDigest(one), entryDigest({ ...one, blobSha256: 'ff'.repeat(32) }))).toBe(true);
    expect(bytesEqual(observedDigest(one, shown(1n, 'ab', 'ab00')), entryDigest(one))).toBe(true);
    expect(bytesEqual(observedDigest(one, shown(1n, 'ab00')), entryDigest(one))).toBe(false);
  });
});
