/** A session on a token in which the user is logged in: every part of the provider works with one. */
import type { Cryptoki, Mechanism } from '@antipode/cryptoki';
import type { Agreement } from './agreement.ts';
import type { KnownValues } from './known-values.ts';

export interface TokenSession {
  readonly cryptoki: Cryptoki;
  readonly session: bigint;
}

export interface WrappingSession extends TokenSession {
  /** By which this token wraps as RFC 5649 has it. */
  readonly keyWrap: Mechanism;
  readonly agreement: Agreement;
  readonly values: KnownValues;
}
