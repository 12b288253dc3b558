/**
 * Reads the addresses of a PostgreSQL or a Redis that somebody else runs. TLS between sites is pinned for the whole
 * process (protocol, tls.ts). External servers may support neither TLS 1.3 nor the post-quantum key agreement, so these
 * connections set their own TLS options.
 */
import type { ConnectionOptions } from 'node:tls';
import { AntipodeError } from '@antipode/runtime';

export const EXTERNAL_TLS: ConnectionOptions = { minVersion: 'TLSv1.2', ecdhCurve: 'auto' };

/** The address may hold a password, so no message repeats it. @throws CONFIG_INVALID */
export function parseExternalUrl(text: string, { field, schemes }: { field: string; schemes: readonly string[] }): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url !== undefined && schemes.includes(url.protocol.slice(0, -1))) return url;
  throw new AntipodeError('CONFIG_INVALID', `${field} is not an address of the form ${schemes.join(' or ')}://...`, {
    details: { field },
  });
}
