/** A session on a token of which a unit test writes the calls, and that does everything as the standard has it. */
import { CKM, type Cryptoki, mechanism } from '@antipode/cryptoki';
import { type Agreement, PLAIN } from '../pkcs11/agreement.ts';
import { type Crossing, wrappingSession } from '../pkcs11/known-values.ts';
import type { WrappingSession } from '../pkcs11/token-session.ts';

export const soundSession = (
  cryptoki: Cryptoki,
  { agreement = PLAIN, crossing = { creates: true, shows: true } }: { agreement?: Agreement; crossing?: Crossing } = {},
): WrappingSession =>
  wrappingSession({ cryptoki, session: 1n }, { keyWrap: mechanism(CKM.AES_KEY_WRAP_KWP), agreement, crossing });
