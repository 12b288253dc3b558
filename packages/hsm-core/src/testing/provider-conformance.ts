/**
 * Every promise of provider.ts, tried on whatever implements it. A device names what it lacks: where the contract says what
 * happens then, that is what is tried; where it cannot be tried at all, it is left out, and the titles that are left out
 * are asserted, so that nothing goes missing without a word.
 *
 * Keys of known value come into the partition under a domain key that the test knows (software-domain.ts), so that the
 * token's answers are compared with software and not with the token.
 */
import { createPublicKey, generateKeyPairSync, type KeyObject, randomBytes, verify } from 'node:crypto';
import { hex, sha256 } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Attributes } from '../model/attributes.ts';
import { CURVES } from '../model/curve.ts';
import type { Handle, ObservedObject } from '../model/object.ts';
import { curveIn, ecPublicHalf, pointOf } from '../model/public-half.ts';
import type { HsmProvider, ProofItem } from '../provider/provider.ts';
import { CERTIFICATE } from './certificate.ts';
import {
  all,
  deliver,
  encryptInSoftware,
  named,
  type Planted,
  plantedKey,
  SoftwareDomain,
  secretKey,
} from './software-domain.ts';

/**
 * `rsa`, `p-384`: knows no such keys. `data-objects`: keeps none. `second-key-per-id`: keeps one key of a class per CKA_ID.
 * `restrictions`: cannot forbid copies and destruction. `half-made-keys`, `full-storage`: no way to bring them about.
 */
export type Lack =
  | 'rsa'
  | 'p-384'
  | 'data-objects'
  | 'second-key-per-id'
  | 'restrictions'
  | 'half-made-keys'
  | 'full-storage';

/** A fresh partition in a test's hands. */
export interface Subject {
  readonly provider: HsmProvider;
  /** Ends the process behind the provider, or what stands for it, in the middle of everything. */
  lose(): Promise<void>;
  /** Leaves every extractable key half made, as a kill in an unwrap does, and opens the partition again. */
  halve?(): Promise<HsmProvider>;
  /** Lets so many more objects fit, and no more. */
  limit?(objects: number): void;
  remove(): Promise<void>;
}

export interface ConformanceDevice {
  readonly name: string;
  readonly lacks: readonly Lack[];
  /** Titles that are left out. */
  readonly skips: readonly string[];
  make(label: string): Promise<Subject>;
}

const AES: Attributes = { encrypt: true, decrypt: true };
const ecPair = (namedCurve: 'P-256' | 'P-384'): { privateKey: KeyObject; publicKey: KeyObject } =>
  generateKeyPairSync('ec', { namedCurve });

