/**
 * The three steps by which one SoftHSM token comes to share the token key of another (ADR 0056): request, grant, accept.
 * Each runs in a process of its own (process.ts), which is the only one that has the token key in the clear (I5).
 */
import { aesGcm, CKA, CKK, CKM, CKO, type Cryptoki, ecdh, mechanism, type Template } from '@antipode/cryptoki';
import { AntipodeError, readPinFile, sha256, systemClock, systemPrng } from '@antipode/runtime';
import type { IdentityRecord } from '../../domain-key/keyring.ts';
import { isSignedBy } from '../../model/manifest/signed-manifest.ts';
import { fingerprint } from '../../model/public-half.ts';
import { POINT_BYTES } from '../../pkcs11/agreement.ts';
import { generateP256 } from '../../pkcs11/own-keys/p256.ts';
import { openSession, ownersOf, type PartitionConfig } from '../../pkcs11/session/session.ts';
import type { TokenSession } from '../../pkcs11/token-session.ts';
import { rekeyToken } from '../rekey.ts';
import { openTokenKey } from '../softhsm-cloner.ts';
import { findTokenFolder } from '../token-folder.ts';
import { TOKEN_KEY_BYTES, TokenKey } from '../token-key.ts';
import {
  type ConfirmedPartition,
  checkGrant,
  checkRequest,
  type Grant,
  grantBytes,
  grantHead,
  NONCE_BYTES,
  type Request,
  refuse,
  requestBytes,
  requestDigest,
  type Signed,
} from './messages.ts';

/** A partition of this site, with the identity that its journal has. */
export interface SharingPartition {
  readonly config: PartitionConfig;
  readonly identity: IdentityRecord;
}

const IV_BYTES = 12;
const RECEIVER_LABEL = 'antipode token key receiver';

/** At the standby: makes the key that receives, in its token. @throws TOKEN_STORE_UNUSABLE, IDENTITY_MISSING */
export function requestTokenKey(partition: SharingPartition, giver: ConfirmedPartition): Promise<Signed<Request>> {
  return within(partition, (context) => {
    // Says before anything is made where the store cannot be cloned.
    findTokenFolder({ serial: partition.identity.serial });
    const { serial, publicHalf: identity } = partition.identity;
    const nonce = systemPrng.bytes(NONCE_BYTES);
    const { publicHalf } = generateP256(context, {
      privateKey: [
        [CKA.TOKEN, true],
        [CKA.LABEL, Buffer.from(RECEIVER_LABEL)],
        [CKA.ID, receiverId(nonce)],
        ...DERIVES,
        [CKA.COPYABLE, false],
        [CKA.MODIFIABLE, false],
      ],
    });
    const request = { serial, identity, giver, nonce, point: publicHalf.slice(-POINT_BYTES) };
    return { ...request, signature: sign(context, partition.identity, requestBytes(request)) };
  });
}

/** At the source: encrypts the token key for the partition that the operator has confirmed. @throws TOKEN_KEY_REFUSED */
export function grantTokenKey(
  partition: SharingPartition,
  { request, taker }: { readonly request: Signed<Request>; readonly taker: ConfirmedPartition },
): Promise<Signed<Grant>> {
  return within(partition, (context) => {
    checkRequest(request, { taker, giver: confirmed(partition.identity) });
    const { path } = findTokenFolder({ serial: partition.identity.serial });
    const { privateKey, publicHalf } = generateP256(context, { privateKey: [[CKA.TOKEN, false], ...DERIVES] });
    const { serial, publicHalf: identity } = partition.identity;
    const head = { serial, identity, request: requestDigest(request), point: publicHalf.slice(-POINT_BYTES) };
    const agreed = agree(context, { privateKey, point: request.point, use: CKA.ENCRYPT });
    const iv = systemPrng.bytes(IV_BYTES);
    const key = openTokenKey(path, readerOf(partition));
    try {
      const ciphertext = key.expose((bytes) =>
        context.cryptoki.encrypt(context.session, aesGcm(iv, grantHead(head)), agreed, bytes),
      );
      const grant = { ...head, sealed: new Uint8Array(Buffer.concat([iv, ciphertext])) };
      return { ...grant, signature: sign(context, partition.identity, grantBytes(grant)) };
    } finally {
      key.wipe();
      for (const handle of [privateKey, agreed]) context.cryptoki.destroy(context.session, handle);
    }
  });
}

/**
 * At the standby: takes the key over, with everything that is in the token. Safe to repeat. Nobody else may use the token
 * meanwhile. Returns the name of the cloning domain.
 * @throws TOKEN_KEY_REFUSED, TOKEN_STORE_UNUSABLE, HSM_UNAVAILABLE, and the token is as it was then
 */
export async function acceptTokenKey(
  partition: SharingPartition,
  options: {
    readonly request: Signed<Request>;
    readonly grant: Signed<Grant>;
    readonly giver: ConfirmedPartition;
    readonly officerPinFile: string;
  },
): Promise<Uint8Array> {
  const { request, grant, giver, officerPinFile } = options;
  checkRequest(request, { taker: confirmed(partition.identity), giver });
  checkGrant(grant, { giver, request });
  const newKey = await within(partition, (context) => opened(context, request, grant));
  try {
    await rekeyToken({
      folder: findTokenFolder({ serial: partition.identity.serial }),
      clock: systemClock,
      newKey,
      readPin: readerOf(partition),
      readOfficerPin: () => readPinFile(officerPinFile, { owners: ownersOf(partition.config.stateFolder) }),
    });
    // The receiving key has served. The module reads the token afresh here.
    await within(partition, (context) => {
      for (const handle of receivers(context, request)) context.cryptoki.destroy(context.session, handle);
    });
    return newKey.domain();
  } finally {
    newKey.wipe();
  }
}

