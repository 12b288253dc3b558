/** Kinds of pairs, on a token of which this file is the cryptography. The real tokens: test/integration/tokens. */
import {
  createDiffieHellman,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  getDiffieHellman,
  type KeyObject,
  randomBytes,
  sign,
} from 'node:crypto';
import { CKA, type Cryptoki } from '@antipode/cryptoki';
import { partialCryptoki } from '@antipode/cryptoki/testing';
import { describe, expect, it } from 'vitest';
import type { Attributes } from '../model/attributes.ts';
import { dhPublicHalf, fieldIn } from '../model/finite-field.ts';
import type { Handle, ObservedObject } from '../model/object.ts';
import { TWISTED, type TwistedName } from '../model/twisted-curve.ts';
import { type Agreement, PLAIN } from '../pkcs11/agreement.ts';
import { Proof } from '../pkcs11/proving/proof.ts';
import { ObjectReader } from '../pkcs11/reading/object-reader.ts';
import { PublicKeys } from '../pkcs11/reading/public-keys.ts';
import { soundSession } from '../testing/sound-session.ts';
import type { KeyKind } from './key-kind.ts';
import { kindOfType } from './kinds.ts';

const session = 1n;
const key = { handle: 3n as Handle, objectClass: 'private-key', sizeBits: 0, readDigest: '' } as const;
const spkiOf = (publicKey: KeyObject): Uint8Array => new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }));

function outcomesOf(
  kind: KeyKind,
  cryptoki: Cryptoki,
  { attributes, publicHalf }: Partial<ObservedObject>,
  agreement = PLAIN,
): string[] {
  const proof = new Proof(
    {
      ...soundSession(cryptoki, { agreement }),
      domainKey: 2n,
      objects: new ObjectReader({ cryptoki, session, digestKey: new Uint8Array(32) }),
      loginForUse: () => {},
      tagData: () => undefined,
      tagSecret: () => undefined,
    },
    { ...key, attributes: attributes!, ...(publicHalf === undefined ? {} : { publicHalf }) },
  );
  kind.prove(proof);
  return proof.checks.map(({ use, outcome }) => `${use} ${outcome}`);
}

/** The public half that the kind finds, where `beside` lie in the token as public keys. */
function found(
  kind: KeyKind,
  cryptoki: Cryptoki,
  {
    attributes,
    beside = [],
    agreement = PLAIN,
  }: { attributes: Attributes; beside?: Uint8Array[]; agreement?: Agreement },
) {
  const publicKeys = new PublicKeys(
    beside.map(
      (publicHalf): ObservedObject => ({
        ...key,
        objectClass: 'public-key',
        keyType: kind.type,
        attributes: {},
        publicHalf,
      }),
    ),
  );
  return kind.pair!.findPublicHalf!(
    soundSession(cryptoki, { agreement }),
    { ...key, keyType: kind.type, attributes },
    { publicKeys },
  );
}

/** A private key that signs, in a token that signs by this key of software. */
const signing = (software: KeyObject, by: (data: Uint8Array, software: KeyObject) => Buffer): Cryptoki =>
  partialCryptoki({ sign: (_session, _mechanism, _key, data) => by(data, software) });

describe.each(['ed25519', 'ed448'] as const)('%s', (type) => {
  const kind = kindOfType(type);
  const make = () => generateKeyPairSync(type as 'ed25519');
  const [{ privateKey, publicKey }, other] = [make(), make()];
  const by = (data: Uint8Array, software: KeyObject): Buffer => sign(null, data, software);
  const attributes = { sign: true };

  it('proves a key that signs for its public half, and fails one that signs for another', () => {
    const publicHalf = spkiOf(publicKey);
    expect(outcomesOf(kind, signing(privateKey, by), { attributes, publicHalf })).toEqual(['sign proved']);
    expect(outcomesOf(kind, signing(other.privateKey, by), { attributes, publicHalf })).toEqual(['sign failed']);
  });

  it('finds the public half beside a key, and takes no other for it', () => {
    const [own, others] = [spkiOf(publicKey), spkiOf(other.publicKey)];
    expect(found(kind, signing(privateKey, by), { attributes, beside: [others, own] })).toEqual(own);
    expect(found(kind, signing(privateKey, by), { attributes, beside: [others] })).toBeUndefined();
  });
});

/** A token that agrees as this work says, and shows what was agreed. */
const agreeing = (
  agree: (theirs: Uint8Array, bytes: number) => Uint8Array,
  shown: Record<number, Uint8Array> = {},
): Cryptoki => {
  let secret = new Uint8Array();
  return partialCryptoki({
    deriveKey: (_session, { parameter, keep }, _key, template) => {
      const bytes = Number(template.find(([type]) => type === CKA.VALUE_LEN)?.[1] ?? 0);
      secret = new Uint8Array(agree(keep?.[0] ?? parameter!, bytes));
      return 9n;
    },
    attributes: (_session, handle, types) =>
      new Map(types.map((one) => [one, Buffer.from(handle === 9n ? secret : (shown[one] ?? []))])),
    destroy: () => true,
  });
};

