import { execFileSync } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { systemClock, temporaryBase } from '@antipode/runtime';
import { thrown } from '@antipode/runtime/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openHooks } from './open-hooks.ts';

const KEY = Buffer.from('0123456789abcdefghijklmnopqrstuv');
let folder: string;
let secretFile: string;
beforeAll(() => {
  folder = mkdtempSync(join(temporaryBase(), 'antipode-secrets-'));
  secretFile = join(folder, 'secret');
});
afterAll(() => rmSync(folder, { recursive: true }));

const open = (url = 'https://desk.example/') =>
  openHooks(
    { roleChange: [], veto: [{ name: 'desk', url, secretFile, timeoutSeconds: 10, ifUnanswered: 'refuse' }] },
    { clock: systemClock },
  ).veto[0]!.hook;

function asFolder(): void {
  rmSync(secretFile);
  mkdirSync(secretFile);
}

function makePipe(): void {
  rmSync(secretFile);
  execFileSync('mkfifo', ['-m', '600', secretFile]);
}

describe('the secret of a hook', () => {
  it.each([
    ['as it is written', `${KEY}\n`],
    ['in Base64, by its prefix', `whsec_${KEY.toString('base64')}\r\n`],
  ])('signs messages %s', async (_how, text) => {
    writeFileSync(secretFile, text, { mode: 0o600 });
    const headers = await new Promise<IncomingMessage['headers']>((resolve) => {
      const server = createServer((request, response) => {
        response.end();
        server.close();
        resolve(request.headers);
      });
      server.listen(0, '127.0.0.1', () => {
        const { port } = server.address() as AddressInfo;
        const change = { type: 'role-change', group: 'g', epoch: 1n, site: 'a', serial: '1' } as const;
        void open(`http://127.0.0.1:${port}/`).call({ ...change, module: '', tokenLabel: '', previousSite: '' });
      });
    });
    const body =
      '{"id":"role-change/g/1","type":"role-change","group":"g","epoch":"1","site":"a","serial":"1","module":"","tokenLabel":"","previousSite":""}';
    const signed = `role-change/g/1.${headers['webhook-timestamp']}.${body}`;
    expect(headers['webhook-signature']).toBe(`v1,${createHmac('sha256', KEY).update(signed).digest('base64')}`);
  });

  it.each([
    ['is short', () => writeFileSync(secretFile, 'swordfish\n'), 'has 9 bytes, expected at least 24'],
    ['others can read', () => chmodSync(secretFile, 0o644), 'has mode 644, expected 600 or 400'],
    ['is a folder', asFolder, 'is not a regular file'],
    ['is missing', () => rmSync(secretFile, { recursive: true }), 'cannot be read (ENOENT)'],
    ['is a pipe', () => makePipe(), 'is not a regular file'],
  ])('is refused at the start where it %s', (_what, spoil, message) => {
    rmSync(secretFile, { recursive: true, force: true });
    writeFileSync(secretFile, KEY, { mode: 0o600 });
    spoil();
    const error = thrown(open);
    expect([error.code, error.message]).toEqual([
      'CONFIG_INVALID',
      expect.stringContaining(`${secretFile}, ${message}`),
    ]);
    expect(JSON.stringify(error.details)).not.toContain('swordfish');
  });
});
