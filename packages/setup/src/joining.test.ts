import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { JoinToken } from '@antipode/protocol';
import { temporaryBase } from '@antipode/runtime';
import { FakeClock, rejection } from '@antipode/runtime/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { makeAuthority } from './folders.ts';
import { joinCertificate } from './joining.ts';

const folder = mkdtempSync(join(temporaryBase(), 'joining-'));
beforeAll(() => makeAuthority({ folder: join(folder, 'ca'), trustDomain: 'other.example' }));
afterAll(() => rmSync(folder, { recursive: true }));

const TOKEN: JoinToken = {
  id: 'a'.repeat(16),
  trustDomain: 'test.example',
  site: 'b',
  secret: new Uint8Array(32),
  expiresMs: 0,
  authorities: ['b'.repeat(64)],
  // Nobody is asked.
  coordinators: [],
};

it.each([
  ['of another authority', () => readFileSync(join(folder, 'ca', 'ca.crt'), 'utf8')],
  ['that cannot be read', () => 'no certificate'],
])('keeps a ca.crt %s, and does not use the token', async (_of, contents) => {
  const site = mkdtempSync(join(folder, 'site-'));
  const before = contents();
  writeFileSync(join(site, 'ca.crt'), before);
  const error = await rejection(joinCertificate(TOKEN, { folder: site, clock: new FakeClock(), note: () => {} }));
  expect([error.code, readdirSync(site)]).toEqual(['CERTIFICATE_INVALID', ['ca.crt']]);
  expect(readFileSync(join(site, 'ca.crt'), 'utf8')).toBe(before);
});
