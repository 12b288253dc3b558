import { createPrivateKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { AntipodeError, hex, seededPrng, sha256Hex } from '@antipode/runtime';
import { thrown } from '@antipode/runtime/testing';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as wire from '../gen/antipode/seal/v1/manifest_pb.ts';
import { arbitraryGeneration, sorted } from '../testing/arbitrary-generation.ts';
import { ecKey, publicHalfOf } from '../testing/index.ts';
import { ATTRIBUTES, type Attributes } from './attributes.ts';
import { blobDigests } from './blobs.ts';
import {
  contentDigest,
  contentDigestOf,
  type Entry,
  entryDigest,
  type Generation,
  hasClone,
  isExact,
  isNative,
} from './generation.ts';
import { encodeManifest } from './manifest/manifest-writer.ts';
import { isSignedBy, openSigned, sealedGeneration, signingInput } from './manifest/signed-manifest.ts';
import { kindOf } from './object.ts';
import { fingerprint } from './public-half.ts';

const key = ecKey(seededPrng('signer'));
const signer = publicHalfOf(key);
const signerSha256 = fingerprint(signer);
const GROUP = 'payments';

const generation = arbitraryGeneration({ group: GROUP, identitySha256: signerSha256 });

function signedManifest(manifest: Uint8Array, by: KeyObject = key): Uint8Array {
  const signature = new Uint8Array(sign('sha256', signingInput(manifest), { key: by, dsaEncoding: 'ieee-p1363' }));
  return toBinary(
    wire.SignedManifestSchema,
    create(wire.SignedManifestSchema, { manifest, signature, signer: publicHalfOf(by) }),
  );
}

const open = (signed: Uint8Array, expectedDigest?: string) =>
  openSigned(signed, {
    group: GROUP,
    isPinned: (identity) => identity === signerSha256,
    ...(expectedDigest === undefined ? {} : { expectedDigest }),
  });

const [sample] = fc.sample(
  generation.filter(({ entries, tombstones }) => {
    const all = [...entries, ...tombstones.map(({ entry }) => entry)];
    return (
      entries.length > 1 && tombstones.length > 0 && !all.some(isExact) && !all.some(isNative) && !all.some(hasClone)
    );
  }),
  { numRuns: 1 },
) as [Generation];

/** The sample as its message, changed, encoded and signed by the right key: only the form can be wrong. */
function opensChanged(change: (message: wire.Manifest) => void) {
  const message = fromBinary(wire.ManifestSchema, encodeManifest(sample));
  change(message);
  return () => open(signedManifest(toBinary(wire.ManifestSchema, message)));
}

// --- the properties ---

describe('a manifest', () => {
  it('gives back the written generation, and the same bytes when written again', () => {
    fc.assert(
      fc.property(generation, (given) => {
        const manifest = encodeManifest(given);
        const { generation: read, digest, contentDigest } = open(signedManifest(manifest));
        expect(read).toEqual(sorted(given));
        expect(digest).toBe(sha256Hex(manifest));
        expect(contentDigest).toBe(contentDigestOf(given));
        expect(hex(encodeManifest(read))).toBe(hex(manifest));
      }),
    );
  });

  it('has the same bytes in whatever order its lists were given', () => {
    fc.assert(
      fc.property(generation, (given) => {
        const reversed: Generation = {
          ...given,
          dataKeys: given.dataKeys.toReversed(),
          entries: given.entries.toReversed(),
          uncaptured: given.uncaptured.toReversed(),
          tombstones: given.tombstones.toReversed(),
        };
        expect(hex(encodeManifest(reversed))).toBe(hex(encodeManifest(given)));
        expect(contentDigestOf(reversed)).toBe(contentDigestOf(given));
      }),
    );
  });

  it('is refused if any one bit of it, its signature or its signer was changed', () => {
    const manifest = encodeManifest({ ...sample, entries: [], tombstones: [] });
    const whole = fromBinary(wire.SignedManifestSchema, signedManifest(manifest));
    for (const part of ['manifest', 'signature', 'signer'] as const) {
      for (let bit = 0; bit < whole[part].length * 8; bit += 1) {
        const changed = Uint8Array.from(whole[part]);
        changed[bit >> 3]! ^= 1 << (bit & 7);
        const signed = toBinary(wire.SignedManifestSchema, { ...whole, [part]: changed });
        expect(thrown(() => open(signed)).code).toBe(part === 'signer' ? 'PEER_NOT_PINNED' : 'MANIFEST_INVALID');
      }
    }
  });

  it('is the same, or refused, if any one bit of the frame was changed', () => {
    const manifest = encodeManifest({ ...sample, entries: [], tombstones: [] });
    const signed = signedManifest(manifest);
    const { digest } = open(signed);
    const { signature } = fromBinary(wire.SignedManifestSchema, signed);
    const isFrame = (at: number): boolean =>
      [manifest, signature, signer].every((part) => {
        const start = Buffer.from(signed).indexOf(part);
        return at < start || at >= start + part.length;
      });
    const frame = [...signed.keys()].filter(isFrame);
    expect(frame.length).toBeGreaterThanOrEqual(6);
    for (const bit of frame.flatMap((at) => Array.from({ length: 8 }, (_, index) => at * 8 + index))) {
      const changed = Uint8Array.from(signed);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      const outcome = (() => {
        try {
          return open(changed).digest;
        } catch (refusal) {
          return AntipodeError.from(refusal).code;
        }
      })();
      expect(['MANIFEST_INVALID', 'PEER_NOT_PINNED', digest]).toContain(outcome);
    }
  });

  it('is refused wherever it was cut off', () => {
    const signed = signedManifest(encodeManifest(sample));
    for (let length = 0; length < signed.length; length += 7)
      expect(['MANIFEST_INVALID', 'PEER_NOT_PINNED']).toContain(thrown(() => open(signed.subarray(0, length))).code);
  });

  it('is refused for another group, another digest, or an unpinned signer', () => {
    const signed = signedManifest(encodeManifest(sample));
    const isPinned = () => true;
    expect(thrown(() => openSigned(signed, { group: 'other', isPinned })).code).toBe('MANIFEST_INVALID');
    expect(thrown(() => open(signed, '00'.repeat(32))).code).toBe('MANIFEST_INVALID');
    expect(thrown(() => openSigned(signed, { group: GROUP, isPinned: () => false }))).toMatchObject({
      code: 'PEER_NOT_PINNED',
      details: { group: GROUP, identity: signerSha256 },
    });
    expect(open(signed, sha256Hex(encodeManifest(sample))).generation.group).toBe(GROUP);
  });

  it("is refused if a pinned member signed another member's capture", () => {
    const other = ecKey(seededPrng('other'));
    const signed = signedManifest(encodeManifest(sample), other);
    expect(thrown(() => openSigned(signed, { group: GROUP, isPinned: () => true })).code).toBe('MANIFEST_INVALID');
  });

  it('cannot be confused with any other signed message', () => {
    const manifest = encodeManifest(sample);
    const bare = new Uint8Array(sign('sha256', manifest, { key, dsaEncoding: 'ieee-p1363' }));
    const { signed } = sealedGeneration({ generation: sample, manifest, signature: bare, signer });
    expect(thrown(() => open(signed)).code).toBe('MANIFEST_INVALID');
  });

  /** Makes the first entry a secret key that is sealed exactly. */
  const exactIn = (message: wire.Manifest, format: number): wire.Entry => {
    message.format = format;
    return Object.assign(message.entries[0]!, {
      objectClass: wire.ObjectClass.SECRET_KEY,
      keyType: wire.KeyType.GENERIC_SECRET,
      attributes: [],
      publicHalf: new Uint8Array(),
      blobSha256: new Uint8Array(32),
      dataKeyId: new Uint8Array(16),
      valueTag: new Uint8Array(32),
    });
  };

  const vector = () =>
    create(wire.VectorSchema, {
      use: wire.VectorUse.SIGN,
      mechanism: 0x251,
      nonce: new Uint8Array(16),
      result: new Uint8Array(32),
    });

  /** Makes the first entry a secret key that moves natively. */
  const nativeIn = (message: wire.Manifest, format: number): wire.Entry =>
    Object.assign(exactIn(message, format), {
      valueTag: new Uint8Array(),
      cloningDomain: new Uint8Array(32).fill(7),
      vectors: [vector()],
    });

  it('has format 4 where a key moves natively', () => {
    expect(opensChanged((message) => void nativeIn(message, 4))().generation.entries[0]).toMatchObject({
      objectClass: 'secret-key',
      dataKeyId: '00'.repeat(16),
      cloningDomain: '07'.repeat(32),
      vectors: [{ use: 'sign', mechanism: 0x251 }],
    });
  });

  const cloneForm = () =>
    create(wire.CloneFormSchema, {
      cloningDomain: new Uint8Array(32).fill(7),
      blobSha256: new Uint8Array(32).fill(8),
      blobSize: 96n,
      dataKeyId: new Uint8Array(16).fill(9),
    });

  /** Makes the first entry a secret key that has both forms. */
  const bothIn = (message: wire.Manifest, format: number): wire.Entry =>
    Object.assign(exactIn(message, format), { clone: cloneForm() });

  it('has format 6 where a key has both forms', () => {
    expect(opensChanged((message) => void bothIn(message, 6))().generation.entries[0]).toMatchObject({
      dataKeyId: '00'.repeat(16),
      clone: {
        cloningDomain: '07'.repeat(32),
        blobSha256: '08'.repeat(32),
        blobSize: 96,
        dataKeyId: '09'.repeat(16),
      },
    });
  });

  it('has format 3 where a secret key has a data key', () => {
    expect(opensChanged((message) => void exactIn(message, 3))().generation.entries[0]).toMatchObject({
      objectClass: 'secret-key',
      dataKeyId: '00'.repeat(16),
    });
  });

  it.each<[string, (message: wire.Manifest) => void]>([
    ['of another format', (message) => (message.format = 5)],
    ['of a format that is not known', (message) => (message.format = 7)],
    ['of format 4 without a key that moves natively', (message) => (message.format = 4)],
    ['of format 3 with a key that moves natively', (message) => void nativeIn(message, 3)],
    [
      'with a native secret without vectors',
      (message) => {
        nativeIn(message, 4).vectors = [];
      },
    ],
    [
      'with a native key without a data key',
      (message) => {
        nativeIn(message, 4).dataKeyId = new Uint8Array();
      },
    ],
    [
      'with a cloning domain of 31 bytes',
      (message) => {
        nativeIn(message, 4).cloningDomain = new Uint8Array(31);
      },
    ],
    [
      'with a native key that has a tag as well',
      (message) => {
        nativeIn(message, 4).valueTag = new Uint8Array(32);
      },
    ],
    [
      'with two vectors of one use and one mechanism',
      (message) => {
        nativeIn(message, 4).vectors.push(vector());
      },
    ],
    [
      'with a vector of a use that nobody knows',
      (message) => {
        nativeIn(message, 4).vectors[0]!.use = 99 as wire.VectorUse;
      },
    ],
    [
      'with a vector whose nonce is too short',
      (message) => {
        nativeIn(message, 4).vectors[0]!.nonce = new Uint8Array(15);
      },
    ],
    [
      'with a native private key that shows nothing',
      (message) => {
        const entry = nativeIn(message, 4);
        Object.assign(entry, { objectClass: wire.ObjectClass.PRIVATE_KEY, keyType: wire.KeyType.EC, vectors: [] });
      },
    ],
    ['of format 6 without a key that has both forms', (message) => (message.format = 6)],
    ['of format 5 with a key that has both forms', (message) => void bothIn(message, 5)],
    ...(['cloningDomain', 'blobSha256', 'dataKeyId'] as const).map(
      (part): [string, (message: wire.Manifest) => void] => [
        `with a second form whose ${part} is a byte short`,
        (message) => {
          const { clone } = bothIn(message, 6);
          clone![part] = clone![part].subarray(1);
        },
      ],
    ),
    [
      'with a second form of a key that moves natively',
      (message) => {
        nativeIn(message, 6).clone = cloneForm();
      },
    ],
    [
      'with a second form of what is no key',
      (message) => {
        Object.assign(bothIn(message, 6), {
          objectClass: wire.ObjectClass.DATA,
          keyType: wire.KeyType.UNSPECIFIED,
        });
      },
    ],
    [
      'with a deleted key of both forms that lacks the data key of its clone',
      (message) => {
        message.format = 6;
        const [tombstone] = message.tombstones;
        tombstone!.domainKeyVersion = 1;
        tombstone!.entry = create(wire.EntrySchema, {
          objectId: tombstone!.entry!.objectId,
          objectClass: wire.ObjectClass.SECRET_KEY,
          keyType: wire.KeyType.AES,
          blobSha256: new Uint8Array(32),
          clone: cloneForm(),
        });
      },
    ],
    ['of format 3 without a secret key that has a data key', (message) => (message.format = 3)],
    ['of format 2 with a secret key that has a data key', (message) => void exactIn(message, 2)],
    [
      'with a secret key that has a data key and no tag',
      (message) => {
        exactIn(message, 3).valueTag = new Uint8Array();
      },
    ],
    [
      'with a secret key that has a tag and no data key',
      (message) => {
        exactIn(message, 3).dataKeyId = new Uint8Array();
      },
    ],
    [
      'of format 1 with what only format 2 says of a tombstone',
      (message) => {
        message.format = 1;
        message.tombstones[0]!.domainKeyVersion = 1;
      },
    ],
    [
      'with a deleted key that has a data key',
      (message) => {
        const deleted = message.tombstones.find(({ entry }) => entry!.objectClass !== wire.ObjectClass.DATA)!;
        deleted.domainKeyVersion = 1;
        deleted.dataKey = create(wire.DataKeySchema, { id: new Uint8Array(16) });
      },
    ],
    ['without a source', (message) => delete message.source],
    ['with its entries in another order', (message) => message.entries.reverse()],
    ['with an object that repeats', (message) => (message.entries[1]!.objectId = message.entries[0]!.objectId)],
    ['with an object id of 15 bytes', (message) => (message.entries[0]!.objectId = new Uint8Array(15))],
    [
      'with an object of a class that cannot be captured',
      (message) => (message.entries[0]!.objectClass = wire.ObjectClass.OTHER),
    ],
    ['with an object without a class', (message) => (message.entries[0]!.objectClass = wire.ObjectClass.UNSPECIFIED)],
    ['with a tombstone without its entry', (message) => delete message.tombstones[0]!.entry],
    [
      'with an uncaptured object without a reason',
      (message) =>
        message.uncaptured.push(
          create(wire.UncapturedSchema, { objectId: new Uint8Array(16), objectClass: wire.ObjectClass.DATA }),
        ),
    ],
    [
      'with an uncaptured object of a key type that nobody knows',
      (message) =>
        message.uncaptured.push(
          create(wire.UncapturedSchema, {
            objectId: new Uint8Array(16).fill(255),
            objectClass: wire.ObjectClass.DATA,
            keyType: 99 as wire.KeyType,
            reason: wire.UncapturedReason.SETTLING,
          }),
        ),
    ],
    [
      'with a field that we do not know',
      (message) => (message.$unknown = [{ no: 99, wireType: 0, data: Uint8Array.of(1) }]),
    ],
  ])('is refused %s, although the right key signed it', (_how, change) => {
    expect(thrown(opensChanged(change)).code).toBe('MANIFEST_INVALID');
  });
});

describe('an entry', () => {
  const blob = { blobSha256: new Uint8Array(32).fill(1), blobSize: 40n };
  const forms: Record<string, Parameters<typeof create<typeof wire.EntrySchema>>[1]> = {
    secret: { objectClass: wire.ObjectClass.SECRET_KEY, keyType: wire.KeyType.AES, ...blob },
    public: { objectClass: wire.ObjectClass.PUBLIC_KEY, keyType: wire.KeyType.EC },
    certificate: { objectClass: wire.ObjectClass.CERTIFICATE },
    data: { objectClass: wire.ObjectClass.DATA, ...blob, dataKeyId: new Uint8Array(16).fill(2) },
  };
  const opensWith = (form: keyof typeof forms, change: Parameters<typeof create<typeof wire.EntrySchema>>[1]) =>
    opensChanged((message) => {
      const objectId = new Uint8Array(16).fill(9);
      message.entries = [create(wire.EntrySchema, { objectId, ...(forms[form] as object), ...(change as object) })];
    });
  const attribute = (type: number, ...value: number[]) => ({ type, value: Uint8Array.from(value) });

  it.each(Object.keys(forms))('that is a %s is accepted in its right form', (form) => {
    expect(opensWith(form, {})().generation.entries).toHaveLength(1);
  });

  it.each<[string, keyof typeof forms, object]>([
    ['an object of a class that cannot be captured', 'certificate', { objectClass: wire.ObjectClass.OTHER }],
    ['a key without its type', 'secret', { keyType: wire.KeyType.UNSPECIFIED }],
    ['a certificate with a key type', 'certificate', { keyType: wire.KeyType.RSA }],
    ['a certificate with a key type that nobody knows', 'certificate', { keyType: 9 }],
    ['a secret without a blob', 'secret', { blobSha256: new Uint8Array() }],
    ['a public key with a blob', 'public', blob],
    ['a digest of 31 bytes', 'secret', { blobSha256: new Uint8Array(31) }],
    ['data without a data key', 'data', { dataKeyId: new Uint8Array() }],
    ['a secret with a data key', 'secret', { dataKeyId: new Uint8Array(16) }],
    [
      'an attribute of another class',
      'secret',
      { attributes: [attribute(ATTRIBUTES.certificateType.type, 0, 0, 0, 0, 0, 0, 0, 0)] },
    ],
    ['an attribute that we do not know', 'secret', { attributes: [attribute(0x161, 32)] }],
    ['an attribute of another form', 'secret', { attributes: [attribute(ATTRIBUTES.sign.type, 7)] }],
    [
      'mechanisms out of order',
      'secret',
      {
        attributes: [
          attribute(ATTRIBUTES.allowedMechanisms.type, ...[0, 0, 0, 0, 0, 0, 0, 2], ...[0, 0, 0, 0, 0, 0, 0, 1]),
        ],
      },
    ],
    [
      'an attribute twice',
      'secret',
      { attributes: [attribute(ATTRIBUTES.sign.type, 1), attribute(ATTRIBUTES.sign.type, 1)] },
    ],
    [
      'attributes out of order',
      'secret',
      { attributes: [attribute(ATTRIBUTES.sign.type, 1), attribute(ATTRIBUTES.label.type, 65)] },
    ],
  ])('is refused as %s', (_what, form, change) => {
    expect(thrown(opensWith(form, change)).code).toBe('MANIFEST_INVALID');
  });
});

describe('the content digest', () => {
  const secret: Entry = {
    objectId: '11'.repeat(16),
    objectClass: 'secret-key',
    keyType: 'aes',
    sizeBits: 256,
    attributes: { label: Buffer.from('a'), sensitive: true, sign: true, local: true, startDate: '20260101' },
    blobSha256: '22'.repeat(32),
    blobSize: 40,
  };
  const digest = (change: Partial<Entry>): string => hex(entryDigest({ ...secret, ...change }));
  const withAttributes = (change: Attributes): string => digest({ attributes: { ...secret.attributes, ...change } });

  it('differs for another identity, class, type, value or portable attribute', () => {
    const all = [
      digest({}),
      digest({ objectId: '12'.repeat(16) }),
      digest({ keyType: 'generic-secret' }),
      digest({ blobSha256: '23'.repeat(32) }),
      withAttributes({ label: Buffer.from('b') }),
      withAttributes({ sign: false }),
      withAttributes({ verify: false }),
      withAttributes({ modifiable: false }),
      withAttributes({ allowedMechanisms: [1] }),
    ];
    expect(new Set(all).size).toBe(all.length);
  });

  it('ignores unreadable and empty attributes, and a key that became sensitive', () => {
    expect(withAttributes({ local: false, startDate: '20270101', checkValue: Uint8Array.of(1) })).toBe(digest({}));
    expect(withAttributes({ id: new Uint8Array(), allowedMechanisms: [] })).toBe(digest({}));
    expect(withAttributes({ sensitive: false })).toBe(digest({}));
    expect(digest({ attributes: {} })).toBe(digest({ attributes: { sensitive: true } }));
    expect(digest({ sizeBits: 0, blobSize: 0 })).toBe(digest({}));
  });

  it('does not confuse one attribute with the end of another', () => {
    const joined = withAttributes({ label: Buffer.from('ab'), id: new Uint8Array() });
    expect(withAttributes({ label: Buffer.from('a'), id: Buffer.from('b') })).not.toBe(joined);
  });
});

it('names every blob that a restore needs once, including those of deleted objects', () => {
  fc.assert(
    fc.property(generation, (given) => {
      const digests = blobDigests({ ...given, dataKeys: [...given.dataKeys, ...given.dataKeys] });
      expect(new Set(digests).size).toBe(digests.length);
      const sealed = given.tombstones.filter(({ domainKeyVersion }) => domainKeyVersion !== undefined);
      const deleted = sealed.flatMap(({ entry, dataKey, cloneDataKey }) =>
        [entry, dataKey ?? [], cloneDataKey ?? []].flat(),
      );
      const wanted = [...given.dataKeys, ...given.entries, ...deleted].flatMap((one) => [
        one.blobSha256 ?? [],
        'clone' in one ? one.clone!.blobSha256 : [],
      ]);
      expect([...digests].sort()).toEqual([...new Set(wanted.flat())].sort());
    }),
  );
});

it('accepts no malformed signature, and none of another or an invalid key', () => {
  const message = Buffer.from('message');
  const signature = sign('sha256', message, { key, dsaEncoding: 'ieee-p1363' });
  expect(isSignedBy(signer, message, signature)).toBe(true);
  expect(isSignedBy(publicHalfOf(ecKey(seededPrng('other'))), message, signature)).toBe(false);
  expect(isSignedBy(signer, message, signature.subarray(1))).toBe(false);
  expect(isSignedBy(signer, message, new Uint8Array())).toBe(false);
  expect(isSignedBy(new Uint8Array(), message, signature)).toBe(false);
  const pair = createPrivateKey({ key: ED25519, format: 'der', type: 'pkcs8' });
  expect(isSignedBy(publicHalfOf(pair), message, sign(null, message, pair))).toBe(false);
  const rsa = generateKeyPairSync('rsa', { modulusLength: 1_024 }).privateKey;
  expect(isSignedBy(publicHalfOf(rsa), message, sign('sha256', message, rsa))).toBe(false);
});

/** An Ed25519 key of 32 bytes 7: a signature that verifies, of a kind that no identity has. */
const ED25519 = Buffer.from(`302e020100300506032b657004220420${'07'.repeat(32)}`, 'hex');

it('names a kind by class and type', () => {
  expect(kindOf({ objectClass: 'private-key', keyType: 'rsa' })).toBe('private-key/rsa');
  expect(kindOf({ objectClass: 'certificate' })).toBe('certificate');
});

it('digests the content of a partition of any size', () => {
  const digests = Array.from({ length: 100_000 }, (_, index): [string, Uint8Array] => [
    index.toString(16).padStart(32, '0'),
    new Uint8Array(32),
  ]);
  expect(contentDigest(new Map(digests))).toBe(contentDigest(new Map(digests.toReversed())));
});
