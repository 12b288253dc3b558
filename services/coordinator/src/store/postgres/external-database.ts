/** How to connect to a PostgreSQL that somebody else runs. */
import { readFileSync } from 'node:fs';
import { AntipodeError } from '@antipode/runtime';
import type { PoolConfig } from 'pg';
import { EXTERNAL_TLS, parseExternalUrl } from '../../external-url.ts';

/** Parameters of libpq that say how TLS is to be used; `pg` would make settings of its own of them. */
const SSL_PARAMETERS = ['sslmode', 'sslrootcert', 'sslcert', 'sslkey'] as const;
const HOSTS_FORM = 'postgres://user@host-a:5432,host-b:5432/database';

/**
 * One way to connect for each host of the address, in its order; the store takes the first that accepts writes.
 * @throws CONFIG_INVALID
 */
export function externalDatabase(databaseUrl: string): PoolConfig[] {
  return addressesIn(databaseUrl).map(serverAt);
}

/** As libpq has it, the address may name several hosts: `host-a:5432,host-b:5433`. A URL of the standard has one. */
function addressesIn(databaseUrl: string): string[] {
  const [, scheme, user = '', hosts, rest = ''] = /^([a-z]+:\/\/)([^/?#]*@)?([^/?#@]*)(.*)$/s.exec(databaseUrl) ?? [];
  if (scheme === undefined || hosts === undefined || !hosts.includes(',')) return [databaseUrl];
  const names = hosts.split(',');
  if (names.includes(''))
    throw new AntipodeError('CONFIG_INVALID', `databaseUrl has an empty host, expected ${HOSTS_FORM}`, {
      details: { field: 'databaseUrl' },
    });
  return names.map((host) => `${scheme}${user}${host}${rest}`);
}

function serverAt(address: string): PoolConfig {
  const url = parseExternalUrl(address, { field: 'databaseUrl', schemes: ['postgres', 'postgresql'] });
  const attributes = url.searchParams.get('target_session_attrs') ?? 'read-write';
  if (!['read-write', 'primary'].includes(attributes))
    throw new AntipodeError(
      'CONFIG_INVALID',
      `databaseUrl: target_session_attrs "${attributes}", expected read-write, which is the default`,
      { details: { field: 'databaseUrl' } },
    );
  url.searchParams.delete('target_session_attrs');
  const [mode = '', root, certificate, key] = SSL_PARAMETERS.map((name) => url.searchParams.get(name) ?? undefined);
  for (const name of SSL_PARAMETERS) url.searchParams.delete(name);
  const connectionString = url.toString();
  if (mode === '' && [root, certificate, key].some((file) => file !== undefined))
    throw new AntipodeError(
      'CONFIG_INVALID',
      'databaseUrl names certificates but has no sslmode, expected sslmode=verify-full',
      {
        details: { field: 'databaseUrl' },
      },
    );
  if (['', 'disable'].includes(mode)) return { connectionString };
  if (!['require', 'verify-ca', 'verify-full'].includes(mode)) {
    throw new AntipodeError(
      'CONFIG_INVALID',
      `databaseUrl: sslmode "${mode}", expected disable, require, verify-ca or verify-full`,
      {
        details: { field: 'databaseUrl' },
      },
    );
  }
  const file = (path: string): string => read(path, 'databaseUrl');
  return {
    connectionString,
    ssl: {
      ...EXTERNAL_TLS,
      // As libpq has it: `require` encrypts, and proves nothing about the server unless an authority is named.
      rejectUnauthorized: mode !== 'require' || root !== undefined,
      ...(mode === 'verify-ca' ? { checkServerIdentity: () => undefined } : {}),
      ...(root === undefined ? {} : { ca: file(root) }),
      ...(certificate === undefined ? {} : { cert: file(certificate) }),
      ...(key === undefined ? {} : { key: file(key) }),
    },
  };
}

function read(path: string, field: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new AntipodeError('CONFIG_INVALID', `${field}: cannot read ${path}`, { details: { field, path }, cause });
  }
}
