/** Pairs in finite fields: DSA and Diffie-Hellman. */
import { createDiffieHellman, createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { CKA, CKK, CKM, CKO, mechanism, type Template } from '@antipode/cryptoki';
import { elements } from '@antipode/hsm-core/testing';
import { flags } from '../../attacks/support/templates.ts';
import { PORTABLE } from '../token-pair.ts';
import { readable, SIGNS, signsFor, VERIFIES } from './clients.ts';
import { privateOf, publicOf, type Specimen, type Visitor } from './specimen.ts';

/** Its parts in the PKCS#8 that OpenSSL writes. */
function dsaParts(key: KeyObject): { domain: Template; x: Uint8Array; y: Uint8Array } {
  const [, algorithm, secret] = elements(elements(key.export({ format: 'der', type: 'pkcs8' }))[0]!.content);
  const [p, q, g] = elements(elements(algorithm!.content)[1]!.content).map(({ content }) => unsigned(content));
  const [, bits] = elements(elements(createPublicKey(key).export({ format: 'der', type: 'spki' }))[0]!.content);
  return {
    domain: [
      [CKA.PRIME, p!],
      [CKA.SUBPRIME, q!],
      [CKA.BASE, g!],
    ],
    x: unsigned(elements(secret!.content)[0]!.content),
    y: unsigned(elements(bits!.content.subarray(1))[0]!.content),
  };
}

const unsigned = (integer: Uint8Array): Uint8Array => integer.subarray(integer[0] === 0 ? 1 : 0);

const DSA_2048 = createPrivateKey(readFileSync(new URL('./dsa-2048.pem', import.meta.url)));

/** The group of RFC 3526, section 3. */
const GROUP_14 = Buffer.from(
  'FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3BE39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA051015728E5A8AACAA68FFFFFFFFFFFFFFFF',
  'hex',
);

async function dhAgrees({ standby, find }: Visitor, publicValue: Uint8Array): Promise<boolean> {
  const ours = createDiffieHellman(GROUP_14, Uint8Array.of(2));
  const agreed = { type: CKM.DH_PKCS_DERIVE, publicValue: ours.generateKeys() };
  const made = await standby.deriveKey(agreed, await find(CKO.PRIVATE_KEY), readable(32));
  const shown = (await standby.attributes(made, [CKA.VALUE])).get(CKA.VALUE)!;
  const secret = ours.computeSecret(publicValue);
  // A token may take the first bytes of the secret, or the last ones.
  return [secret.subarray(0, 32), secret.subarray(-32)].some((part) => part.equals(shown));
}

export const FINITE_FIELD: readonly Specimen[] = [
  {
    kind: 'DSA-2048 pair',
    usedBy: 'DSA signature, checked by `node:crypto`',
    async make({ source, names }) {
      const { domain, x, y } = dsaParts(DSA_2048);
      await source.create(privateOf(CKK.DSA, ...domain, [CKA.VALUE, x], ...names, ...SIGNS));
      await source.create(publicOf(CKK.DSA, ...domain, [CKA.VALUE, y], ...names, ...VERIFIES));
      return signsFor(createPublicKey(DSA_2048), CKM.DSA);
    },
  },
  {
    kind: 'DH-2048 pair',
    usedBy: 'agreement with `node:crypto`',
    async make({ source, names }) {
      const { publicKey } = await source.generateKeyPair(
        mechanism(CKM.DH_PKCS_KEY_PAIR_GEN),
        [[CKA.TOKEN, true], [CKA.PRIME, GROUP_14], [CKA.BASE, Uint8Array.of(2)], ...names],
        [...PORTABLE, ...names, ...flags({ derive: true, sign: false })],
      );
      const value = (await source.attributes(publicKey, [CKA.VALUE])).get(CKA.VALUE)!;
      return (visitor) => dhAgrees(visitor, value);
    },
  },
];
