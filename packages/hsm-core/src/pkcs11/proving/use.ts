/** Ways to try a key without anything to compare with. */
import { mechanism } from '@antipode/cryptoki';
import type { Attributes } from '../../model/attributes.ts';
import type { TokenSession } from '../token-session.ts';

/** One way to use a key. */
export interface Use {
  readonly flag: boolean | undefined;
  /** Absent where the key's own list of mechanisms does not matter. */
  readonly type?: number;
  readonly work: (key: bigint) => unknown;
}

/** Signing by one mechanism. */
export const signingUse = (
  { cryptoki, session }: TokenSession,
  { sign }: Attributes,
  { type, data }: { type: number; data: Uint8Array },
): Use => ({ flag: sign, type, work: (key) => cryptoki.sign(session, mechanism(type), key, data) });
