/**
 * The wire over real loopback sockets: calls, streams, errors, and failing links. Admission is in
 * protocol-tls.int.test.ts.
 */
import { rmSync } from 'node:fs';
import {
  type Client,
  createClient,
  type Handlers,
  linkLimits,
  RpcServer,
  SiteAgentService,
  Tls,
  type TlsFiles,
} from '@antipode/protocol';
import { AntipodeError, type Clock, Log, silentLog, startTelemetry, systemClock } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { openLink, type TestLink } from '../../support/proxy.ts';
import { temporaryFolder } from '../../support/tokens.ts';
import { makeTrust } from '../../support/trust.ts';

type Agent = Handlers<typeof SiteAgentService>;
const PART = new Uint8Array(64 * 1024);
const FENCE = { group: 'payments', epoch: 3n, owner: 'a', requestId: 'r1' };

/** Handlers of which a test gives the ones it is about; the others refuse. */
function agent(given: Partial<Agent>): Agent {
  const others = Object.fromEntries(
    SiteAgentService.methods.map(({ localName }) => [
      localName,
      async () => Promise.reject(new AntipodeError('NOT_FOUND', 'not in this test')),
    ]),
  );
  return { ...others, ...given } as Agent;
}

const folder = temporaryFolder('protocol');
let siteFiles: TlsFiles;
let siteA: Tls;
let siteB: Tls;
let coordinator: Tls;
const opened: { close(): unknown }[] = [];

beforeAll(async () => {
  const trust = await makeTrust(folder);
  siteFiles = await trust.issue({ kind: 'site', name: 'a' });
  siteA = new Tls(siteFiles);
  siteB = new Tls(await trust.issue({ kind: 'site', name: 'b' }));
  coordinator = new Tls(await trust.issue({ kind: 'coordinator', name: 'one' }));
});
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function serve(
  given: Partial<Agent>,
  options: { log?: Log; connectionAgeMsMax?: number } = {},
): Promise<{ server: RpcServer; port: number }> {
  const server = new RpcServer({ tls: siteA, log: silentLog, ...options });
  server.add(SiteAgentService, agent(given));
  const port = await server.listen('localhost:0');
  opened.push({ close: () => server.close(0) });
  return { server, port };
}

type DialOptions = Partial<Parameters<typeof createClient>[1]>;
function dial(address: string | number, options: DialOptions = {}): Client<typeof SiteAgentService> {
  const client = createClient(SiteAgentService, {
    address: typeof address === 'number' ? `localhost:${address}` : address,
    tls: coordinator,
    expected: { kind: 'site', name: 'a' },
    ...options,
  });
  opened.push(client);
  return client;
}

async function link(port: number, options?: { delayMs?: number }): Promise<TestLink> {
  const opened_ = await openLink(port, options);
  opened.push(opened_);
  return opened_;
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => (signal.aborted ? resolve() : signal.addEventListener('abort', () => resolve())));

async function collect<T>(messages: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const one of messages) all.push(one);
  return all;
}

