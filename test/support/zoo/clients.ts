/** The parts that pairs of the zoo share: a message, and clients that check a signature. */
import { createHash, createPublicKey, type JsonWebKey, type KeyObject, verify } from 'node:crypto';
import { CKA, CKK, CKM, CKO, mechanism, type Template } from '@antipode/cryptoki';
import { ecSubject, OCTET_STRING, tlvOf } from '@antipode/hsm-core/testing';
import { flags } from '../../attacks/support/templates.ts';
import type { Use } from './specimen.ts';

export const MESSAGE = Buffer.from('pay 12 to Anna');
/** Short enough for every curve: no order is shorter. */
const HASH = 'sha1';
export const DIGEST = createHash(HASH).update(MESSAGE).digest();
export const SIGNS = flags({ sign: true, derive: false });
export const VERIFIES = flags({ verify: true, derive: false });
export const READ = 'read back by a client';

export const bytesOf = (text: string | undefined): Buffer => Buffer.from(text ?? '', 'base64url');
export const jwkOf = (key: KeyObject): JsonWebKey => key.export({ format: 'jwk' });

/** Signs by the private half on a curve, and checks with the public half as it is at the standby. */
export const signsOn =
  (params: Uint8Array): Use =>
  async (visitor) => {
    const shown = await visitor.standby.attributes(await visitor.find(CKO.PUBLIC_KEY), [CKA.EC_POINT]);
    const point = tlvOf(shown.get(CKA.EC_POINT)!, OCTET_STRING)!.content;
    const key = Buffer.from(ecSubject(params, point));
    return signsFor(createPublicKey({ key, format: 'der', type: 'spki' }))(visitor);
  };

/** Signs by the private key under the specimen's names, and checks with a public key that the client brings along. */
export const signsFor =
  (publicKey: KeyObject, by: number = CKM.ECDSA): Use =>
  async ({ standby, find }) => {
    const signature = await standby.sign(mechanism(by), await find(CKO.PRIVATE_KEY), DIGEST);
    return verify(HASH, MESSAGE, { key: publicKey, dsaEncoding: 'ieee-p1363' }, signature);
  };

/** Checks that the standby has an object of this class with these attributes. */
export const shows =
  (objectClass: number, wanted: Template): Use =>
  async ({ standby, find }) => {
    const read = await standby.attributes(
      await find(objectClass),
      wanted.map(([type]) => type),
    );
    return wanted.every(([type, value]) => Buffer.from(value as Uint8Array).equals(read.get(type) ?? Buffer.alloc(0)));
  };

/** A secret of the session that a client reads. */
export const readable = (bytes: number): Template => [
  [CKA.CLASS, CKO.SECRET_KEY],
  [CKA.KEY_TYPE, CKK.GENERIC_SECRET],
  [CKA.TOKEN, false],
  [CKA.SENSITIVE, false],
  [CKA.EXTRACTABLE, true],
  [CKA.VALUE_LEN, bytes],
];
