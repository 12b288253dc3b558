/** Pairs on Edwards and Montgomery curves. */
import { createPublicKey, diffieHellman, generateKeyPairSync, type KeyObject, verify } from 'node:crypto';
import { CKA, CKK, CKM, CKO, mechanism, type Template } from '@antipode/cryptoki';
import { OCTET_STRING, tagged } from '@antipode/hsm-core/testing';
import { flags } from '../../attacks/support/templates.ts';
import { PORTABLE } from '../token-pair.ts';
import { bytesOf, jwkOf, MESSAGE, READ, readable, shows } from './clients.ts';
import { publicOf, type Specimen, type Use } from './specimen.ts';

function twisted(kind: string, oid: string, uses: { sign?: true; derive?: true }): Specimen {
  return {
    kind: `${kind} pair`,
    usedBy: uses.sign ? 'EdDSA, checked by `node:crypto`' : 'agreement with `node:crypto`',
    async make({ source, names }) {
      const params = Buffer.from(oid, 'hex');
      const { publicKey } = await source.generateKeyPair(
        mechanism(CKM.EC_EDWARDS_KEY_PAIR_GEN),
        [[CKA.TOKEN, true], [CKA.EC_PARAMS, params], ...names, ...flags({ verify: uses.sign ?? false })],
        [...PORTABLE, ...names, ...flags({ sign: uses.sign ?? false, derive: uses.derive ?? false })],
      );
      const wrapped = (await source.attributes(publicKey, [CKA.EC_POINT])).get(CKA.EC_POINT)!;
      const x = Buffer.from(wrapped.subarray(2)).toString('base64url');
      const key = createPublicKey({ key: { kty: 'OKP', crv: kind, x }, format: 'jwk' });
      return uses.sign ? edwardsSigns(key) : agrees(kind, key);
    },
  };
}

const edwardsSigns =
  (key: KeyObject): Use =>
  async ({ standby, find }) =>
    verify(null, MESSAGE, key, await standby.sign(mechanism(CKM.EDDSA), await find(CKO.PRIVATE_KEY), MESSAGE));

function agrees(crv: string, publicKey: KeyObject): Use {
  const ours = generateKeyPairSync(crv.toLowerCase() as 'x25519');
  const point = bytesOf(jwkOf(ours.publicKey).x);
  return async ({ standby, find }) => {
    const made = await standby.deriveKey(
      { type: CKM.ECDH1_DERIVE, point },
      await find(CKO.PRIVATE_KEY),
      readable(point.length),
    );
    const secret = (await standby.attributes(made, [CKA.VALUE])).get(CKA.VALUE)!;
    return diffieHellman({ privateKey: ours.privateKey, publicKey }).equals(secret);
  };
}

const edwardsPublic: Specimen = {
  kind: 'Ed25519 public key without private key',
  usedBy: READ,
  async make({ source, names }) {
    const parts: Template = [
      [CKA.EC_PARAMS, Buffer.from('06032b6570', 'hex')],
      [CKA.EC_POINT, tagged(OCTET_STRING, bytesOf(jwkOf(generateKeyPairSync('ed25519').publicKey).x))],
    ];
    await source.create(publicOf(CKK.EC_EDWARDS, ...parts, ...names, ...flags({ verify: true })));
    return shows(CKO.PUBLIC_KEY, parts);
  },
};

export const TWISTED: readonly Specimen[] = [
  twisted('Ed25519', '06032b6570', { sign: true }),
  twisted('X25519', '06032b656e', { derive: true }),
  twisted('Ed448', '06032b6571', { sign: true }),
  twisted('X448', '06032b656f', { derive: true }),
  edwardsPublic,
];
