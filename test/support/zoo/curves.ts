/** Pairs on elliptic curves that sign by ECDSA, and halves of them. */
import { execFileSync } from 'node:child_process';
import { createECDH, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { CKA, CKK, CKM, CKO, mechanism, P256_PARAMS, type Template } from '@antipode/cryptoki';
import { OCTET_STRING, paramsIn, tagged, tlvOf } from '@antipode/hsm-core/testing';
import { flags } from '../../attacks/support/templates.ts';
import { PORTABLE } from '../token-pair.ts';
import { bytesOf, DIGEST, jwkOf, READ, readable, SIGNS, shows, signsFor, signsOn, VERIFIES } from './clients.ts';
import { type Maker, privateOf, publicOf, type Specimen, type Use } from './specimen.ts';

function curveParams(namedCurve: string, paramEncoding: 'named' | 'explicit' = 'named'): Uint8Array {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve, paramEncoding });
  return paramsIn(new Uint8Array(publicKey.export({ format: 'der', type: 'spki' })))!;
}

const makeEc = ({ source, names }: Maker, params: Uint8Array, ...more: Template) =>
  source.generateKeyPair(
    mechanism(CKM.EC_KEY_PAIR_GEN),
    [[CKA.TOKEN, true], [CKA.EC_PARAMS, params], ...names, ...VERIFIES],
    [...PORTABLE, ...names, ...SIGNS, ...more],
  );

const SIGNED_BY_BOTH = 'ECDSA, checked with the public half there';

const curve = (name: string, openssl: string): Specimen => ({
  kind: `EC ${name} pair`,
  usedBy: SIGNED_BY_BOTH,
  async make(maker) {
    const params = curveParams(openssl);
    await makeEc(maker, params);
    return signsOn(params);
  },
});

function publicPoint(kind: string, pointOf: (key: ReturnType<typeof createECDH>) => Uint8Array): Specimen {
  return {
    kind,
    usedBy: READ,
    async make({ source, names }) {
      const key = createECDH('prime256v1');
      key.generateKeys();
      const point = pointOf(key);
      const parts: Template = [
        [CKA.EC_PARAMS, P256_PARAMS],
        [CKA.EC_POINT, point],
      ];
      await source.create(publicOf(CKK.EC, ...parts, ...names, ...VERIFIES));
      return shows(CKO.PUBLIC_KEY, [[CKA.EC_POINT, point]]);
    },
  };
}

/** A private key on P-256 with a value that the client knows. */
function ecPrivate(kind: string, more: Template, use: (key: KeyObject) => Use, usedBy: string): Specimen {
  return {
    kind,
    usedBy,
    async make({ source, names }) {
      const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const value: Template = [
        [CKA.EC_PARAMS, P256_PARAMS],
        [CKA.VALUE, bytesOf(jwkOf(privateKey).d)],
      ];
      await source.create(privateOf(CKK.EC, ...value, ...names, ...SIGNS, ...more));
      return use(publicKey);
    },
  };
}

const agreement: Specimen = {
  kind: 'EC P-256 pair for agreement',
  usedBy: 'agreement with `node:crypto`',
  async make({ source, names }) {
    const { publicKey } = await source.generateKeyPair(
      mechanism(CKM.EC_KEY_PAIR_GEN),
      [[CKA.TOKEN, true], [CKA.EC_PARAMS, P256_PARAMS], ...names, ...flags({ verify: false, derive: true })],
      [...PORTABLE, ...names, ...flags({ sign: false, derive: true })],
    );
    const shown = (await source.attributes(publicKey, [CKA.EC_POINT])).get(CKA.EC_POINT)!;
    const ours = createECDH('prime256v1');
    const point = ours.generateKeys();
    const secret = ours.computeSecret(tlvOf(shown, OCTET_STRING)!.content);
    return async ({ standby, find }) => {
      const agreed = { type: CKM.ECDH1_DERIVE, point };
      const made = await standby.deriveKey(agreed, await find(CKO.PRIVATE_KEY), readable(secret.length));
      return secret.equals((await standby.attributes(made, [CKA.VALUE])).get(CKA.VALUE)!);
    };
  },
};

