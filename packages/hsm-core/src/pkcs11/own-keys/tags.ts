/** Names of keys and values that do not tell them: only whoever holds the domain key can test a guess. */
import { sha256 } from '@antipode/runtime';
import type { Handle } from '../../model/object.ts';
import type { WrappingSession } from '../token-session.ts';

/**
 * Names a domain key without telling it: SHA-256 of a constant wrapped under it. Wrapping by RFC 5649 is
 * deterministic and a pseudo-random permutation, so equal tags mean equal keys, and the tag does not lead back.
 */
export const checkTagOf = (context: WrappingSession, domainKey: Handle): Uint8Array =>
  tagOf(context, domainKey, Buffer.from('antipode domain key check v1'));

/** SHA-256 of (SHA-256 of the value, wrapped). */
export function tagOf(
  { cryptoki, session, keyWrap, values }: WrappingSession,
  domainKey: Handle,
  value: Uint8Array,
): Uint8Array {
  const digest = values.make(sha256(value));
  try {
    return sha256(cryptoki.wrapKey(session, keyWrap, domainKey, digest));
  } finally {
    cryptoki.destroy(session, digest);
  }
}
