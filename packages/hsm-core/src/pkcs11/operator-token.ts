/**
 * The token of an operator, with a key that signs approvals: Ed25519, or P-256. The command of a person opens it, in its
 * own process and for one signature. It never holds keys of a group.
 */
import { CKA, CKK, CKM, CKO, mechanism } from '@antipode/cryptoki';
import { AntipodeError, sha256 } from '@antipode/runtime';
import { CURVES } from '../model/curve.ts';
import { barePoint, ecPublicHalf } from '../model/public-half.ts';
import { twistedPublicHalf } from '../model/twisted-curve.ts';
import { openSession, type PartitionConfig } from './session/session.ts';

export interface OperatorTokenKey {
  readonly module: string;
  readonly tokenLabel: string;
  readonly serial?: string;
  /** CKA_LABEL of the private key, CKA_ID, or both. */
  readonly label?: string;
  readonly id?: Uint8Array;
  readonly pinFile: string;
  /** Where the login guard keeps its record: a PIN is tried once. */
  readonly stateFolder: string;
}

export interface OperatorToken {
  /** SubjectPublicKeyInfo; undefined where the token shows no public half. */
  readonly publicKey: Uint8Array | undefined;
  /** Ed25519, or ECDSA with SHA-256 (r || s). */
  sign(bytes: Uint8Array): Uint8Array;
}

const [P256] = CURVES;

/** @throws PARTITION_NOT_FOUND, PIN_REFUSED, PIN_LOCKED, NOT_FOUND, HSM_REFUSED */
export async function useOperatorToken<T>(key: OperatorTokenKey, work: (token: OperatorToken) => T): Promise<T> {
  const { module, tokenLabel, serial, pinFile, stateFolder, label, id } = key;
  const config: PartitionConfig = {
    module,
    tokenLabel,
    ...(serial === undefined ? {} : { serial }),
    pinFile,
    stateFolder,
  };
  const { cryptoki, session } = await openSession(config);
  try {
    const named = [
      ...(label === undefined ? [] : [[CKA.LABEL, Buffer.from(label)] as const]),
      ...(id === undefined ? [] : [[CKA.ID, id] as const]),
    ];
    const ofType = (type: number) =>
      cryptoki
        .find(session, [[CKA.CLASS, CKO.PRIVATE_KEY], [CKA.KEY_TYPE, type], ...named])
        .map((handle) => ({ handle, type }));
    const found = [CKK.EC_EDWARDS, CKK.EC].flatMap(ofType);
    const [only, second] = found;
    if (only === undefined || second !== undefined)
      throw new AntipodeError(
        'NOT_FOUND',
        `${found.length} private keys of the token have that label and id, and sign with Ed25519 or P-256; expected one`,
        { details: { found: found.length }, hint: 'Name the key with `object=` and `id=` in the URI.' },
      );
    const isEdwards = only.type === CKK.EC_EDWARDS;
    const ckaId = cryptoki.attributes(session, only.handle, [CKA.ID])?.get(CKA.ID) ?? Buffer.alloc(0);
    const [publicHandle] = cryptoki.find(session, [
      [CKA.CLASS, CKO.PUBLIC_KEY],
      [CKA.KEY_TYPE, only.type],
      [CKA.ID, ckaId],
    ]);
    const point =
      publicHandle === undefined
        ? undefined
        : cryptoki.attributes(session, publicHandle, [CKA.EC_POINT])?.get(CKA.EC_POINT);
    return work({
      publicKey: point && (isEdwards ? twistedPublicHalf('ed25519', point) : p256Half(point)),
      sign: (bytes) =>
        new Uint8Array(
          isEdwards
            ? cryptoki.sign(session, mechanism(CKM.EDDSA), only.handle, bytes)
            : cryptoki.sign(session, mechanism(CKM.ECDSA), only.handle, sha256(bytes)),
        ),
    });
  } finally {
    cryptoki.finalize();
  }
}

function p256Half(encoded: Uint8Array): Uint8Array | undefined {
  const point = barePoint(P256!, encoded);
  return point && new Uint8Array(ecPublicHalf(P256!, point));
}
