/**
 * Whether Node's own cryptography, or OpenSSL in it, refuses what an object shows: too small, too large, no such point.
 */
export function isSoftwareRefusal(thrown: unknown): thrown is NodeJS.ErrnoException {
  return thrown instanceof Error && 'code' in thrown && /^ERR_(OSSL|CRYPTO|OUT_OF_RANGE)/.test(String(thrown.code));
}