export const CURVES: readonly Specimen[] = [
  curve('P-256', 'prime256v1'),
  curve('P-384', 'secp384r1'),
  curve('P-521', 'secp521r1'),
  curve('secp256k1', 'secp256k1'),
  curve('brainpoolP256r1', 'brainpoolP256r1'),
  curve('brainpoolP384r1', 'brainpoolP384r1'),
  curve('brainpoolP512r1', 'brainpoolP512r1'),
  curve('sect233k1', 'sect233k1'),
  curve('P-224', 'secp224r1'),
  curve('P-192', 'prime192v1'),
  agreement,
  {
    kind: 'EC P-256 pair, explicit parameters',
    usedBy: 'ECDSA, checked by `node:crypto`',
    async make({ source, names }) {
      const params = execFileSync('openssl', [
        ...['ecparam', '-name', 'prime256v1'],
        ...['-param_enc', 'explicit', '-outform', 'DER'],
      ]);
      const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const { d, x, y } = jwkOf(privateKey);
      const point = tagged(OCTET_STRING, Buffer.concat([Uint8Array.of(4), bytesOf(x), bytesOf(y)]));
      const half: Template = [[CKA.EC_PARAMS, params], ...names];
      await source.create(privateOf(CKK.EC, ...half, [CKA.VALUE, bytesOf(d)], ...SIGNS));
      await source.create(publicOf(CKK.EC, ...half, [CKA.EC_POINT, point], ...VERIFIES));
      const read = shows(CKO.PUBLIC_KEY, [[CKA.EC_PARAMS, params]]);
      return async (visitor) => (await signsFor(publicKey)(visitor)) && (await read(visitor));
    },
  },
  publicPoint('EC P-256 public key, compressed point', (key) =>
    tagged(OCTET_STRING, Buffer.from(key.getPublicKey('hex', 'compressed'), 'hex')),
  ),
  publicPoint('EC P-256 public key, bare point', (key) => key.getPublicKey()),
];

export const halfPair = ecPrivate('EC private key without public key', [], signsFor, 'ECDSA, checked by `node:crypto`');

const asksForPin: Use = async ({ standby, find }) => {
  const key = await find(CKO.PRIVATE_KEY);
  return standby.sign(mechanism(CKM.ECDSA), key, DIGEST).then(
    () => false,
    (thrown: { returnValue?: string }) => thrown.returnValue === 'CKR_USER_NOT_LOGGED_IN',
  );
};

const ASKS_FOR_PIN: Template = [[CKA.ALWAYS_AUTHENTICATE, true]];

/** Private keys that differ from the others by an attribute. */
export const GUARDED_PAIRS: readonly Specimen[] = [
  ecPrivate('EC private key, ALWAYS_AUTHENTICATE', ASKS_FOR_PIN, () => asksForPin, 'the token asks for the PIN'),
  {
    kind: 'EC pair, ALWAYS_AUTHENTICATE',
    usedBy: 'the token asks for the PIN',
    async make(maker) {
      await makeEc(maker, P256_PARAMS, ...ASKS_FOR_PIN);
      return asksForPin;
    },
  },
];

export const openPrivate = ecPrivate(
  'EC private key, PRIVATE=false',
  flags({ private: false }),
  signsFor,
  'ECDSA, checked by `node:crypto`',
);

export const withPublicKeyInfo: Specimen = {
  kind: 'EC pair, PUBLIC_KEY_INFO set',
  usedBy: SIGNED_BY_BOTH,
  async make(maker) {
    const { privateKey } = await makeEc(maker, P256_PARAMS);
    await maker.source.setAttributeValue(privateKey, [[CKA.PUBLIC_KEY_INFO, Buffer.from('info')]]);
    return signsOn(P256_PARAMS);
  },
};
