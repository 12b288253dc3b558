import { AntipodeError, Log } from '@antipode/runtime';
import { FakeClock, rejection } from '@antipode/runtime/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import { SiteAgentService } from '../gen/antipode/v1/site_agent_pb.ts';
import type { CallContext, Handlers } from '../server.ts';
import { MemoryNetwork, type Party } from './memory-network.ts';

type Agent = Handlers<typeof SiteAgentService>;

const a: Party = { kind: 'site', name: 'a' };
const b: Party = { kind: 'site', name: 'b' };
const coordinator: Party = { kind: 'coordinator', name: 'main' };

let clock: FakeClock;
let network: MemoryNetwork;
let lines: string[];

beforeEach(() => {
  clock = new FakeClock();
  lines = [];
  const log = new Log({ level: 'debug', format: 'json', clock, write: (line) => lines.push(line) });
  network = new MemoryNetwork({ clock, log });
});

/** An agent of which only these methods are called. */
const serve = (party: Party, handlers: Partial<Agent>): (() => void) =>
  network.serve(
    party,
    SiteAgentService,
    new Proxy({} as Agent, {
      get: (_target, name) =>
        Reflect.get(handlers, name) ?? (() => expect.unreachable(`${String(name)} is not served`)),
    }),
  );
const from = (caller: Party, callee = b) => network.client(SiteAgentService, { caller, callee });
const pong = async (_request: unknown, { identity }: CallContext) => ({ site: identity.name, instance: 'i' });

describe('a call', () => {
  it('reaches the party that it is for, with the identity of its caller', async () => {
    serve(a, { ping: async () => expect.unreachable('a is not called') });
    serve(b, { ping: pong });
    expect(await from(a).ping({})).toMatchObject({ site: 'a', instance: 'i' });
    expect(JSON.parse(lines.at(-1)!)).toMatchObject({
      method: 'SiteAgentService/Ping',
      caller: 'site a',
      callee: 'site b',
    });
  });

  it('crosses as bytes: nobody shares an object with the other end', async () => {
    const received: unknown[] = [];
    const generation = { manifestDigest: new Uint8Array(32).fill(7) };
    serve(b, {
      pullBlobs: async function* (request) {
        received.push(request);
        yield { blobs: [Buffer.from('one')] };
      },
    });
    const answers: unknown[] = [];
    for await (const { blobs } of from(a).pullBlobs({ group: 'g', generation, sha256: [] })) answers.push(blobs);
    expect(answers).toEqual([[new Uint8Array(Buffer.from('one'))]]);
    expect(received).toMatchObject([{ group: 'g', generation: { manifestDigest: generation.manifestDigest } }]);
    expect((received[0] as { generation: object }).generation).not.toBe(generation);
  });

  it('never reaches the handler if the caller has no right to it, or if the request is not whole', async () => {
    serve(b, { capture: async () => expect.unreachable('the handler is not reached') });
    const fence = { group: 'g', epoch: 1n, owner: 'b', requestId: 'r' };
    expect((await rejection(from(a).capture({ fence }))).code).toBe('PEER_REFUSED');
    expect(await rejection(from(coordinator).capture({}))).toMatchObject({
      code: 'REQUEST_INVALID',
      details: { field: 'fence', answeredBy: 'site b' },
    });
  });

  it('fails as its handler does, and a defect stays where it is', async () => {
    const failure = new AntipodeError('ROLE_REFUSED', 'not here', { details: { group: 'g' } });
    serve(b, { ping: async () => Promise.reject(failure) });
    expect(await rejection(from(a).ping({}))).toMatchObject({
      code: 'ROLE_REFUSED',
      details: { group: 'g', answeredBy: 'site b' },
    });
    serve(b, { ping: async () => Promise.reject(new TypeError('a defect')) });
    expect(await rejection(from(a).ping({}))).toMatchObject({
      code: 'SITE_UNREACHABLE',
      details: { peerDefect: true },
    });
  });

  it('fails where nobody serves, and where the server ends meanwhile', async () => {
    expect((await rejection(from(a).ping({}))).code).toBe('SITE_UNREACHABLE');
    let signal: AbortSignal | undefined;
    const end = serve(b, {
      ping: (_request, context) => {
        signal = context.signal;
        return new Promise(() => {});
      },
    });
    const failed = rejection(from(a).ping({}));
    await clock.advance(0);
    end();
    expect((await failed).code).toBe('SITE_UNREACHABLE');
    expect(signal?.aborted).toBe(true);
    expect((await rejection(from(a).ping({}))).code).toBe('SITE_UNREACHABLE');
  });

  it('ends when its time is over or its caller gives up, and aborts the signal of its handler', async () => {
    const signals: AbortSignal[] = [];
    serve(b, {
      ping: (_request, { signal }) => {
        signals.push(signal);
        return new Promise(() => {});
      },
    });
    const late = rejection(from(a).ping({}, { timeoutMs: 500 }));
    await clock.advance(500);
    expect((await late).code).toBe('TIMED_OUT');
    const giveUp = new AbortController();
    const given = rejection(from(a).ping({}, { signal: giveUp.signal }));
    await clock.advance(0);
    giveUp.abort();
    expect((await given).code).toBe('SITE_UNREACHABLE');
    expect(signals.map(({ aborted }) => aborted)).toEqual([true, true]);
    expect(clock.sleeperCount).toBe(0);
  });
});

it('a stream whose consumer stops ends its handler', async () => {
  let hasEnded = false;
  serve(b, {
    pullBlobs: async function* () {
      try {
        for (;;) yield { blobs: [Buffer.from('one')] };
      } finally {
        hasEnded = true;
      }
    },
  });
  for await (const _ of from(a).pullBlobs({ group: 'g', sha256: [] })) break;
  await clock.advance(0);
  expect(hasEnded).toBe(true);
});

it('takes the latency of the network, there and back', async () => {
  network = new MemoryNetwork({ clock, latencyMs: () => 40 });
  serve(b, { ping: pong });
  let answeredMs: number | undefined;
  void from(a)
    .ping({})
    .then(() => {
      answeredMs = clock.monotonicMs();
    });
  await clock.advance(79);
  expect(answeredMs).toBeUndefined();
  await clock.advance(1);
  expect(answeredMs).toBe(80);
});