describe('calls', () => {
  it('answers a unary call and tells the handler who called', async () => {
    const { port } = await serve({
      ping: async (_request, { identity }) => ({ site: 'a', instance: `${identity.kind}/${identity.name}` }),
    });
    expect(await dial(port).ping({})).toMatchObject({ site: 'a', instance: 'coordinator/one' });
  });

  it('streams in order and ends', async () => {
    const { port } = await serve({
      async *pullManifest() {
        for (let index = 0; index < 100; index += 1) yield { part: new Uint8Array([index]) };
      },
    });
    const parts = await collect(dial(port, { tls: siteB }).pullManifest({ group: 'payments' }));
    expect(parts.map(({ part }) => part[0])).toEqual([...Array(100).keys()]);
  });

  it('aborts the handler and throws TIMED_OUT when the deadline passes', async () => {
    const seen = Promise.withResolvers<void>();
    const { port } = await serve({
      ping: async (_request, { signal }) => {
        await aborted(signal);
        seen.resolve();
        return {};
      },
    });
    expect((await rejection(dial(port).ping({}, { timeoutMs: 300 }))).code).toBe('TIMED_OUT');
    await seen.promise;
  });

  it('aborts the handler and throws SITE_UNREACHABLE when the caller gives up', async () => {
    const [entered, seen, giveUp] = [
      Promise.withResolvers<void>(),
      Promise.withResolvers<void>(),
      new AbortController(),
    ];
    const { port } = await serve({
      ping: async (_request, { signal }) => {
        entered.resolve();
        await aborted(signal);
        seen.resolve();
        return {};
      },
    });
    const call = rejection(dial(port).ping({}, { signal: giveUp.signal }));
    await entered.promise;
    giveUp.abort();
    expect((await call).code).toBe('SITE_UNREACHABLE');
    await seen.promise;
  });

  it('ends the stream at its source when the consumer stops', async () => {
    const ended = Promise.withResolvers<void>();
    const { port } = await serve({
      async *pullManifest() {
        try {
          for (;;) yield { part: PART };
        } finally {
          ended.resolve();
        }
      },
    });
    for await (const { part } of dial(port, { tls: siteB }).pullManifest({ group: 'payments' })) {
      expect(part).toHaveLength(PART.length);
      break;
    }
    await ended.promise;
  });

  it('holds a stream back while its consumer reads nothing', async () => {
    let produced = 0;
    const { port } = await serve({
      ping: async () => ({ site: 'a' }),
      async *pullManifest() {
        for (; produced < 2_000; produced += 1) yield { part: PART };
      },
    });
    const stream = dial(port, { tls: siteB }).pullManifest({ group: 'payments' })[Symbol.asyncIterator]();
    await stream.next();
    const other = dial(port);
    for (let call = 0; call < 200; call += 1) await other.ping({});
    // 8 MiB of window are 128 parts; the rest is what both ends buffer.
    expect(produced).toBeLessThan(400);
    await stream.return?.();
  });

  it('refuses a request with an unspecified enum or without its fence', async () => {
    let calls = 0;
    const { port } = await serve({
      setRole: async () => {
        calls += 1;
        return {};
      },
    });
    const client = dial(port);
    const requests: Parameters<typeof client.setRole>[0][] = [
      { fence: FENCE, serial: '1' },
      { serial: '1', role: 1 },
      { fence: { ...FENCE, epoch: 0n }, serial: '1', role: 1 },
    ];
    for (const request of requests) {
      expect((await rejection(client.setRole(request))).code).toBe('REQUEST_INVALID');
    }
    expect(calls).toBe(0);
    await client.setRole({ fence: FENCE, serial: '1', role: 1 });
  });

  it('refuses a request that cannot be encoded before it leaves', async () => {
    const { port } = await serve({ probePeer: async () => ({ reachable: true }) });
    expect((await rejection(dial(port).probePeer({ timeoutMs: -1 }))).code).toBe('REQUEST_INVALID');
  });

  it('refuses a message over the limit', async () => {
    const { port } = await serve({
      async *pullManifest() {
        yield { part: new Uint8Array(17 * 1024 * 1024) };
      },
    });
    expect((await rejection(collect(dial(port, { tls: siteB }).pullManifest({ group: 'payments' })))).code).toBe(
      'REQUEST_INVALID',
    );
  });

  it('continues the trace of the caller in the handler', async () => {
    const spans: { name: string; traceId: string; parent: string | undefined; id: string }[] = [];
    const telemetry = await startTelemetry({
      serviceName: 'test',
      spanProcessors: [
        {
          onStart: () => {},
          onEnd: (span) =>
            void spans.push({
              name: span.name,
              traceId: span.spanContext().traceId,
              parent: span.parentSpanContext?.spanId,
              id: span.spanContext().spanId,
            }),
          shutdown: async () => {},
          forceFlush: async () => {},
        },
      ],
    });
    const { port } = await serve({
      ping: async () => ({}),
      async *pullManifest() {
        yield { part: PART };
      },
    });
    await dial(port).ping({});
    await collect(dial(port, { tls: siteB }).pullManifest({ group: 'payments' }));
    for (const method of ['SiteAgentService/Ping', 'SiteAgentService/PullManifest']) {
      const [server, client] = [method, `${method} call`].map((name) => spans.find((span) => span.name === name)!);
      expect(server).toMatchObject({ traceId: client!.traceId, parent: client!.id });
    }
    await telemetry.close();
  });
});

