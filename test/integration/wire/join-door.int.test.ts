/** The door at which machines without a certificate join: real TLS on loopback, callers and coordinators with bad intent. */
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import { connect as connectPlain, type Socket } from 'node:net';
import { join } from 'node:path';
import tls, { type TLSSocket } from 'node:tls';
import {
  askToJoin,
  createClient,
  JoinDoor,
  type JoinDoorOptions,
  type JoinToken,
  OperatorService,
  Tls,
  type TlsFiles,
} from '@antipode/protocol';
import { type Clock, sha256Hex, silentLog, systemClock } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../../support/tokens.ts';
import { DAY_MS, makeTrust, type TestTrust } from '../../support/trust.ts';

const PROTOCOL = 'antipode-join/1';
const REQUEST_PEM = 'a request';
const folder = temporaryFolder('join-door');
const opened: { close(): unknown }[] = [];
let trust: TestTrust;
let files: TlsFiles;
let authority: string;

const digestOf = (pem: string): string => sha256Hex(new X509Certificate(pem).raw);

beforeAll(async () => {
  trust = await makeTrust(folder);
  files = await trust.issue({ kind: 'coordinator', name: 'main' });
  authority = trust.authority.certificatePem;
});
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Another authority of a trust domain of the same name. */
let others = 0;
function strangers(): Promise<TestTrust> {
  others += 1;
  return makeTrust(join(folder, `others-${others}`));
}

/** A door, and everything that came through it. */
async function door(options: Partial<JoinDoorOptions> = {}, own = files) {
  const heard: { secret: Uint8Array; requestPem: string; from: string }[] = [];
  const made = new JoinDoor({
    coordinator: 'main',
    tls: new Tls(own),
    clock: systemClock,
    log: silentLog,
    answer: async ({ secret, requestPem }, from) => {
      heard.push({ secret: new Uint8Array(secret), requestPem, from });
      return { certificatePem: 'a certificate', authoritiesPem: authority };
    },
    ...options,
  });
  opened.push(made);
  return { port: await made.listen('localhost:0'), heard };
}

const tokenFor = (port: number, change: Partial<JoinToken> = {}): JoinToken => ({
  id: '0123456789abcdef',
  trustDomain: 'test.example',
  site: 'b',
  secret: new Uint8Array(32).fill(9),
  expiresMs: systemClock.wallMs() + DAY_MS,
  authorities: [digestOf(authority)],
  coordinators: [{ id: 'main', address: 'localhost:1', join: `localhost:${port}` }],
  ...change,
});

const ask = (token: JoinToken, clock: Clock = systemClock) =>
  askToJoin(token, { place: token.coordinators[0]!, requestPem: REQUEST_PEM, clock });

const shifted = (aheadMs: number): Clock => ({ ...systemClock, wallMs: () => systemClock.wallMs() + aheadMs });

/** Speaks as it likes. */
async function raw(port: number, options: tls.ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = tls.connect({
    host: 'localhost',
    port,
    rejectUnauthorized: false,
    ALPNProtocols: [PROTOCOL],
    ...options,
  });
  socket.on('error', () => {});
  opened.push({ close: () => socket.destroy() });
  await once(socket, 'secureConnect');
  return socket;
}

const closed = (socket: Socket): Promise<unknown> => (socket.destroyed ? Promise.resolve() : once(socket, 'close'));

describe('a machine', () => {
  it('is answered by the coordinator that its token means, and sends it the secret and its request', async () => {
    const { port, heard } = await door();
    expect(await ask(tokenFor(port))).toEqual({
      certificatePem: 'a certificate',
      authoritiesPem: new X509Certificate(authority).toString(),
    });
    expect(heard).toMatchObject([{ requestPem: REQUEST_PEM, secret: new Uint8Array(32).fill(9) }]);
  });

  it('says nothing to a server of another authority', async () => {
    const other = await strangers();
    const { port, heard } = await door({}, await other.issue({ kind: 'coordinator', name: 'main' }));
    const error = await rejection(ask(tokenFor(port)));
    expect([error.code, heard]).toEqual(['PEER_REFUSED', []]);
  });

  it('says nothing to one that shows the certificate of the authority, but has no certificate of it', async () => {
    const other = await strangers();
    const mine = await other.issue({ kind: 'coordinator', name: 'main' });
    const received: Buffer[] = [];
    // The chain of a man in the middle: its own certificate, and behind it a copy of the right authority.
    const server = tls.createServer({
      cert: `${readFileSync(mine.certificateFile, 'utf8')}\n${authority}`,
      key: readFileSync(mine.keyFile),
      ALPNProtocols: [PROTOCOL],
    });
    server.on('secureConnection', (socket) => {
      socket.on('error', () => {});
      socket.on('data', (bytes) => received.push(bytes));
    });
    server.on('tlsClientError', () => {});
    opened.push(server);
    server.listen(0, 'localhost');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    expect((await rejection(ask(tokenFor(port)))).code).toBe('PEER_REFUSED');
    expect(received).toEqual([]);
  });

  it.each<[string, () => Promise<TlsFiles>, Partial<JoinToken>]>([
    ['a site of the same authority', () => trust.issue({ kind: 'site', name: 'main' }), {}],
    ['another coordinator', () => trust.issue({ kind: 'coordinator', name: 'south' }), {}],
    ['a coordinator of another trust domain', async () => files, { trustDomain: 'other.example' }],
  ])('says nothing to %s', async (_who, own, change) => {
    const { port, heard } = await door({}, await own());
    expect((await rejection(ask(tokenFor(port, change)))).code).toBe('PEER_REFUSED');
    expect(heard).toEqual([]);
  });

  it('takes no authority that its token does not name, whatever the coordinator sends', async () => {
    const rogue = await strangers();
    for (const authoritiesPem of [`${authority}${rogue.authority.certificatePem}`, 'none', '']) {
      const { port } = await door({ answer: async () => ({ certificatePem: 'x', authoritiesPem }) });
      expect((await rejection(ask(tokenFor(port)))).code).toBe('PEER_REFUSED');
    }
  });

  it.each([
    ['a day behind', -DAY_MS],
    ['a day ahead', DAY_MS],
    ['a minute ahead', 60_000],
    ['a year ahead, when the certificate has ended', 365 * DAY_MS],
    ['forty days behind, when the certificate has not begun', -40 * DAY_MS],
  ])('keeps its token if its clock is %s', async (_how, aheadMs) => {
    const { port, heard } = await door();
    expect((await rejection(ask(tokenFor(port), shifted(aheadMs)))).code).toBe('CLOCK_WRONG');
    expect(heard).toEqual([]);
  });

  it('says that nobody listens, and that the other side breaks off', async () => {
    const { port } = await door();
    await opened.pop()?.close();
    expect((await rejection(ask(tokenFor(port)))).code).toBe('SITE_UNREACHABLE');
  });
});