describe.each(['x25519', 'x448'] as const)('%s', (type) => {
  const kind = kindOfType(type);
  const make = () => generateKeyPairSync(type as 'x25519');
  const [{ privateKey, publicKey }, other] = [make(), make()];
  const attributes = { derive: true };
  const softwareOf = (point: Uint8Array): KeyObject => {
    const head = spkiOf(publicKey).subarray(0, -TWISTED[type satisfies TwistedName].pointBytes);
    return createPublicKey({ key: Buffer.concat([head, point]), format: 'der', type: 'spki' });
  };
  const token = (own: KeyObject): Cryptoki =>
    agreeing((point) => diffieHellman({ privateKey: own, publicKey: softwareOf(point) }));

  it('proves a key that agrees for its public half, and fails one that agrees for another', () => {
    const publicHalf = spkiOf(publicKey);
    expect(outcomesOf(kind, token(privateKey), { attributes, publicHalf })).toEqual(['derive proved']);
    expect(outcomesOf(kind, token(other.privateKey), { attributes, publicHalf })).toEqual(['derive failed']);
  });

  it('finds the public half of a key by agreeing with the base point', () => {
    expect(found(kind, token(privateKey), { attributes })).toEqual(spkiOf(publicKey));
  });
});

describe('dh', () => {
  const kind = kindOfType('dh');
  const attributes = { derive: true };
  const group = getDiffieHellman('modp2');
  const [prime, base] = [group.getPrime(), group.getGenerator()];
  const software = createDiffieHellman(prime, base);
  const publicValue = software.generateKeys();
  const publicHalf = dhPublicHalf({ prime, base, publicValue })!;
  const token = (own: typeof software): Cryptoki =>
    agreeing((value) => own.computeSecret(value), { [CKA.PRIME]: prime, [CKA.BASE]: base });

  it('proves a key that agrees for its public half, and fails one that agrees for another', () => {
    expect(outcomesOf(kind, token(software), { attributes, publicHalf })).toEqual(['derive proved']);
    const sameGroup = createDiffieHellman(prime, base);
    sameGroup.generateKeys();
    expect(outcomesOf(kind, token(sameGroup), { attributes, publicHalf })).toEqual(['derive failed']);
  });

  it('finds the public half of a key by agreeing with the base', () => {
    const power = agreeing((value) => (value.length === base.length ? publicValue : software.computeSecret(value)), {
      [CKA.PRIME]: prime,
      [CKA.BASE]: base,
    });
    expect(found(kind, power, { attributes })).toEqual(publicHalf);
    expect(fieldIn(publicHalf)).toMatchObject({ prime: new Uint8Array(prime) });
  });

  describe('in a token that derives no long secret', () => {
    const agreement = { ...PLAIN, derivedBytesMax: 32 };
    /** As PKCS#11 has it, or as some tokens do. */
    const ends = [(secret: Buffer) => secret.subarray(-32), (secret: Buffer) => secret.subarray(0, 32)];
    const shortToken = (own: typeof software, end: (secret: Buffer) => Buffer): Cryptoki =>
      agreeing(
        (value, bytes) => {
          if (bytes > 32) throw new Error('this would end the process');
          const secret = own.computeSecret(value);
          return end(Buffer.concat([Buffer.alloc(prime.length - secret.length), secret]));
        },
        { [CKA.PRIME]: prime, [CKA.BASE]: base },
      );
    const other = createDiffieHellman(prime, base);
    const otherHalf = dhPublicHalf({ prime, base, publicValue: other.generateKeys() })!;
    const elsewhere = dhPublicHalf({ prime: getDiffieHellman('modp5').getPrime(), base, publicValue })!;

    it.each(ends)('proves a key by a part of the secret', (end) => {
      const item = { attributes, publicHalf };
      expect(outcomesOf(kind, shortToken(software, end), item, agreement)).toEqual(['derive proved']);
      expect(outcomesOf(kind, shortToken(other, end), item, agreement)).toEqual(['derive failed']);
    });

    it.each(ends)('finds its public half among the public keys beside it, and nowhere else', (end) => {
      const at = (beside: Uint8Array[]) => found(kind, shortToken(software, end), { attributes, agreement, beside });
      expect(at([elsewhere, otherHalf, publicHalf])).toEqual(publicHalf);
      expect(at([elsewhere, otherHalf])).toBeUndefined();
    });
  });

  it('does not use a key that asks for the PIN', () => {
    expect(found(kind, token(software), { attributes: { derive: true, alwaysAuthenticate: true } })).toBeUndefined();
  });
});

describe('dsa', () => {
  const kind = kindOfType('dsa');
  const attributes = { sign: true };
  const publicHalf = spkiOf(generateKeyPairSync('dsa', { modulusLength: 1024, divisorLength: 160 }).publicKey);
  /** Software signs no digest of ours, so the right key is proved on real tokens only. */
  const token = partialCryptoki({ sign: () => randomBytes(40) });

  it('fails a key that signs for another public half, and does not take that for its own', () => {
    expect(outcomesOf(kind, token, { attributes, publicHalf })).toEqual(['sign failed']);
    expect(found(kind, token, { attributes, beside: [publicHalf] })).toBeUndefined();
  });
});
