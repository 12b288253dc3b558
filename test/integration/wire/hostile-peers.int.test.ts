/** Peers with a valid certificate and bad intent, and strangers without one: what they can make a process hold is bounded. */
import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2 } from 'node:http2';
import { connect, type Socket } from 'node:net';
import {
  createClient,
  type Handlers,
  RpcServer,
  type RpcServerOptions,
  SiteAgentService,
  Tls,
  type TlsFiles,
} from '@antipode/protocol';
import { someHandlers } from '@antipode/protocol/testing';
import { silentLog } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../../support/tokens.ts';
import { makeTrust } from '../../support/trust.ts';

type Who = 'site' | 'operator' | 'coordinator' | 'other';
const FENCE = { group: 'payments', epoch: 1n, owner: 'a', requestId: 'r' };
const KIB = 1024;

const folder = temporaryFolder('hostile');
const opened: { close(): unknown }[] = [];
const files = {} as Record<Who, TlsFiles>;

beforeAll(async () => {
  const trust = await makeTrust(folder);
  files.site = await trust.issue({ kind: 'site', name: 'a' });
  files.operator = await trust.issue({ kind: 'operator', name: 'eve' });
  files.coordinator = await trust.issue({ kind: 'coordinator', name: 'one' });
  files.other = await trust.issue({ kind: 'site', name: 'b' });
});
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function serve(limits: RpcServerOptions['limits'] = {}, given: Partial<Handlers<typeof SiteAgentService>> = {}) {
  const server = new RpcServer({ tls: files.site, log: silentLog, limits });
  const handlers = someHandlers(SiteAgentService, {
    ping: async () => ({ site: 'a' }),
    ...given,
  });
  server.add(SiteAgentService, handlers);
  opened.push({ close: () => server.close(0) });
  return server.listen('localhost:0');
}

function dial(port: number, who: Who) {
  const client = createClient(SiteAgentService, {
    address: `localhost:${port}`,
    tls: new Tls(files[who]),
    expected: { kind: 'site', name: 'a' },
  });
  opened.push(client);
  return client;
}

/** A client that keeps no rule of gRPC. */
function raw(port: number, who: Who): ClientHttp2Session {
  const [ca, cert, key] = (['caFile', 'certificateFile', 'keyFile'] as const).map((name) =>
    readFileSync(files[who][name]),
  );
  const session = connectHttp2(`https://localhost:${port}`, {
    ca: ca!,
    cert: cert!,
    key: key!,
    checkServerIdentity: () => undefined,
    // Of this client, which means to send more than that.
    maxSessionMemory: 8 * KIB,
  });
  session.on('error', () => {});
  opened.push({ close: () => session.destroy() });
  return session;
}

function start(session: ClientHttp2Session, method: string): ClientHttp2Stream {
  const stream = session.request(
    {
      ':method': 'POST',
      ':path': `/antipode.v1.SiteAgentService/${method}`,
      'content-type': 'application/grpc',
      te: 'trailers',
    },
    { endStream: false },
  );
  stream.on('error', () => {});
  return stream;
}
/** The frame that announces so many bytes. */
const announce = (bytes: number): Buffer => {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(bytes, 1);
  return head;
};
/** The code of what the server answers, however it comes. */
const answered = (stream: ClientHttp2Stream): Promise<string> =>
  new Promise((resolve) => {
    const read = (headers: Record<string, unknown>): void => {
      const sent = headers['antipode-error-bin'];
      if (sent !== undefined)
        resolve((JSON.parse(Buffer.from(String(sent), 'base64').toString()) as { code: string }).code);
      else if (headers['grpc-status'] !== undefined) resolve(`status ${String(headers['grpc-status'])}`);
    };
    stream.on('response', read).on('trailers', read).resume();
  });
const closed = (one: ClientHttp2Stream | ClientHttp2Session | Socket): Promise<void> =>
  new Promise((resolve) => one.once('close', () => resolve()));

