import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { thrown } from '@antipode/runtime/testing';
import { afterAll, describe, expect, it } from 'vitest';
import { externalDatabase as serversOf } from './external-database.ts';

const folder = mkdtempSync(join(tmpdir(), 'antipode-external-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = (name: string): string => {
  const path = join(folder, name);
  writeFileSync(path, `contents of ${name}`);
  return path;
};
const externalDatabase = (url: string) => serversOf(url)[0]!;
const BASE = 'postgres://antipode:secret@db.example:5433/antipode';

describe('a database that somebody else runs', () => {
  it.each(['', '?sslmode=disable'])('is spoken to in plain where its address says nothing else: "%s"', (query) => {
    expect(externalDatabase(`${BASE}${query}`)).toEqual({ connectionString: BASE });
  });

  it('keeps the parameters of its address that do not concern TLS', () => {
    const { connectionString, ssl } = externalDatabase(`${BASE}?application_name=antipode&sslmode=verify-full`);
    expect(connectionString).toBe(`${BASE}?application_name=antipode`);
    expect(ssl).toMatchObject({ minVersion: 'TLSv1.2', ecdhCurve: 'auto' });
  });

  it.each([
    ['require', '', false],
    ['require', `&sslrootcert=${file('ca.pem')}`, true],
    ['verify-ca', '', true],
    ['verify-full', '', true],
  ])('proves who it is under sslmode=%s%s: %s', (mode, query, isProven) => {
    const { ssl } = externalDatabase(`${BASE}?sslmode=${mode}${query}`);
    expect(ssl).toMatchObject({ rejectUnauthorized: isProven });
  });

  it('may be several servers, each with the parameters of all, in the order of the address', () => {
    const url = 'postgres://antipode:s%40cret@db-a:5433,db-b,[::1]:5434/antipode?application_name=x';
    expect(serversOf(`${url}&target_session_attrs=read-write`).map(({ connectionString }) => connectionString)).toEqual(
      [
        'postgres://antipode:s%40cret@db-a:5433/antipode?application_name=x',
        'postgres://antipode:s%40cret@db-b/antipode?application_name=x',
        'postgres://antipode:s%40cret@[::1]:5434/antipode?application_name=x',
      ],
    );
    expect(serversOf('postgres://db-a,db-b/antipode?sslmode=verify-full').map(({ ssl }) => typeof ssl)).toEqual([
      'object',
      'object',
    ]);
  });

  it('may have another name than its certificate only under verify-ca', () => {
    const checks = ['require', 'verify-ca', 'verify-full'].map((mode) => {
      const { ssl } = externalDatabase(`${BASE}?sslmode=${mode}&sslrootcert=${file('ca.pem')}`);
      return typeof ssl === 'object' && 'checkServerIdentity' in ssl;
    });
    expect(checks).toEqual([false, true, false]);
  });

  it('is given the certificates that its address names', () => {
    const query = `sslrootcert=${file('ca.pem')}&sslcert=${file('own.pem')}&sslkey=${file('own.key')}`;
    expect(externalDatabase(`${BASE}?sslmode=verify-full&${query}`)).toMatchObject({
      connectionString: BASE,
      ssl: { ca: 'contents of ca.pem', cert: 'contents of own.pem', key: 'contents of own.key' },
    });
  });

  it.each([
    ['postgres://antipode:secret@ /', undefined],
    [`${BASE}?sslmode=prefer`, undefined],
    ['postgres://antipode:secret@db-a,,db-b/antipode', undefined],
    [`${BASE}?target_session_attrs=standby`, undefined],
    [`${BASE}?sslmode=no-verify`, undefined],
    [`${BASE}?sslmode=verify-full&sslrootcert=/nonexistent/ca.pem`, '/nonexistent/ca.pem'],
  ])('is refused as %s, and no password is repeated', (url, path) => {
    const error = thrown(() => externalDatabase(url));
    expect(error.code).toBe('CONFIG_INVALID');
    expect(error.details).toEqual({ field: 'databaseUrl', ...(path === undefined ? {} : { path }) });
    expect(error.message).not.toContain('secret');
  });
});
