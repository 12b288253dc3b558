/** AES keys: a secret that encrypts, makes MACs, wraps and derives. */
import { randomBytes } from 'node:crypto';
import { aesCtr, CKA, CKK, CKM, derivationFrom, mechanism } from '@antipode/cryptoki';
import { bytesEqual } from '@antipode/runtime';
import type { ObservedObject } from '../model/object.ts';
import type { Proof, ProveContext } from '../pkcs11/proving/proof.ts';
import { signingUse, type Use } from '../pkcs11/proving/use.ts';
import { cipherWays, encryptionDerivingWay, macWay, WRAP_WAY } from '../pkcs11/proving/vectors.ts';
import type { KeyKind } from './key-kind.ts';

export const aes = {
  type: 'aes',
  number: CKK.AES,
  prove(proof) {
    proof.rewrap();
    useAes(proof);
  },
  // SoftHSM says "mechanism invalid" of an AES key without a value, and of a mechanism that it does not have.
  sample: ({ cryptoki, session }) =>
    cryptoki.generateKey(session, mechanism(CKM.AES_KEY_GEN), [
      [CKA.VALUE_LEN, 32],
      [CKA.TOKEN, false],
    ]),
  vectors: [
    macWay(CKM.AES_CMAC),
    ...cipherWays({ cbc: CKM.AES_CBC, ecb: CKM.AES_ECB, blockBytes: 16 }),
    WRAP_WAY,
    encryptionDerivingWay(CKM.AES_ECB_ENCRYPT_DATA),
  ],
  uses: usesOf,
} as const satisfies KeyKind;

const IV = Buffer.alloc(16, 36);

function useAes(proof: Proof): void {
  const { cryptoki, session } = proof.context;
  const { attributes } = proof.item;
  const block = proof.nonce.subarray(0, 32);
  if (attributes.encrypt || attributes.decrypt) {
    if (attributes.encrypt) proof.cover('decrypt');
    proof.use(
      attributes.encrypt ? 'encrypt' : 'decrypt',
      [CKM.AES_CBC, CKM.AES_CBC_PAD, CKM.AES_ECB, CKM.AES_CTR],
      (type) => {
        const how = type === CKM.AES_CTR ? aesCtr(IV) : mechanism(type, type === CKM.AES_ECB ? undefined : IV);
        const encrypted = proof.by('encrypt', (key) => cryptoki.encrypt(session, how, key, block));
        const decrypted = proof.by('decrypt', (key) => cryptoki.decrypt(session, how, key, encrypted ?? block));
        if (encrypted !== undefined && decrypted !== undefined) return bytesEqual(decrypted, block);
        return encrypted === undefined || !bytesEqual(encrypted.subarray(0, block.length), block);
      },
    );
  }
  proof.useMac([CKM.AES_CMAC], 16);
  if (attributes.wrap || attributes.unwrap) proof.wrapThrowAway();
  if (attributes.derive) {
    proof.use('derive', [CKM.AES_ECB_ENCRYPT_DATA], (type) => {
      const derived = proof.derived(derivationFrom(type, block));
      const expected = proof.by('encrypt', (key) => cryptoki.encrypt(session, mechanism(CKM.AES_ECB), key, block));
      return expected === undefined || derived === undefined || bytesEqual(derived, expected);
    });
  }
}

function usesOf(context: ProveContext, { attributes }: ObservedObject): Use[] {
  const { cryptoki, session, keyWrap } = context;
  const { encrypt, decrypt, wrap, derive } = attributes;
  const block = randomBytes(32);
  const [ecb, cbc] = [mechanism(CKM.AES_ECB), mechanism(CKM.AES_CBC, Buffer.alloc(16))];
  return [
    ...[ecb, cbc].flatMap((how): Use[] => [
      { flag: encrypt, type: how.type, work: (key) => cryptoki.encrypt(session, how, key, block) },
      { flag: decrypt, type: how.type, work: (key) => cryptoki.decrypt(session, how, key, block) },
    ]),
    signingUse(context, attributes, { type: CKM.AES_CMAC, data: block }),
    { flag: wrap, type: keyWrap.type, work: (key) => wrapThrowAway(context, key, block) },
    { flag: derive, type: CKM.AES_ECB_ENCRYPT_DATA, work: (key) => deriveThrowAway(context, key, block) },
  ];
}

function wrapThrowAway({ cryptoki, session, keyWrap, values }: ProveContext, key: bigint, value: Uint8Array): void {
  const throwAway = values.make(value);
  try {
    cryptoki.wrapKey(session, keyWrap, key, throwAway);
  } finally {
    cryptoki.destroy(session, throwAway);
  }
}

function deriveThrowAway({ cryptoki, session, values }: ProveContext, key: bigint, block: Uint8Array): void {
  const how = derivationFrom(CKM.AES_ECB_ENCRYPT_DATA, block);
  cryptoki.destroy(session, cryptoki.deriveKey(session, how, key, [...values.readable, [CKA.VALUE_LEN, 32]]));
}