describe('errors', () => {
  it('keeps code, message and details of an error and drops its cause', async () => {
    const { port } = await serve({
      ping: async () => {
        throw new AntipodeError('EPOCH_STALE', 'the order is old', {
          details: { group: 'payments', epoch: 3n, isOld: true },
          cause: new Error('key label'),
        });
      },
    });
    const error = await rejection(dial(port).ping({}));
    expect(error).toMatchObject({
      code: 'EPOCH_STALE',
      message: '[EPOCH_STALE] the order is old',
      details: { group: 'payments', epoch: '3', isOld: true },
    });
    expect(error.cause).toBeUndefined();
  });

  it('ends a stream with the error of its handler, after the messages before it', async () => {
    const { port } = await serve({
      async *pullManifest() {
        yield { part: PART };
        throw new AntipodeError('GENERATION_UNKNOWN', 'gone');
      },
    });
    let count = 0;
    const error = await rejection(async () => {
      for await (const _ of dial(port, { tls: siteB }).pullManifest({ group: 'payments' }, { timeoutMs: 20_000 }))
        count += 1;
    });
    expect([error.code, count]).toEqual(['GENERATION_UNKNOWN', 1]);
  });

  it('tells nothing of a defect to the caller and logs it once', async () => {
    const lines: string[] = [];
    const log = new Log({ level: 'info', format: 'json', write: (line) => lines.push(line) });
    const { port } = await serve({ ping: async () => Promise.reject(new TypeError('key label')) }, { log });
    const error = await rejection(dial(port).ping({}));
    expect(error).toMatchObject({ code: 'SITE_UNREACHABLE', details: { peerDefect: true } });
    expect(JSON.stringify(error.cause, Object.getOwnPropertyNames(error.cause))).not.toContain('key label');
    expect(lines.filter((line) => line.includes('INVARIANT_BROKEN'))).toHaveLength(1);
  });

  it('bounds what an error carries', async () => {
    const details = Object.fromEntries([...Array(1_000).keys()].map((index) => [`object${index}`, 'x'.repeat(100)]));
    const { port } = await serve({
      ping: async () => Promise.reject(new AntipodeError('OBJECT_UNPROVEN', 'm'.repeat(1_000_000), { details })),
    });
    const error = await rejection(dial(port).ping({}));
    expect(error.code).toBe('OBJECT_UNPROVEN');
    expect(error.message.length + JSON.stringify(error.details).length).toBeLessThan(20_000);
  });

  it('throws SITE_UNREACHABLE where nobody listens', async () => {
    const { server, port } = await serve({});
    await server.close(0);
    expect((await rejection(dial(port).ping({}))).code).toBe('SITE_UNREACHABLE');
  });

  it('throws SITE_UNREACHABLE where the client was closed since its peer has moved', async () => {
    const { port } = await serve({});
    const client = dial(port);
    client.close();
    expect((await rejection(client.ping({}))).code).toBe('SITE_UNREACHABLE');
    const parts = client.pullManifest({})[Symbol.asyncIterator]();
    expect((await rejection(Promise.resolve(parts.next()))).code).toBe('SITE_UNREACHABLE');
  });

  it('names the address it cannot listen on', async () => {
    const { port } = await serve({});
    expect((await rejection(new RpcServer({ tls: siteFiles, log: silentLog }).listen(`localhost:${port}`))).code).toBe(
      'ADDRESS_UNAVAILABLE',
    );
  });
});

