/** How to connect to a Redis that somebody else runs. */
import { isIP } from 'node:net';
import { AntipodeError } from '@antipode/runtime';
import type { RedisOptions } from 'ioredis';
import { EXTERNAL_TLS, parseExternalUrl } from '../external-url.ts';

/** `redis://` or, over TLS, `rediss://`. @throws CONFIG_INVALID */
export function externalQueue(redisUrl: string): RedisOptions {
  const { protocol, hostname, port, username, password, pathname } = parseExternalUrl(redisUrl, {
    field: 'redisUrl',
    schemes: ['redis', 'rediss'],
  });
  const host = hostname.replace(/^\[|\]$/g, '');
  const database = pathname.slice(1) || '0';
  if (host === '' || !/^\d{1,5}$/.test(database))
    throw invalid('expected redis[s]://[user:password@]host[:port][/number]');
  return {
    host,
    port: Number(port || '6379'),
    db: Number(database),
    ...(username === '' ? {} : { username: decoded(username) }),
    ...(password === '' ? {} : { password: decoded(password) }),
    // An address must not stand as a name in the handshake (RFC 6066, section 3).
    ...(protocol === 'rediss:' ? { tls: { ...EXTERNAL_TLS, ...(isIP(host) === 0 ? { servername: host } : {}) } } : {}),
  };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw invalid('its user or password is not encoded for a URL');
  }
}

/** Never with the address itself, which may hold a password. */
function invalid(why: string): AntipodeError {
  return new AntipodeError('CONFIG_INVALID', `redisUrl: ${why}`, { details: { field: 'redisUrl' } });
}