export function providerConformance({ name, lacks, skips, make }: ConformanceDevice): void {
  const skipped: string[] = [];
  /** A promise; left out where the device lacks what it needs. */
  const promise = (title: string, work: () => Promise<void>, ...needs: readonly Lack[]): void => {
    const isLeftOut = needs.some((need) => lacks.includes(need));
    if (isLeftOut) skipped.push(title);
    it.skipIf(isLeftOut)(title, work);
  };
  const has = (what: Lack): boolean => !lacks.includes(what);

  describe(`the provider of ${name}`, () => {
    let subject: Subject;
    let other: Subject;
    let provider: HsmProvider;
    let domain: SoftwareDomain;

    beforeAll(async () => {
      subject = await make('conforms');
      other = await make('peer');
      provider = subject.provider;
      domain = await SoftwareDomain.installIn(provider);
    });

    afterAll(async () => {
      await Promise.all([subject, other].map((one) => one?.remove()));
    });

    const plant = async (...planted: Planted[]): Promise<readonly Handle[]> => domain.plant(provider, planted);
    const read = async (handle: Handle): Promise<ObservedObject> => (await provider.read([handle]))[0]!;
    const blobOf = async (handle: Handle): Promise<Uint8Array> => {
      const [outcome] = await provider.wrap(domain.handle, [handle]);
      if (outcome === undefined || !('blob' in outcome)) throw new Error('the key was not wrapped');
      return outcome.blob;
    };
    const countObjects = async (): Promise<number> => (await provider.inventory()).length;

    // --- the partition itself ---

    promise('says who it is, the same at every time', async () => {
      const description = await provider.describe();
      for (const text of [description.serial, description.label, description.model]) expect(text).not.toBe('');
      expect(await provider.describe()).toEqual(description);
      expect((await other.provider.describe()).serial).not.toBe(description.serial);
    });

    promise('makes an identity that signs, is found by its record, and never leaves', async () => {
      const ckaId = new Uint8Array(randomBytes(16));
      const { publicHalf } = await provider.generateIdentity(ckaId);
      const own = await provider.findIdentity({ ckaId, publicHalf });
      // Its public half is in the journal: in the token it would tell the id to sessions that never logged in.
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

    // --- the exchange ---

    promise('brings one domain key to two partitions, its birthplace included, under one check tag', async () => {
      const key = await provider.generateDomainKey();
      const tags: string[] = [];
      for (const receiver of [provider, other.provider]) {
        const [ours, theirs] = [await provider.generateEphemeral(), await receiver.generateEphemeral()];
        const sending = { ephemeral: ours.handle, peerPoint: theirs.point, use: 'wrap' } as const;
        const receiving = { ephemeral: theirs.handle, peerPoint: ours.point, use: 'unwrap' } as const;
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
      // Those that are gone are no error.
      await provider.forget([key]);
      expect(new Set(tags).size).toBe(1);
    });

    promise('keeps a domain key to itself: no use but wrapping, and no way out', async () => {
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

    promise('destroys the domain key that proves itself, and no other object under its id', async () => {
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
    });

    promise(
      'refuses a point that is not on the curve, and a delivery that was changed, and installs nothing',
      async () => {
        const ckaId = new Uint8Array(randomBytes(16));
        const { handle: ephemeral, point } = await provider.generateEphemeral();
        const offCurve = point.map((byte, index) => (index === 64 ? byte ^ 1 : byte));
        const derive = provider.deriveExchangeKey({ ephemeral, peerPoint: offCurve, use: 'unwrap' });
        expect((await rejection(derive)).code).toBe('HSM_REFUSED');
        const { exchangeKey, wrapped } = await deliver(provider, randomBytes(32));
        const blob = wrapped.map((byte, index) => (index === 7 ? byte ^ 1 : byte));
        expect((await rejection(provider.installDomainKey({ exchangeKey, blob, ckaId, label: 'b' }))).code).toBe(
          'HSM_REFUSED',
        );
        expect(await provider.findUnder([ckaId])).toEqual([]);
      },
    );

    // --- sealing ---

    promise('wraps by RFC 5649, byte for byte, and the same every time', async () => {
      const secrets = [16, 24, 32].map((bytes) => secretKey('aes', randomBytes(bytes), named(`aes ${bytes}`)));
      secrets.push(secretKey('generic-secret', randomBytes(64), named('generic 64')));
      const handles = await plant(...secrets);
      for (let time = 0; time < 2; time += 1) {
        const outcomes = await provider.wrap(domain.handle, handles);
        expect(outcomes).toEqual(
          handles.map((handle, index) => ({ handle, blob: domain.wrap(secrets[index]!.secret) })),
        );
      }
    });

    promise('gives an outcome for each key, and an error when it is the domain key that does not wrap', async () => {
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
    });

    promise('tags bytes so that only who holds the domain key can test a guess', async () => {
      const values = [new Uint8Array(), Buffer.from('a'), randomBytes(5_000)];
      expect(await provider.tagBytes(domain.handle, values)).toEqual(values.map((value) => domain.tagOf(value)));
    });

    promise('seals a data object, each bound to its place, and makes it again', async () => {
      const dataKey = await provider.generateDataKey(domain.handle);
      const again = await provider.unwrapDataKey(domain.handle, dataKey.blob);
      const aad = Buffer.from('first');
      const value = randomBytes(5_000);
      const attributes = { label: Buffer.from('data'), application: Buffer.from('app'), private: true };
      // Sealed in software, by the format that the contract gives: iv, ciphertext, tag.
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
        expect(sealed!.valueTag).toEqual(domain.tagOf(value));
        expect(await provider.tagData(domain.handle, [handle!])).toEqual([domain.tagOf(value)]);
        const twin = { attributes, ciphertext: sealed!.ciphertext, aad };
        const [copy] = all(await provider.createData({ dataKey: again, items: [twin] }));
        const observed = await read(copy!);
        expect(observed).toMatchObject({ objectClass: 'data' });
        expect(Buffer.from(observed.attributes.label!).toString()).toBe('data');
        const proof: ProofItem = {
          handle: copy!,
          objectClass: 'data',
          sizeBits: 0,
          attributes,
          valueTag: sealed!.valueTag,
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

    // --- unsealing ---

    const kinds = (): [string, Planted, keyof Attributes][] => [
      ['AES', secretKey('aes', randomBytes(32), {}), 'encrypt'],
      ['a generic secret', secretKey('generic-secret', randomBytes(32), {}), 'sign'],
      ['EC P-256', plantedKey(ecPair('P-256'), {}), 'sign'],
      ...(has('p-384') ? [['EC P-384', plantedKey(ecPair('P-384'), {}), 'derive'] as [string, Planted, 'derive']] : []),
      ...(has('rsa')
        ? [
            ['RSA', plantedKey(generateKeyPairSync('rsa', { modulusLength: 2048 }), {}), 'decrypt'] as [
              string,
              Planted,
              'decrypt',
            ],
          ]
        : []),
    ];
    const USES = ['encrypt', 'decrypt', 'wrap', 'unwrap', 'sign', 'signRecover', 'verify', 'derive'] as const;

    promise('makes keys with exactly what they are given: what is not named is not allowed', async () => {
      for (const [kind, planted, use] of kinds()) {
        const attributes = { ...named(kind), [use]: true };
        const [handle] = await plant({ ...planted, attributes });
        // Of an agreement both points with the key's x are as good: the one that is expected is taken.
        const [{ attributes: seen, ...object }] = (await provider.read([handle!], [planted.publicHalf])) as [
          ObservedObject,
        ];
        expect(object).toMatchObject({ objectClass: planted.objectClass, keyType: planted.keyType });
        expect(seen).toMatchObject({ sensitive: true, extractable: true, ...attributes });
        const allowed = USES.filter((one) => seen[one] === true);
        expect([kind, allowed]).toEqual([kind, [use]]);
        if (planted.publicHalf !== undefined) expect(object.publicHalf).toEqual(planted.publicHalf);
      }
    });

    promise('stops a batch at the first that fails, and leaves nothing of it', async () => {
      const before = await countObjects();
      const items = ['one', 'two', 'three'].map((word) => domain.item(secretKey('aes', randomBytes(32), named(word))));
      items[1] = { ...items[1]!, blob: items[1]!.blob.map((byte, index) => (index === 3 ? byte ^ 1 : byte)) };
      const { handles, failure } = await provider.unwrap(domain.handle, items);
      expect(handles).toHaveLength(1);
      expect(failure).toMatchObject({ index: 1, code: 'BLOB_INVALID' });
      expect(await countObjects()).toBe(before + 1);
    });

    promise('says of a blob that it is invalid when it is cut, changed, or of another type', async () => {
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
    });

    promise('overwrites nothing: a second key under the id of another is another, or is refused', async () => {
      const [first, second] = [randomBytes(32), randomBytes(32)];
      const [handle] = await plant(secretKey('aes', first, { ...named('twin'), ...AES }));
      const item = domain.item(secretKey('aes', second, { ...named('twin'), ...AES }));
      const outcome = await provider.unwrap(domain.handle, [item]);
      expect(await blobOf(handle!)).toEqual(domain.wrap(first));
      if (has('second-key-per-id')) {
        expect(await blobOf(all(outcome)[0]!)).toEqual(domain.wrap(second));
        await provider.destroy(outcome.handles);
      } else expect(outcome).toMatchObject({ handles: [], failure: { index: 0, code: 'ID_TAKEN' } });
    });

    promise('makes what replaces another, beside it or in its place', async () => {
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
    });

    promise('keeps what an object forbids, or does not make it', async () => {
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

    promise('makes public keys and certificates', async () => {
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

    // --- reading ---

    promise('shows all token objects, reads each again alike, and knows those that are gone', async () => {
      const [handle, gone] = await plant(
        secretKey('aes', randomBytes(32), named('read')),
        secretKey('aes', randomBytes(32), named('read and gone')),
      );
      const objects = await provider.inventory();
      const found = objects.filter((object) => object.handle === handle || object.handle === gone);
      expect(found).toHaveLength(2);
      expect(new Set(objects.map(({ readDigest }) => readDigest)).size).toBe(objects.length);
      expect(await provider.destroy([gone!])).toEqual([]);
      // Those that are gone are no error.
      expect(await provider.destroy([gone!])).toEqual([]);
      const [again, nothing] = await provider.read([handle!, gone!]);
      expect(again).toEqual(found.find((object) => object.handle === handle));
      expect(nothing).toBeUndefined();
      expect((await provider.inventory()).some((object) => object.handle === gone)).toBe(false);
    });

    promise('tells in a later look only what has changed since, and still lists what is there', async () => {
      const [kept, changing] = await plant(
        secretKey('aes', randomBytes(32), { ...named('looked at'), ...AES }),
        secretKey('aes', randomBytes(32), { ...named('looked at later'), ...AES }),
      );
      const first = await provider.look({});
      expect([...first.handles]).toEqual(expect.arrayContaining([kept, changing]));
      expect(first.objects).toHaveLength(first.handles.length);
      await provider.destroy([changing!]);
      const [added] = await plant(secretKey('aes', randomBytes(32), { ...named('new'), ...AES }));
      const second = await provider.look({ since: first.number });
      expect(second.number).toBeGreaterThan(first.number);
      expect(second.objects.map(({ handle }) => handle)).toEqual([added]);
      expect([...second.handles]).toEqual(expect.arrayContaining([kept, added]));
      expect([...second.handles]).not.toContain(changing);
      const third = await provider.look({ handles: [kept!, changing!] });
      expect([...third.handles]).toEqual([kept]);
      expect(third.objects).toEqual(first.objects.filter(({ handle }) => handle === kept));
    });

    promise('finds the public half of a private key by its use, and believes no other', async () => {
      const own = plantedKey(ecPair('P-256'), { ...named('half'), sign: true });
      const wrong = plantedKey(ecPair('P-256'), {}).publicHalf!;
      const [handle] = await plant(own);
      for (const expected of [undefined, own.publicHalf, wrong]) {
        const [object] = await provider.read([handle!], [expected]);
        expect(object?.publicHalf).toEqual(own.publicHalf);
      }
    });

    // --- proving ---

    const proofOf = (handle: Handle, { objectClass, keyType, secret, publicHalf, attributes }: Planted): ProofItem => ({
      handle,
      objectClass,
      keyType,
      sizeBits: (publicHalf && curveIn(publicHalf)?.bits) ?? 0,
      attributes,
      blobSha256: sha256(domain.wrap(secret)),
      ...(publicHalf === undefined ? {} : { publicHalf }),
    });

    promise('proves each kind of key by use, and refuses another of the same kind in its place', async () => {
      for (const [kind, planted, use] of kinds()) {
        const attributes = { ...named(`proved ${kind}`), [use]: true };
        const [handle] = await plant({ ...planted, attributes });
        const item = proofOf(handle!, { ...planted, attributes });
        const [proof] = await provider.prove(domain.handle, [item]);
        expect([kind, proof?.checks.filter(({ outcome }) => outcome === 'failed')]).toEqual([kind, []]);
        expect([kind, proof?.proved]).toEqual([kind, true]);
        const another = kinds().find(([one]) => one === kind)![1];
        const impostor = proofOf(handle!, { ...another, attributes });
        expect([kind, (await provider.prove(domain.handle, [impostor]))[0]?.proved]).toEqual([kind, false]);
        expect(await provider.challenge(domain.handle, [handle!])).toEqual(['works']);
      }
    });

    promise('proves nothing of what is gone, and does not say of it that it refuses', async () => {
      const planted = secretKey('aes', randomBytes(32), { ...named('vanished'), ...AES });
      const [handle] = await plant(planted);
      await provider.destroy([handle!]);
      expect(await provider.prove(domain.handle, [proofOf(handle!, planted)])).toMatchObject([{ proved: false }]);
      expect(await provider.challenge(domain.handle, [handle!])).toEqual(['untried']);
    });

    promise(
      'tells a key that was left half made from one that works',
      async () => {
        const torn = await make('torn');
        try {
          const first = await SoftwareDomain.installIn(torn.provider);
          await first.plant(torn.provider, [
            secretKey('aes', randomBytes(32), { ...named('half aes'), ...AES }),
            plantedKey(ecPair('P-256'), { ...named('half ec'), sign: true }),
          ]);
          const reopened = await torn.halve!();
          const own = (await reopened.findDomainKey(first))!.handle;
          const half = (await reopened.inventory()).filter(({ attributes }) => attributes.extractable === true);
          expect(half).toHaveLength(2);
          const handles = half.map(({ handle }) => handle);
          expect(await reopened.challenge(own, handles)).toEqual(['refuses', 'refuses']);
          expect((await reopened.wrap(own, handles)).every((outcome) => !('blob' in outcome))).toBe(true);
          expect(await reopened.destroy(handles)).toEqual([]);
        } finally {
          await torn.remove();
        }
      },
      'half-made-keys',
    );

    // --- the end ---

    promise('is dead for good when its process has ended, and closes all the same', async () => {
      const dead = await make('dead');
      try {
        await dead.lose();
        for (const call of [dead.provider.inventory(), dead.provider.describe(), dead.provider.generateDomainKey()])
          expect((await rejection(call)).code).toBe('HSM_WORKER_LOST');
      } finally {
        await dead.provider.close();
        await dead.remove();
      }
    });

    promise('takes no call after it was closed, however often', async () => {
      await other.provider.close();
      await other.provider.close();
      expect((await rejection(other.provider.inventory())).code).toBe('HSM_WORKER_LOST');
    });

    it('leaves out what it is known to leave out, and nothing else', () => {
      expect(skipped).toEqual(skips);
    });
  });
}