function opened(
  context: TokenSession,
  { nonce, point: own, ...request }: Signed<Request>,
  grant: Signed<Grant>,
): TokenKey {
  const [receiver] = receivers(context, { nonce });
  if (receiver === undefined)
    refuse(`the key that was made for this request is not in the token of partition ${request.serial} any more`);
  const agreed = agree(context, { privateKey: receiver, point: grant.point, use: CKA.DECRYPT });
  const [iv, ciphertext] = [grant.sealed.subarray(0, IV_BYTES), grant.sealed.subarray(IV_BYTES)];
  const plain = decrypted(context, { key: agreed, iv, ciphertext, aad: grantHead(grant) });
  context.cryptoki.destroy(context.session, agreed);
  const key = Buffer.alloc(TOKEN_KEY_BYTES);
  try {
    if (plain.length !== TOKEN_KEY_BYTES)
      refuse(`the key in the grant has ${plain.length} bytes, not ${TOKEN_KEY_BYTES}`);
    key.set(plain);
    return new TokenKey(key);
  } finally {
    plain.fill(0);
  }
}

function decrypted(
  { cryptoki, session }: TokenSession,
  { key, iv, ciphertext, aad }: { key: bigint; iv: Uint8Array; ciphertext: Uint8Array; aad: Uint8Array },
): Buffer {
  try {
    return cryptoki.decrypt(session, aesGcm(iv, aad), key, ciphertext);
  } catch {
    return refuse('the grant does not open with the key that was made for the request');
  }
}

/** May agree with a point, and nothing else. */
const DERIVES: Template = [
  [CKA.PRIVATE, true],
  [CKA.SENSITIVE, true],
  [CKA.EXTRACTABLE, false],
  [CKA.SIGN, false],
  [CKA.DECRYPT, false],
  [CKA.DERIVE, true],
];

/** The pairs on both sides are fresh, so that the agreed secret is used once. */
function agree(
  { cryptoki, session }: TokenSession,
  { privateKey, point, use }: { privateKey: bigint; point: Uint8Array; use: number },
): bigint {
  return cryptoki.deriveKey(session, ecdh(point), privateKey, [
    [CKA.CLASS, CKO.SECRET_KEY],
    [CKA.KEY_TYPE, CKK.AES],
    [CKA.VALUE_LEN, 32],
    [CKA.TOKEN, false],
    [CKA.PRIVATE, true],
    [CKA.SENSITIVE, true],
    [CKA.EXTRACTABLE, false],
    [use, true],
  ]);
}

/** Found by its id, as own keys are. */
const receiverId = (nonce: Uint8Array): Uint8Array =>
  sha256(Buffer.concat([Buffer.from(`${RECEIVER_LABEL}\0`), nonce])).slice(0, 16);

const receivers = ({ cryptoki, session }: TokenSession, { nonce }: { readonly nonce: Uint8Array }): bigint[] =>
  cryptoki.find(session, [
    [CKA.CLASS, CKO.PRIVATE_KEY],
    [CKA.ID, receiverId(nonce)],
  ]);

const confirmed = ({ serial, publicHalf }: IdentityRecord): ConfirmedPartition => ({
  serial,
  identitySha256: fingerprint(publicHalf),
});

/** By the identity key, in the token. @throws IDENTITY_MISSING */
function sign({ cryptoki, session }: TokenSession, { ckaId, publicHalf, serial }: IdentityRecord, bytes: Uint8Array) {
  const keys = cryptoki.find(session, [
    [CKA.CLASS, CKO.PRIVATE_KEY],
    [CKA.ID, ckaId],
    [CKA.SIGN, true],
  ]);
  for (const key of keys) {
    const signature = new Uint8Array(cryptoki.sign(session, mechanism(CKM.ECDSA), key, sha256(bytes)));
    if (isSignedBy(publicHalf, bytes, signature)) return signature;
  }
  throw new AntipodeError('IDENTITY_MISSING', `the identity key of partition ${serial} is not in its token`, {
    details: { serial },
  });
}

const readerOf =
  ({ config: { pinFile, stateFolder } }: SharingPartition) =>
  () =>
    readPinFile(pinFile, { owners: ownersOf(stateFolder) });

/** Logs in for one piece of work, and gives the module up afterwards. */
async function within<T>(
  { config, identity }: SharingPartition,
  work: (context: { readonly cryptoki: Cryptoki; readonly session: bigint }) => T,
): Promise<T> {
  const { cryptoki, session, token } = await openSession({ ...config, serial: identity.serial });
  try {
    if (token.serial !== identity.serial) refuse(`the token has serial ${token.serial}, expected ${identity.serial}`);
    return work({ cryptoki, session });
  } finally {
    cryptoki.finalize();
  }
}
