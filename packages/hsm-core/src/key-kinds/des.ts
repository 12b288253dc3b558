/** DES keys of two and of three parts differ by their length only: what both of them do. */
import { CKA, type CKK, CKM, derivationFrom, mechanism } from '@antipode/cryptoki';
import { bytesEqual } from '@antipode/runtime';
import type { KeyType } from '../model/object.ts';
import type { Proof } from '../pkcs11/proving/proof.ts';
import { signingUse, type Use } from '../pkcs11/proving/use.ts';
import { cipherWays, encryptionDerivingWay, macWay } from '../pkcs11/proving/vectors.ts';
import type { KeyKind } from './key-kind.ts';

const IV = Buffer.alloc(8, 36);
const BLOCK_BYTES = 16;

/** `bits` includes the parity bits. */
export const desKind = <const Type extends KeyType>({
  type,
  number,
  bits,
  generate,
}: {
  type: Type;
  number: (typeof CKK)[keyof typeof CKK];
  bits: number;
  /** The mechanism that makes such a key. */
  generate: number;
}): KeyKind & { readonly type: Type } => ({
  type,
  number,
  bits,
  prove(proof) {
    proof.rewrap();
    useDes(proof);
  },
  vectors: [
    macWay(CKM.DES3_CMAC),
    ...cipherWays({ cbc: CKM.DES3_CBC, ecb: CKM.DES3_ECB, blockBytes: 8 }),
    encryptionDerivingWay(CKM.DES3_ECB_ENCRYPT_DATA),
  ],
  // As of AES keys, SoftHSM says "mechanism invalid" of one without a value.
  sample: ({ cryptoki, session }) =>
    cryptoki.generateKey(session, mechanism(generate), [
      [CKA.TOKEN, false],
      [CKA.ENCRYPT, true],
      [CKA.DECRYPT, true],
      [CKA.SIGN, true],
    ]),
  uses: (context, { attributes }) => {
    const { cryptoki, session } = context;
    const block = Buffer.alloc(BLOCK_BYTES, 1);
    const cbc = mechanism(CKM.DES3_CBC, IV);
    return [
      { flag: attributes.encrypt, type: cbc.type, work: (key) => cryptoki.encrypt(session, cbc, key, block) },
      { flag: attributes.decrypt, type: cbc.type, work: (key) => cryptoki.decrypt(session, cbc, key, block) },
      signingUse(context, attributes, { type: CKM.DES3_CMAC, data: block }),
    ] satisfies Use[];
  },
});

function useDes(proof: Proof): void {
  const { cryptoki, session } = proof.context;
  const { attributes } = proof.item;
  const block = proof.nonce.subarray(0, BLOCK_BYTES);
  if (attributes.encrypt || attributes.decrypt) {
    if (attributes.encrypt) proof.cover('decrypt');
    proof.use(attributes.encrypt ? 'encrypt' : 'decrypt', [CKM.DES3_CBC, CKM.DES3_CBC_PAD, CKM.DES3_ECB], (type) => {
      const how = mechanism(type, type === CKM.DES3_ECB ? undefined : IV);
      const encrypted = proof.by('encrypt', (key) => cryptoki.encrypt(session, how, key, block));
      const decrypted = proof.by('decrypt', (key) => cryptoki.decrypt(session, how, key, encrypted ?? block));
      if (encrypted !== undefined && decrypted !== undefined) return bytesEqual(decrypted, block);
      return encrypted === undefined || !bytesEqual(encrypted.subarray(0, block.length), block);
    });
  }
  proof.useMac([CKM.DES3_CMAC], 8);
  if (attributes.derive)
    proof.use('derive', [CKM.DES3_ECB_ENCRYPT_DATA], (type) => {
      const derived = proof.derived(derivationFrom(type, block), block.length);
      const expected = proof.by('encrypt', (key) => cryptoki.encrypt(session, mechanism(CKM.DES3_ECB), key, block));
      return expected === undefined || derived === undefined || bytesEqual(derived, expected);
    });
}