describe('a caller of the wrong kind', () => {
  it('is refused before its message is read, and what it still sends is cut off', async () => {
    const body = Buffer.alloc(16 * KIB * KIB);
    const session = raw(await serve(), 'operator');
    const streams = Array.from({ length: 50 }, () => start(session, 'Capture'));
    const outcomes = streams.map(async (stream) => {
      const over = closed(stream);
      const answer = answered(stream);
      stream.write(announce(16 * KIB * KIB));
      stream.write(body);
      const code = await answer;
      await over;
      return code;
    });
    expect(new Set(await Promise.all(outcomes))).toEqual(new Set(['PEER_REFUSED']));
    expect(session.closed).toBe(false);
  });

  it('loses its connection when it is refused again and again', async () => {
    const session = raw(await serve({ refusalsPerConnectionMax: 3 }), 'operator');
    const over = closed(session);
    for (let index = 0; index < 4; index += 1) start(session, 'Capture');
    await over;
  });

  it('does not learn of methods, services and limits by the answer', async () => {
    const session = raw(await serve(), 'operator');
    expect(await answered(start(session, 'Ping'))).toBe('PEER_REFUSED');
    expect(await answered(start(session, 'NoSuchMethod'))).toBe('status 12');
  });
});

describe('a request', () => {
  const sources = (count: number) => Array.from({ length: count }, () => ({ site: 'a', address: 'x'.repeat(KIB) }));
  const ref = { manifestDigest: new Uint8Array(32) };

  it.each([
    ['than its method takes', 300],
    ['than any method takes', 1_100],
  ])('larger %s is refused', async (_than, kib) => {
    const client = dial(await serve({}, { apply: async () => ({}) }), 'coordinator');
    expect((await rejection(client.apply({ fence: FENCE, generation: ref, sources: sources(kib) }))).code).toBe(
      'REQUEST_INVALID',
    );
    expect(await client.apply({ fence: FENCE, generation: ref, sources: sources(200) })).toBeDefined();
  });

  it('that is not such a message is refused', async () => {
    const stream = start(raw(await serve(), 'coordinator'), 'Apply');
    const answer = answered(stream);
    stream.end(Buffer.concat([announce(4), Buffer.from('ffffffff', 'hex')]));
    expect(await answer).toBe('REQUEST_INVALID');
  });

  it('that does not arrive in time is given up', async () => {
    const stream = start(raw(await serve({ requestMsMax: 50 }), 'coordinator'), 'Ping');
    stream.write(announce(100));
    expect(await answered(stream)).toBe('PEER_BUSY');
    await closed(stream);
  });

  it('waits at its sender while others of the same caller are arriving, and nobody else waits', async () => {
    const callers: string[] = [];
    const ping = async (_request: unknown, { identity }: { identity: { name: string } }) => {
      callers.push(identity.name);
      return {};
    };
    const port = await serve({ requestBytesPerPeerMax: 512 * KIB }, { ping });
    const session = raw(port, 'coordinator');
    const stalled = [start(session, 'Ping'), start(session, 'Ping')];
    for (const stream of stalled) stream.write(announce(100));
    const whole = start(session, 'Ping');
    const answer = answered(whole);
    whole.end(announce(0));
    await dial(port, 'other').ping({});
    expect(callers).toEqual(['b']);
    stalled[0]!.close();
    expect(await answer).toBe('status 0');
    expect(callers).toEqual(['b', 'one']);
  });
});

