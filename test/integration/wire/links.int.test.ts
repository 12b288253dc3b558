/** Links that stall, and links that are merely long: every dial, handshake and call has its own limit. */
import { readFileSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import {
  type Client,
  createClient,
  linkLimits,
  RpcServer,
  SiteAgentService,
  Tls,
  type TlsFiles,
} from '@antipode/protocol';
import { someHandlers } from '@antipode/protocol/testing';
import { silentLog, systemClock } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { openLink } from '../../support/proxy.ts';
import { temporaryFolder } from '../../support/tokens.ts';
import { makeTrust } from '../../support/trust.ts';

/** Far above every limit of a connection here: a call that waited for its own deadline would say TIMED_OUT, and late. */
const CALL_MS = 120_000;
/** Scaled down: what a link of so long a round trip needs. */
const SHORT = () => linkLimits(100);

const folder = temporaryFolder('links');
const opened: { close(): unknown }[] = [];
let files: TlsFiles;
let coordinator: Tls;

beforeAll(async () => {
  const trust = await makeTrust(folder);
  files = await trust.issue({ kind: 'site', name: 'a' });
  coordinator = new Tls(await trust.issue({ kind: 'coordinator', name: 'one' }));
});
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function serve(options?: { delayMs: number }) {
  const server = new RpcServer({ tls: files, log: silentLog });
  const handlers = someHandlers(SiteAgentService, {
    ping: async () => ({ site: 'a' }),
  });
  server.add(SiteAgentService, handlers);
  const link = await openLink(await server.listen('localhost:0'), options);
  opened.push({ close: () => server.close(0) }, link);
  return link;
}

function dial(
  address: string,
  options: Partial<Parameters<typeof createClient>[1]> = {},
): Client<typeof SiteAgentService> {
  const client = createClient(SiteAgentService, {
    address,
    tls: coordinator,
    expected: { kind: 'site', name: 'a' },
    link: SHORT,
    ...options,
  });
  opened.push(client);
  return client;
}

/** Something that accepts connections and then says nothing that gRPC waits for. */
async function listening(server: ReturnType<typeof createServer>): Promise<string> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => sockets.add(socket.on('error', () => {})));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  opened.push({
    close: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  });
  return `localhost:${(server.address() as { port: number }).port}`;
}

it('a call over a connection that stalls in its TLS handshake ends, and the next one finds the link healed', async () => {
  const link = await serve();
  link.blackHole();
  const client = dial(link.address);
  expect((await rejection(client.ping({}, { timeoutMs: CALL_MS }))).code).toBe('SITE_UNREACHABLE');
  link.heal();
  await expect
    .poll(() => client.ping({}, { timeoutMs: CALL_MS }).then(({ site }) => site, String), { timeout: 30_000 })
    .toBe('a');
});

it('an attempt to connect that began before the link was healed is replaced when the peer is heard', async () => {
  const link = await serve();
  link.blackHole();
  // Longer than this test waits.
  const client = dial(link.address, { link: () => linkLimits(60_000) });
  await rejection(client.ping({}, { timeoutMs: 200 }));
  link.heal();
  expect((await rejection(client.ping({}, { timeoutMs: 200 }))).code).toBe('TIMED_OUT');
  client.reconnect?.();
  expect((await client.ping({}, { timeoutMs: CALL_MS })).site).toBe('a');
});

it('a stream over a connection that stalls in its TLS handshake ends too', async () => {
  const link = await serve();
  link.blackHole();
  const client = dial(link.address);
  const pulled = async () => {
    for await (const _ of client.pullManifest({ group: 'payments' }, { timeoutMs: CALL_MS }));
  };
  expect((await rejection(pulled())).code).toBe('SITE_UNREACHABLE');
});

it('a call ends where a peer accepts connections and never answers the handshake', async () => {
  const client = dial(await listening(createServer()));
  expect((await rejection(client.ping({}, { timeoutMs: CALL_MS }))).code).toBe('SITE_UNREACHABLE');
});

it('a call ends where a peer ends the TLS handshake and then never speaks HTTP/2', async () => {
  const [ca, cert, key] = [files.caFile, files.certificateFile, files.keyFile].map((path) => readFileSync(path));
  const silent = createTlsServer({ ca: ca!, cert: cert!, key: key!, requestCert: true, ALPNProtocols: ['h2'] });
  const client = dial(await listening(silent));
  expect((await rejection(client.ping({}, { timeoutMs: CALL_MS }))).code).toBe('SITE_UNREACHABLE');
});

it.each(['blackHole', 'halfOpen'] as const)(
  'a connection on which a call heard nothing is not used again: %s',
  async (fault) => {
    const link = await serve();
    const client = dial(link.address, { keepalive: { timeMs: CALL_MS, timeoutMs: CALL_MS } });
    await client.ping({});
    link[fault]();
    link.heal();
    expect((await rejection(client.ping({}, { timeoutMs: 200 }))).code).toBe('TIMED_OUT');
    expect((await client.ping({}, { timeoutMs: CALL_MS })).site).toBe('a');
  },
);

it('a connection that took most of the time of a call is there for the next one', async () => {
  const delayMs = 200;
  const link = await serve({ delayMs });
  const client = dial(link.address, { link: () => linkLimits(delayMs * 2) });
  // Two round trips of TLS, one for the call: the first one cannot end in time, and every other one can.
  expect((await rejection(client.ping({}, { timeoutMs: delayMs * 5 }))).code).toBe('TIMED_OUT');
  // As long as a busy machine takes: another connection would be counted.
  expect((await client.ping({}, { timeoutMs: CALL_MS })).site).toBe('a');
  expect(link.accepted).toBe(1);
});

it('a link as long as its limits are made for keeps one connection for many calls, and a longer one does not', async () => {
  const delayMs = 100;
  const pings = async (link: Awaited<ReturnType<typeof serve>>, roundTripMs: number): Promise<number> => {
    const client = dial(link.address, { link: () => linkLimits(roundTripMs) });
    const { timeMs, timeoutMs } = linkLimits(roundTripMs).keepalive;
    const endMs = systemClock.monotonicMs() + (timeMs + timeoutMs) * 2 + delayMs * 10;
    while (systemClock.monotonicMs() < endMs) await client.ping({}, { timeoutMs: 5_000 }).catch(() => 'cut');
    return link.accepted;
  };
  // The delay is of each direction; the machine may be slow too.
  expect(await pings(await serve({ delayMs }), delayMs * 6)).toBe(1);
  expect(await pings(await serve({ delayMs }), delayMs)).not.toBe(1);
});
