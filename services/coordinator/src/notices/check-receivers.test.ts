import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { rejection } from '@antipode/runtime/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { coordinatorConfigSchema } from '../config.ts';
import { checkReceivers } from './check-receivers.ts';

let folder: string;
let server: Server;
let port: number;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'antipode-receivers-'));
  server = createServer((socket) => socket.on('error', () => {}));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  port = (server.address() as AddressInfo).port;
});
afterAll(() => {
  server.close();
  rmSync(folder, { recursive: true });
});

const file = (name: string, text: string): string => {
  const path = join(folder, name);
  writeFileSync(path, text, { mode: 0o600 });
  return path;
};
const check = (config: object) =>
  checkReceivers(coordinatorConfigSchema.shape.notifications.parse(config), { id: 'main' });
const mail = (at: number) => ({
  name: 'post',
  mail: { server: `smtp://127.0.0.1:${at}`, from: 'a@x.org', to: ['b@x.org'] },
});
/** Nobody listens there. */
const CLOSED = 1;

it('receivers and heartbeats are named where their programs can run and their addresses answer', async () => {
  const secretFile = file('secret', 'a secret of twenty-four b\n');
  const url = `http://127.0.0.1:${port}/notices`;
  const receivers = [{ name: 'pager', command: ['/bin/sh'] }, { name: 'desk', url, secretFile }, mail(port)];
  expect(await check({ receivers, heartbeats: [{ name: 'watch', url }] })).toBe('pager, desk, post, watch');
});

it.each([
  ['a program that is not there', () => ({ receivers: [{ name: 'x', command: [join(folder, 'gone')] }] })],
  ['a mail server that does not answer', () => ({ receivers: [{ ...mail(CLOSED), name: 'x' }] })],
  ['a heartbeat that nobody takes', () => ({ heartbeats: [{ name: 'x', url: `http://127.0.0.1:${CLOSED}/secret` }] })],
])('%s is named', async (_what, config) => {
  const { code, message } = await rejection(check(config()));
  expect([code, message.includes('x'), message.includes('/secret')]).toEqual(['NOTICE_UNDELIVERED', true, false]);
});

it('a missing secret is a fault of the configuration', async () => {
  const urlFile = join(folder, 'no such file');
  expect((await rejection(check({ heartbeats: [{ name: 'x', urlFile }] }))).code).toBe('CONFIG_INVALID');
});
