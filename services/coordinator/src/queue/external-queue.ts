/** How to connect to a Redis that somebody else runs. */
import type { RedisOptions } from 'ioredis';
import { EXTERNAL_TLS, parseExternalUrl } from '../external-url.ts';

/** `redis://` or, over TLS, `rediss://`. @throws CONFIG_INVALID */
export function externalQueue(redisUrl: string): RedisOptions {
  const { protocol, hostname, port, username, password, pathname } = parseExternalUrl(redisUrl, 'redisUrl');
  const database = Number(pathname.slice(1) || '0');
  return {
    host: hostname.replace(/^\[|\]$/g, ''),
    port: Number(port || '6379'),
    ...(username === '' ? {} : { username: decodeURIComponent(username) }),
    ...(password === '' ? {} : { password: decodeURIComponent(password) }),
    ...(Number.isInteger(database) ? { db: database } : {}),
    ...(protocol === 'rediss:' ? { tls: { ...EXTERNAL_TLS, servername: hostname } } : {}),
  };
}
