/** How to connect to a PostgreSQL that somebody else runs. */
import { readFileSync } from 'node:fs';
import { AntipodeError } from '@antipode/runtime';
import type { PoolConfig } from 'pg';
import { EXTERNAL_TLS, parseExternalUrl } from '../external-url.ts';

/** Parameters of libpq that say how TLS is to be used; `pg` would make settings of its own of them. */
const SSL_PARAMETERS = ['sslmode', 'sslrootcert', 'sslcert', 'sslkey'] as const;

/** @throws CONFIG_INVALID */
export function externalDatabase(databaseUrl: string): PoolConfig {
  const url = parseExternalUrl(databaseUrl, { field: 'databaseUrl', schemes: ['postgres', 'postgresql'] });
  const [mode = '', root, certificate, key] = SSL_PARAMETERS.map((name) => url.searchParams.get(name) ?? undefined);
  for (const name of SSL_PARAMETERS) url.searchParams.delete(name);
  const connectionString = url.toString();
  if (mode === '' && [root, certificate, key].some((file) => file !== undefined))
    throw new AntipodeError('CONFIG_INVALID', 'databaseUrl names certificates without sslmode, expected verify-full', {
      details: { field: 'databaseUrl' },
    });
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
