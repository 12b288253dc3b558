/** The value of a data object, or of a throw-away key of a proof: never of a key that is there to stay (I5). */
import { CKA } from '@antipode/cryptoki';
import type { Handle } from '../../model/object.ts';
import type { TokenSession } from '../token-session.ts';

export const readValue = ({ cryptoki, session }: TokenSession, handle: Handle): Buffer | undefined =>
  cryptoki.attributes(session, handle, [CKA.VALUE])?.get(CKA.VALUE);
