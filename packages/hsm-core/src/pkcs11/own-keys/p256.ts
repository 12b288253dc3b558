/** Key pairs on P-256: identities and ephemeral keys. The public half is read and does not stay in the token. */
import { CKA, CKM, mechanism, P256_PARAMS, type Template } from '@antipode/cryptoki';
import { AntipodeError, bytesEqual } from '@antipode/runtime';
import { CURVES } from '../../model/curve.ts';
import type { Handle } from '../../model/object.ts';
import { barePoint, ecPublicHalf } from '../../model/public-half.ts';
import type { TokenSession } from '../token-session.ts';

const P256 = CURVES[0]!;

export function generateP256(
  context: TokenSession,
  { publicUses = [], privateKey: template }: { publicUses?: Template; privateKey: Template },
): { privateKey: Handle; publicHalf: Uint8Array } {
  const { cryptoki, session } = context;
  const { publicKey, privateKey } = cryptoki.generateKeyPair(
    session,
    mechanism(CKM.EC_KEY_PAIR_GEN),
    [[CKA.TOKEN, false], [CKA.EC_PARAMS, P256_PARAMS], ...publicUses],
    template,
  );
  const publicHalf = readHalf(context, publicKey);
  cryptoki.destroy(session, publicKey);
  if (publicHalf !== undefined) return { privateKey, publicHalf };
  cryptoki.destroy(session, privateKey);
  throw new AntipodeError('HSM_REFUSED', 'the token shows no point for a key that it just made', {
    details: { call: 'C_GetAttributeValue' },
  });
}

export function isHalfOf(context: TokenSession, publicKey: Handle, publicHalf: Uint8Array): boolean {
  const found = readHalf(context, publicKey);
  return found !== undefined && bytesEqual(found, publicHalf);
}

function readHalf({ cryptoki, session }: TokenSession, publicKey: Handle): Uint8Array | undefined {
  const encoded = cryptoki.attributes(session, publicKey, [CKA.EC_POINT])?.get(CKA.EC_POINT);
  const point = encoded && barePoint(P256, encoded);
  return point && new Uint8Array(ecPublicHalf(P256, point));
}
