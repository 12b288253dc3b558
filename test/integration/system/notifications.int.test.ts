/** A site is lost, and operators hear of it: through a web address, a mail, and a program, while another receiver is dead. */
import { createHmac } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer as createWebServer, type Server as WebServer } from 'node:http';
import { type AddressInfo, createServer as createMailServer, type Server as MailServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { antipode, operatorConfigOf } from '../../support/command.ts';
import { TestSystem } from '../../support/system.ts';

const KEY = 'a secret of thirty bytes, say!';

interface Heard {
  readonly id: string;
  readonly notices: readonly {
    readonly id: string;
    readonly kind: string;
    readonly site: string;
    readonly state: string;
  }[];
}

let system: TestSystem;
let web: WebServer;
let mail: MailServer;
const heard: Heard[] = [];
const raw: string[] = [];
let mails = '';
let beats = 0;
let programFile: string;

beforeAll(async () => {
  web = createWebServer(async (request, response) => {
    if (request.url === '/beat') {
      beats += 1;
      response.end();
      return;
    }
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const body = Buffer.concat(parts).toString();
    const signed = `${request.headers['webhook-id']}.${request.headers['webhook-timestamp']}.${body}`;
    const tag = `v1,${createHmac('sha256', KEY).update(signed).digest('base64')}`;
    if (request.headers['webhook-signature'] !== tag) {
      response.writeHead(401).end();
      return;
    }
    raw.push(body);
    heard.push(JSON.parse(body) as Heard);
    response.end();
  });
  mail = createMailServer((socket) => {
    let isBody = false;
    socket.on('error', () => {});
    socket.write('220 mail\r\n');
    socket.on('data', (part) => {
      const text = part.toString();
      mails += text;
      if (isBody) {
        if (!text.endsWith('\r\n.\r\n')) return;
        isBody = false;
        socket.write('250 taken\r\n');
      } else if (text.startsWith('DATA')) {
        isBody = true;
        socket.write('354 go on\r\n');
      } else socket.write('250 fine\r\n');
    });
  });
  const ports = await Promise.all(
    [web, mail].map(
      (server) =>
        new Promise<number>((resolve) =>
          server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port)),
        ),
    ),
  );
  system = await TestSystem.start();
  await system.makeKey('a', '01');
  await system.replicate();
  const [program, secretFile] = [join(system.folder, 'tell'), join(system.folder, 'desk.secret')];
  programFile = join(system.folder, 'told');
  writeFileSync(program, `#!/bin/sh\necho "$ANTIPODE_SEVERITY $ANTIPODE_SUMMARY" >> ${programFile}\n`, { mode: 0o700 });
  writeFileSync(secretFile, `${KEY}\n`, { mode: 0o600 });
  await system.withHooks(`notifications:
  waitFactor: 0.01
  receivers:
    - {name: desk, url: "http://127.0.0.1:${ports[0]}/notices", secretFile: ${secretFile}}
    - {name: night, mail: {server: "smtp://127.0.0.1:${ports[1]}", from: a@example.org, to: [b@example.org]}}
    - {name: team, command: [${program}], groups: [payments]}
    - {name: dead, url: "http://127.0.0.1:9/", secretFile: ${secretFile}}
  heartbeats:
    - {name: watch, url: "http://127.0.0.1:${ports[0]}/beat", everySeconds: 1}
`);
}, 120_000);
afterAll(async () => {
  await system?.close();
  web?.closeAllConnections();
  web?.close();
  mail?.close();
});

const command = (...args: string[]) => antipode(args, { configFile: operatorConfigOf(system.folder).file });
const ofSite = (state: string): string[] =>
  heard
    .flatMap(({ notices }) => notices.filter((one) => one.kind === 'site-down' && one.state === state))
    .map(({ id }) => id);

describe('operators', () => {
  it('send a test to every receiver, and see which one is dead', async () => {
    const { code, stdout, stderr } = await command('notify', 'test', '--json');
    expect([code, stderr]).toEqual([1, expect.stringContaining('NOTICE_UNDELIVERED')]);
    const results = JSON.parse(stdout) as { receiver: string; errorCode: string }[];
    expect(results.map(({ receiver, errorCode }) => [receiver, errorCode])).toEqual([
      ['desk', ''],
      ['night', ''],
      ['team', ''],
      ['dead', 'NOTICE_UNDELIVERED'],
    ]);
    expect((await command('notify', 'test', 'nobody')).stderr).toContain('[NOT_FOUND]');
  }, 60_000);

  it('hear of a lost site through each of the others, and of its return, once each', async () => {
    await system.until('a heartbeat has come', async () => beats > 0);
    await system.stopAgent('b');
    await system.until('everybody has heard of the loss', async () => {
      const told = existsSync(programFile) ? readFileSync(programFile, 'utf8') : '';
      return (
        ofSite('raised').length > 0 &&
        mails.includes('Site b is down.') &&
        /^page .*site-down|Site b is down/m.test(told)
      );
    });
    // Another leader goes on where this one was.
    await system.coordinator.close();
    await system.startCoordinator();
    await system.startAgent('b');
    await system.until('everybody has heard of the return', async () => ofSite('resolved').length > 0);
    expect(ofSite('raised')).toHaveLength(1);
    expect(ofSite('resolved')).toEqual(ofSite('raised'));
    expect(new Set(heard.map(({ id }) => id)).size).toBe(heard.length);
  }, 120_000);

  it('see the dead receiver in their status, and in the list', async () => {
    const shown = await system.until('the list has it', async () => {
      const { stdout } = await command('notify', 'list');
      return stdout.includes('Receiver dead has accepted nothing') && stdout;
    });
    expect(shown).toContain('Run `antipode notify test dead`');
    const { code, stdout } = await command('status');
    expect(code).toBe(4);
    expect(stdout).toContain('Receiver dead has accepted nothing');
  }, 60_000);

  it('hear no name of a key and no PIN', async () => {
    const everything = [...raw, mails, readFileSync(programFile, 'utf8')].join('\n');
    expect(everything).not.toMatch(/key 01|payments-[abc]|CKA_/);
    expect(everything).not.toContain(system.site('a').serial);
    expect(everything).not.toContain(KEY);
  });
});