describe('the door', () => {
  it('tells a refusal of a token, and hides every other error', async () => {
    const { AntipodeError } = await import('@antipode/runtime');
    for (const [code, told] of [
      ['SITE_TOKEN_REFUSED', 'SITE_TOKEN_REFUSED'],
      ['DATABASE_UNAVAILABLE', 'SITE_UNREACHABLE'],
      ['INVARIANT_BROKEN', 'SITE_UNREACHABLE'],
    ] as const) {
      const answer = () => Promise.reject(new AntipodeError(code, 'the password of the database is swordfish'));
      const { port } = await door({ answer });
      const error = await rejection(ask(tokenFor(port)));
      expect(error.code).toBe(told);
      if (code !== told) expect(error.message).not.toContain('swordfish');
    }
  });

  it('lets nobody in to gRPC, and a client of gRPC gets no further than the handshake', async () => {
    const { port, heard } = await door();
    const operator = await trust.issue({ kind: 'operator', name: 'eve', role: 'security' });
    const client = createClient(OperatorService, {
      address: `localhost:${port}`,
      tls: new Tls(operator),
      expected: { kind: 'coordinator', name: 'main' },
      defaultTimeoutMs: 3_000,
    });
    opened.push(client);
    await rejection(client.getStatus({}));
    expect(heard).toEqual([]);
  });

  it.each<[string, Buffer]>([
    ['announces more than a request', Buffer.from([0, 0, 0x10, 1])],
    ['announces four gigabytes', Buffer.from([255, 255, 255, 255])],
    ['sends no message', Buffer.from([0, 0, 0, 3, 255, 255, 255])],
    ['speaks HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
  ])('cuts off a caller that %s', async (_what, bytes) => {
    const { port, heard } = await door({ limits: { conversationMsMax: 120_000 } });
    const socket = await raw(port);
    socket.write(bytes);
    socket.resume();
    await closed(socket);
    expect(heard).toEqual([]);
  });

  it('cuts off a caller that says nothing, and one that never ends its handshake', async () => {
    const { port } = await door({ limits: { conversationMsMax: 200 } });
    const silent = await raw(port);
    const halfway = connectPlain(port, 'localhost').on('error', () => {});
    silent.resume();
    halfway.resume();
    await Promise.all([closed(silent), closed(halfway)]);
  });

  it('takes few connections of one address, and gives the places back', async () => {
    const { port } = await door({ limits: { connectionsPerAddressMax: 2 } });
    const [first] = [await raw(port), await raw(port)];
    const third = connectPlain(port, 'localhost').on('error', () => {});
    third.resume();
    await closed(third);
    first!.destroy();
    await closed(first!);
    // The server sees the end of the connection a little later.
    await expect
      .poll(
        () =>
          raw(port).then(
            () => true,
            () => false,
          ),
        { timeout: 10_000 },
      )
      .toBe(true);
  });

  it('takes few calls of one address in a time, and the rest without a word', async () => {
    const { port, heard } = await door({ limits: { callsPerAddressMax: 4, callsPerMinuteAndAddress: 0 } });
    await ask(tokenFor(port));
    await ask(tokenFor(port));
    expect((await rejection(ask(tokenFor(port)))).code).toBe('SITE_UNREACHABLE');
    expect(heard).toHaveLength(2);
  });

  it('takes few calls of all addresses in a time', async () => {
    const { port, heard } = await door({ limits: { callsMax: 2, callsPerMinute: 0 } });
    await ask(tokenFor(port));
    expect((await rejection(ask(tokenFor(port)))).code).toBe('SITE_UNREACHABLE');
    expect(heard).toHaveLength(1);
  });

  it('speaks TLS 1.3 with a post-quantum key agreement only', async () => {
    const { port } = await door();
    for (const options of [{ maxVersion: 'TLSv1.2', minVersion: 'TLSv1.2' }, { ecdhCurve: 'X25519' }] as const) {
      const socket = tls.connect({ host: 'localhost', port, rejectUnauthorized: false, ...options });
      const [outcome] = await Promise.race([once(socket, 'error'), once(socket, 'secureConnect').then(() => ['in'])]);
      expect(outcome).not.toBe('in');
      socket.destroy();
    }
  });

  it('says that its address is taken', async () => {
    const { port } = await door();
    const second = new JoinDoor({
      coordinator: 'main',
      tls: new Tls(files),
      clock: systemClock,
      log: silentLog,
      answer: async () => ({}),
    });
    opened.push(second);
    expect((await rejection(second.listen(`localhost:${port}`))).code).toBe('ADDRESS_UNAVAILABLE');
  });
});