describe('a server that closes', () => {
  it('lets calls under way end', async () => {
    const [entered, leave] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const { server, port } = await serve({
      ping: async () => {
        entered.resolve();
        await leave.promise;
        return { site: 'a' };
      },
    });
    const call = dial(port).ping({});
    await entered.promise;
    const closed = server.close(30_000);
    leave.resolve();
    expect((await call).site).toBe('a');
    await closed;
    await server.close();
  });

  it('aborts the rest after the grace and waits for their handlers', async () => {
    const entered = Promise.withResolvers<void>();
    let isDone = false;
    const { server, port } = await serve({
      ping: async (_request, { signal }) => {
        entered.resolve();
        await aborted(signal);
        await systemClock.sleep(20);
        isDone = true;
        return {};
      },
    });
    const call = rejection(dial(port).ping({}));
    await entered.promise;
    await server.close(200);
    expect([(await call).code, isDone]).toEqual(['SITE_UNREACHABLE', true]);
  });
});

describe('links that fail', () => {
  it('notices a peer that swallows bytes', async () => {
    const { port } = await serve({
      async *pullManifest(_request, { signal }) {
        yield { part: PART };
        await aborted(signal);
      },
    });
    const wan = await link(port);
    const client = dial(wan.address, { tls: siteB, keepalive: { timeMs: 100, timeoutMs: 200 } });
    const error = await rejection(async () => {
      for await (const _ of client.pullManifest({ group: 'payments' }, { timeoutMs: 20_000 })) wan.blackHole();
    });
    expect(error.code).toBe('SITE_UNREACHABLE');
  });

  it('throws SITE_UNREACHABLE when the link is cut and calls again when it heals', async () => {
    const { port } = await serve({ ping: async () => ({ site: 'a' }) });
    const wan = await link(port);
    const client = dial(wan.address);
    await client.ping({});
    wan.cut();
    expect((await rejection(client.ping({}))).code).toBe('SITE_UNREACHABLE');
    wan.heal();
    await untilSucceeds(() => client.ping({}));
  });

  it('gives up an attempt to connect that a link swallows', async () => {
    const { port } = await serve({ ping: async () => ({ site: 'a' }) });
    const wan = await link(port);
    let aheadMs = 0;
    const clock: Clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + aheadMs };
    const client = dial(wan.address, { clock, link: () => linkLimits(1_000) });
    wan.blackHole();
    expect((await rejection(client.ping({}, { timeoutMs: 300 }))).code).toBe('TIMED_OUT');
    wan.heal();
    aheadMs = 10_000;
    expect((await rejection(client.ping({}, { timeoutMs: 300 }))).code).toBe('TIMED_OUT');
    expect((await client.ping({}, { timeoutMs: 20_000 })).site).toBe('a');
  });

  it('renews connections at their maximum age', async () => {
    const { port } = await serve({ ping: async () => ({}) }, { connectionAgeMsMax: 50 });
    const wan = await link(port);
    const client = dial(wan.address);
    await untilSucceeds(async () => {
      await client.ping({});
      if (wan.accepted < 2) throw new AntipodeError('SITE_UNREACHABLE', 'still the first connection');
    });
  });

  it('pulls over a long link faster than the default window allows', async () => {
    // So long and so few that the round trips weigh, and not what a busy machine takes for the bytes.
    const parts = 24;
    const { port } = await serve({
      async *pullManifest() {
        for (let index = 0; index < parts; index += 1) yield { part: PART };
      },
    });
    const wan = await link(port, { delayMs: 120 });
    const timed = async (flowControlWindowBytes: number): Promise<number> => {
      const client = dial(wan.address, {
        tls: siteB,
        flowControlWindowBytes,
        keepalive: { timeMs: 60_000, timeoutMs: 60_000 },
      });
      await rejection(client.ping({}));
      const startedMs = systemClock.monotonicMs();
      expect(await collect(client.pullManifest({ group: 'payments' }))).toHaveLength(parts);
      return systemClock.monotonicMs() - startedMs;
    };
    expect((await timed(65_535)) / (await timed(8 * 1024 * 1024))).toBeGreaterThan(3);
  });
});

/** Repeats until it no longer throws an error of ours; the test's own limit ends it otherwise. */
async function untilSucceeds<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (thrown) {
      if (!(thrown instanceof AntipodeError)) throw thrown;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}
