import { X509Certificate } from 'node:crypto';
import { runToEnd } from '@antipode/runtime';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Entry } from '../model/generation.ts';
import { CERTIFICATE } from '../testing/certificate.ts';
import { SimulatedGroup, type SimulatedMember } from '../testing/index.ts';
import { countSharedNames, findingSharedNames } from './shared-names.ts';

let group: SimulatedGroup;
let a: SimulatedMember;

beforeEach(async () => {
  const made = await SimulatedGroup.make('a');
  group = made.group;
  [a] = made.members as [SimulatedMember];
});

const bytes = (text: string) => new Uint8Array(Buffer.from(text));
const found = (entries: readonly Entry[]) => runToEnd(findingSharedNames(entries));

/** The shared names of each captured object, as `class label: names`. */
async function captured(): Promise<string[]> {
  const { generation } = await group.captured(a);
  const shared = found(generation.entries);
  return generation.entries
    .flatMap(({ objectId, objectClass, attributes: { label } }) => {
      const names = shared.get(objectId);
      return names === undefined ? [] : [`${objectClass} ${Buffer.from(label ?? []).toString()}: ${names.join(', ')}`];
    })
    .sort();
}

describe('a name that two objects of a generation have', () => {
  it('is shared where one CKA_ID stands for two keys', async () => {
    a.hsm.addSecret('one', { id: bytes('7') });
    a.hsm.addSecret('two', { id: bytes('7') });
    a.hsm.addSecret('three', { id: bytes('8') });
    expect(await captured()).toEqual(['secret-key one: id', 'secret-key two: id']);
  });

  it('is shared where one label stands for two keys, whatever their CKA_IDs are', async () => {
    a.hsm.addSecret('pay', { id: bytes('7') });
    a.hsm.addSecret('pay', { id: bytes('8') });
    expect(await captured()).toEqual(['secret-key pay: label', 'secret-key pay: label']);
    const { entries } = group.newest!.generation;
    expect(countSharedNames(found(entries))).toEqual({ id: 0, label: 2, pair: 0 });
  });

  it('is not shared by a key pair, by two copies of one value, or by objects without names', async () => {
    a.hsm.addEcPair('tls');
    const copied = a.hsm.addSecret('copy');
    a.hsm.addSecret('copy').value = copied.value!;
    for (let count = 0; count < 2; count += 1) a.hsm.addSecret('', { id: new Uint8Array() });
    expect(await captured()).toEqual([]);
  });

  it('is shared by a public key that belongs to another private key, beside the right one or alone', async () => {
    a.hsm.addEcPair('tls');
    a.hsm.addEcPair('other');
    const [tls] = a.hsm.labelled('tls');
    const [stray] = a.hsm.labelled('other');
    stray!.attributes.id = tls!.attributes.id!;
    expect(await captured()).toEqual(['public-key other: id, pair', 'public-key tls: id']);
    a.hsm.remove(tls!);
    expect(await captured()).toEqual(['public-key other: pair']);
  });

  it('counts for data where label and application are the same', async () => {
    a.hsm.addData('settings', bytes('one'));
    a.hsm.addData('settings', bytes('two'), { application: bytes('another') });
    expect(await captured()).toEqual([]);
    a.hsm.addData('settings', bytes('three'));
    expect(await captured()).toEqual(['data settings: label', 'data settings: label']);
  });
});

describe('a certificate with the CKA_ID of a private key', () => {
  it('belongs to it or to another one, by the public key inside', async () => {
    const publicKey = new Uint8Array(
      new X509Certificate(CERTIFICATE.value).publicKey.export({ type: 'spki', format: 'der' }),
    );
    const ofIt = (objectId: string, publicHalf: Uint8Array): Entry => ({
      objectId,
      objectClass: 'private-key',
      keyType: 'ec',
      sizeBits: 256,
      attributes: { id: bytes('7') },
      publicHalf,
      blobSha256: '00',
      blobSize: 1,
    });
    const its: Entry = {
      objectId: 'cert',
      objectClass: 'certificate',
      sizeBits: 0,
      attributes: { id: bytes('7'), value: CERTIFICATE.value },
      blobSize: 0,
    };
    const other = a.hsm.addEcPair('other').publicHalf!;
    expect(found([ofIt('key', publicKey), its]).size).toBe(0);
    expect([...found([ofIt('key', other), its])]).toEqual([['cert', ['pair']]]);
    // One of two private keys is its own.
    expect(found([ofIt('key', publicKey), ofIt('another', other), its]).get('cert')).toBeUndefined();
    // Anything may be in a certificate object.
    const attributes = { id: bytes('7'), value: bytes('not a certificate') };
    expect(found([ofIt('key', other), { ...its, attributes }]).size).toBe(0);
  });
});