it('calls of one caller are so many at most, over all of its connections', async () => {
  const gate = Promise.withResolvers<void>();
  let entered = 0;
  const ping = async (_request: unknown, { identity }: { identity: { kind: string } }) => {
    if (identity.kind !== 'coordinator') return {};
    entered += 1;
    await gate.promise;
    return {};
  };
  const port = await serve({ callsPerPeerMax: 4 }, { ping });
  const clients = [dial(port, 'coordinator'), dial(port, 'coordinator')];
  const held = Array.from({ length: 4 }, (_, index) => clients[index % 2]!.ping({}, { timeoutMs: 50_000 }));
  await expect.poll(() => entered, { timeout: 20_000 }).toBe(4);
  expect((await rejection(clients[0]!.ping({}))).code).toBe('PEER_BUSY');
  await dial(port, 'other').ping({});
  gate.resolve();
  await Promise.all(held);
  await clients[0]!.ping({});
});

describe('connections', () => {
  it('of one caller are so many at most', async () => {
    const port = await serve({ connectionsPerPeerMax: 2 });
    const ping = async (session: ClientHttp2Session): Promise<string> => {
      const stream = start(session, 'Ping');
      const code = Promise.race([answered(stream), closed(session).then(() => 'closed')]);
      stream.end(announce(0));
      return code;
    };
    const [first, second, third] = [raw(port, 'coordinator'), raw(port, 'coordinator'), raw(port, 'coordinator')];
    const outcomes = await Promise.all([first, second, third].map(ping));
    expect(outcomes.sort()).toEqual(['closed', 'status 0', 'status 0']);
    expect(await ping(raw(port, 'other'))).toBe('status 0');
  });

  describe('of strangers that do not end their handshake', () => {
    const stranger = async (port: number): Promise<{ ended: Promise<void> }> => {
      const socket = connect(port, 'localhost').on('error', () => {});
      opened.push({ close: () => socket.destroy() });
      const ended = closed(socket.resume());
      await Promise.race([once(socket, 'connect'), ended]);
      return { ended };
    };

    it('have a share', async () => {
      const port = await serve({ handshakesPerAddressMax: 3, handshakeMsMax: 600_000 });
      let gone = 0;
      // One after the other: the server accepts them in this order.
      for (let count = 0; count < 3; count += 1) {
        const { ended } = await stranger(port);
        void ended.then(() => {
          gone += 1;
        });
      }
      await (await stranger(port)).ended;
      expect(gone).toBe(0);
    });

    it('have a time, and leave their share to others', async () => {
      const port = await serve({ handshakesPerAddressMax: 3, handshakeMsMax: 2_000 });
      const strangers = await Promise.all(Array.from({ length: 3 }, () => stranger(port)));
      await Promise.all(strangers.map(({ ended }) => ended));
      await dial(port, 'other').ping({});
    });
  });

  it('are so many at most in all', async () => {
    const port = await serve({ connectionsMax: 2 });
    const [one, two] = [dial(port, 'coordinator'), dial(port, 'other')];
    await Promise.all([one.ping({}), two.ping({})]);
    // A client that was refused goes on dialling: left open, it would take the place that becomes free.
    const once = async (): Promise<string> => {
      const client = dial(port, 'other');
      const { site } = await client.ping({}).finally(() => client.close());
      return site;
    };
    expect((await rejection(once())).code).toBe('SITE_UNREACHABLE');
    two.close();
    await expect.poll(() => once().catch(String), { timeout: 20_000 }).toBe('a');
  });

  it('have so many streams open at once, and no more headers than ours need', async () => {
    const session = raw(await serve({ streamsMax: 7, headerBytesMax: 4_096 }), 'coordinator');
    const settings = await new Promise((resolve) => session.once('remoteSettings', resolve));
    expect(settings).toMatchObject({ maxConcurrentStreams: 7, maxHeaderListSize: 4_096 });
  });
});

it('an answer larger than its method gives is not taken, and is a fault of the peer', async () => {
  const port = await serve({}, { ping: async () => ({ site: 'x'.repeat(2 * KIB * KIB) }) });
  const error = await rejection(dial(port, 'other').ping({}));
  expect([error.code, error.details['answeredBy']]).toEqual(['REQUEST_INVALID', 'site a']);
});
