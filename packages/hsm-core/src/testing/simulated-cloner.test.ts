import { seededPrng, sha256 } from '@antipode/runtime';
import { describe, expect, it } from 'vitest';
import type { NativeItem } from '../provider/provider.ts';
import { simulatedBlobOf } from './simulated-cloner.ts';
import { SimulatedHsm, type StoredObject } from './simulated-hsm.ts';

const AAD = Buffer.from('a place');
const CLONING_KEY = sha256(Buffer.from('one cloning domain'));

/** A token, and a blob that somebody with the data key has made of these objects. */
async function received(objects: readonly StoredObject[], { cloningKey = CLONING_KEY } = {}) {
  const hsm = new SimulatedHsm({ serial: 'a', prng: seededPrng('a') });
  hsm.cloningKey = CLONING_KEY;
  const provider = hsm.open();
  const { handle: dataKey } = await provider.lendDomainKey();
  const ciphertext = await provider.encryptFor(dataKey, simulatedBlobOf(cloningKey, objects), AAD);
  const put = (said: StoredObject) => {
    const { objectClass, keyType, sizeBits, attributes } = said;
    const item = { objectClass, keyType, sizeBits, attributes, ciphertext, aad: AAD } as NativeItem;
    return provider.putNative({ dataKey, items: [item] });
  };
  return { hsm, put };
}

function key(change: Partial<StoredObject> = {}): StoredObject {
  const source = new SimulatedHsm({ serial: 'source', prng: seededPrng('source') });
  return { ...source.addSecret('payments', { extractable: false, neverExtractable: true }), ...change };
}

describe('a native blob', () => {
  it('makes the object that the manifest names, with its history', async () => {
    const { hsm, put } = await received([key()]);
    expect(await put(key())).toMatchObject({ handles: [expect.any(BigInt)] });
    expect(hsm.objects).toMatchObject([
      { attributes: { extractable: false, neverExtractable: true, local: true, alwaysSensitive: true } },
    ]);
  });

  it.each([
    ['CLONING_DOMAIN_OTHER', [key()], { cloningKey: sha256(Buffer.from('another cloning domain')) }],
    ['BLOB_INVALID', [key(), key()], {}],
    ['BLOB_INVALID', [], {}],
    ['NATIVE_MISMATCH', [key({ attributes: { ...key().attributes, extractable: true } })], {}],
    ['NATIVE_MISMATCH', [key({ attributes: { ...key().attributes, wrap: true } })], {}],
    ['NATIVE_MISMATCH', [key({ attributes: { ...key().attributes, neverExtractable: false } })], {}],
    ['NATIVE_MISMATCH', [key({ keyType: 'generic-secret' })], {}],
    ['NATIVE_MISMATCH', [key({ sizeBits: 128 })], {}],
  ] as const)('is refused as %s, and nothing is left of it', async (code, objects, domain) => {
    const { hsm, put } = await received(objects, domain);
    expect(await put(key())).toEqual({ handles: [], failure: { index: 0, code } });
    expect(hsm.objects).toEqual([]);
  });

  it('is refused by a token that clones nothing', async () => {
    const { hsm, put } = await received([key()]);
    hsm.cloningKey = undefined;
    expect(await put(key())).toMatchObject({ handles: [], failure: { code: 'NATIVE_UNAVAILABLE' } });
  });
});
