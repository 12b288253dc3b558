import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createPlainServer } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { rejection } from '@antipode/runtime/testing';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { ownCertificate } from '../testing/own-certificate.ts';
import { checkHooks } from './check-hooks.ts';

const dns = (program: string) => ({
  roleChange: [{ name: 'dns', timeoutSeconds: 10, command: [program] as [string] }],
  veto: [],
});

let folder: string;
let secretFile: string;
let server: Server | undefined;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'antipode-hooks-'));
  secretFile = join(folder, 'secret');
  writeFileSync(secretFile, 'a secret of twenty-four b\n');
  chmodSync(secretFile, 0o600);
});
afterEach(() => void server?.close());
afterAll(() => rmSync(folder, { recursive: true }));

const web = (url: string) => ({
  roleChange: [{ name: 'desk', timeoutSeconds: 10, url, secretFile }],
  veto: [],
});

async function listening(made: Server): Promise<number> {
  server = made;
  await new Promise<void>((resolve) => made.listen(0, '127.0.0.1', resolve));
  return (made.address() as AddressInfo).port;
}

it('hooks are named where they can run', async () => {
  expect(await checkHooks(dns('/bin/sh'))).toBe('dns');
});

it.each(['/nowhere/move', '/etc/passwd'])('a hook is found whose program %s cannot run', async (program) => {
  expect((await rejection(checkHooks(dns(program)))).message).toContain(`hook dns: this user cannot run ${program}`);
});

it('a secret that is missing shows, too', async () => {
  const missing = { name: 'desk', timeoutSeconds: 10, url: 'https://desk.example/', secretFile: '/nowhere/secret' };
  expect((await rejection(checkHooks({ roleChange: [missing], veto: [] }))).code).toBe('CONFIG_INVALID');
});

it('a web address that nobody listens at is found, and nothing is sent to one that answers', async () => {
  const asked: string[] = [];
  const port = await listening(createPlainServer((request) => void asked.push(request.url ?? '')));
  expect(await checkHooks(web(`http://127.0.0.1:${port}/moves`))).toBe('desk');
  expect(asked).toEqual([]);
  await new Promise((resolve) => server?.close(resolve));
  const error = await rejection(checkHooks(web(`http://127.0.0.1:${port}/moves`)));
  expect([error.code, error.message]).toEqual(['HOOK_FAILED', expect.stringContaining('ECONNREFUSED')]);
});

it('a certificate that this machine does not trust is found', async () => {
  const { cert, key, tls } = await ownCertificate();
  const port = await listening(createServer({ cert, key }));
  const hooks = web(`https://127.0.0.1:${port}/moves`);
  expect((await rejection(checkHooks(hooks))).message).toContain('cannot connect to https://127.0.0.1');
  expect(await checkHooks(hooks, { tls })).toBe('desk');
});
