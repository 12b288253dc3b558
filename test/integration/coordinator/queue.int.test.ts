/** The queue against a real Redis: used only while Redis keeps jobs, and never what a start waits for. */
import { rmSync, symlinkSync } from 'node:fs';
import { BullWakeUps, EmbeddedRedis } from '@antipode/coordinator/testing';
import {
  AntipodeError,
  type ErrorCode,
  Log,
  parseAddress,
  seededPrng,
  silentLog,
  systemClock,
} from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { Redis, type RedisOptions } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { openLink } from '../../support/proxy.ts';
import { temporaryFolder } from '../../support/tokens.ts';

const folder = temporaryFolder('queue');
const prng = seededPrng('queue');
const redis = new EmbeddedRedis({ dataFolder: folder, clock: systemClock, prng, log: silentLog });
let connection: RedisOptions;
let admin: Redis;
const open: BullWakeUps[] = [];

beforeAll(async () => {
  connection = await redis.start();
  admin = new Redis(connection as never);
});
afterEach(async () => {
  for (const wakeUps of open.splice(0)) await wakeUps.close();
  await admin.config('SET', 'maxmemory-policy', 'noeviction');
  await admin.flushall();
});
afterAll(async () => {
  admin?.disconnect();
  await redis.close();
  rmSync(folder, { recursive: true, force: true });
});

function make({
  run = async () => {},
  at = connection,
  epoch = 1n,
}: {
  run?: (id: string) => Promise<void>;
  at?: RedisOptions;
  epoch?: bigint;
} = {}) {
  const defects: AntipodeError[] = [];
  const ran: string[] = [];
  const errors: string[] = [];
  const wakeUps = new BullWakeUps({
    connection: at,
    clock: systemClock,
    log: new Log({ level: 'error', format: 'json', write: (line) => void errors.push(line) }),
    run: async (id) => {
      ran.push(id);
      await run(id);
    },
    onDefect: (error) => void defects.push(error),
  });
  open.push(wakeUps);
  wakeUps.lead(epoch);
  return { wakeUps, defects, ran, errors };
}
const failing = (code: ErrorCode) => async (): Promise<void> => {
  throw new AntipodeError(code, 'no');
};
it('runs the failovers of all groups side by side, and the orders to one site a few at a time', async () => {
  const gate = Promise.withResolvers<void>();
  const { wakeUps, ran } = make({ run: () => gate.promise });
  await wakeUps.start();
  await until(() => expect(wakeUps.isUp()).toBe(true));
  for (let at = 0; at < 20; at += 1) await wakeUps.enqueue(`failover-${at}`, 'failover');
  await until(() => expect(ran).toHaveLength(20));
  for (let at = 0; at < 20; at += 1) await wakeUps.enqueue(`apply-${at}`, 'site.b');
  await until(() => expect(ran.filter((id) => id.startsWith('apply')).length).toBeGreaterThan(0));
  expect(ran.filter((id) => id.startsWith('apply')).length).toBeLessThanOrEqual(4);
  gate.resolve();
  await until(() => expect(ran).toHaveLength(40));
});

const until = (work: () => void | Promise<void>): Promise<void> => vi.waitFor(work, { timeout: 30_000, interval: 20 });

describe('a Redis that keeps jobs', () => {
  it('is connected to by the start, not by the making', async () => {
    // Redis numbers its connections.
    const number = async (): Promise<number> => {
      const probe = new Redis(connection as never);
      const id = Number(await probe.client('ID'));
      probe.disconnect();
      return id;
    };
    const before = await number();
    const { wakeUps } = make();
    expect(await number()).toBe(before + 1);
    await wakeUps.start();
    await until(() => expect(wakeUps.isUp()).toBe(true));
    expect(await number()).toBeGreaterThan(before + 2);
  });

  it('is used once it has been looked at, and not before', async () => {
    const { wakeUps, ran } = make();
    expect((await rejection(wakeUps.enqueue('early', 'site.a'))).code).toBe('QUEUE_UNAVAILABLE');
    await wakeUps.start();
    await until(() => expect(wakeUps.isUp()).toBe(true));
    await wakeUps.enqueue('i', 'site.a');
    await until(() => expect(ran).toEqual(['i']));
  });

  it('holds up one lane only, where a run takes long', async () => {
    let release = (): void => {};
    const long = new Promise<void>((resolve) => {
      release = resolve;
    });
    const { wakeUps, ran } = make({ run: (id) => (id.startsWith('long') ? long : Promise.resolve()) });
    await wakeUps.start();
    await until(() => expect(wakeUps.isUp()).toBe(true));
    for (let count = 0; count < 8; count += 1) await wakeUps.enqueue(`long-${count}`, 'site.a');
    await until(() => expect(ran).toHaveLength(4));
    await wakeUps.enqueue('failover', 'failover');
    await until(() => expect(ran).toContain('failover'));
    expect(ran).toHaveLength(5);
    release();
    await until(() => expect(ran).toHaveLength(9));
  });

  it('tries nothing again by itself: the reconciler asks for the same once more, and it runs', async () => {
    const { wakeUps, defects, ran } = make({ run: failing('SITE_UNREACHABLE') });
    await wakeUps.start();
    await until(() => expect(wakeUps.isUp()).toBe(true));
    for (let count = 1; count <= 3; count += 1) {
      await wakeUps.enqueue('i', 'site.a');
      await until(async () => expect(await admin.exists('bull:lane.1.site.a:i')).toBe(0));
      expect(ran).toHaveLength(count);
      // Nothing of it waits for a moment of the clock, which may be set.
      expect(await admin.zcard('bull:lane.1.site.a:delayed')).toBe(0);
    }
    expect(defects).toEqual([]);
  });

  it('tells of a defect, and does not try it again', async () => {
    const { wakeUps, defects, ran } = make({ run: failing('INVARIANT_BROKEN') });
    await wakeUps.start();
    await until(() => expect(wakeUps.isUp()).toBe(true));
    await wakeUps.enqueue('i', 'site.a');
    await until(() => expect(defects.map(({ code }) => code)).toEqual(['INVARIANT_BROKEN']));
    expect(ran).toEqual(['i']);
  });
});

describe('a Redis that may drop jobs', () => {
  it('ends the start, and is not used', async () => {
    await admin.config('SET', 'maxmemory-policy', 'allkeys-lru');
    const { wakeUps, ran } = make();
    const error = await rejection(wakeUps.start());
    expect([error.code, error.details['policy']]).toEqual(['QUEUE_UNAVAILABLE', 'allkeys-lru']);
    expect(wakeUps.isUp()).toBe(false);
    expect((await rejection(wakeUps.enqueue('i', 'site.a'))).code).toBe('QUEUE_UNAVAILABLE');
    expect(ran).toEqual([]);
  });

  it('is no longer used when it comes back so, and again when it comes back in order', async () => {
    const { wakeUps, errors } = make();
    await wakeUps.start();
    await until(() => expect(wakeUps.isUp()).toBe(true));
    await admin.config('SET', 'maxmemory-policy', 'volatile-ttl');
    await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    // It says so once it has looked again; until then it is not connected, or was in order when it was looked at last.
    await until(() => expect(errors).toHaveLength(1));
    expect(wakeUps.isUp()).toBe(false);
    expect((await rejection(wakeUps.enqueue('i', 'site.a'))).code).toBe('QUEUE_UNAVAILABLE');
    await admin.config('SET', 'maxmemory-policy', 'noeviction');
    await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    await until(() => expect(wakeUps.isUp()).toBe(true));
  });
});

it('a Redis that is away ends no start, and is used when it comes', async () => {
  const at = { path: `${folder}/later.sock` };
  const { wakeUps, ran } = make({ at });
  await wakeUps.start();
  expect(wakeUps.isUp()).toBe(false);
  expect((await rejection(wakeUps.enqueue('i', 'site.a'))).code).toBe('QUEUE_UNAVAILABLE');
  symlinkSync(redis.socketPath, at.path);
  await until(() => expect(wakeUps.isUp()).toBe(true));
  await wakeUps.enqueue('i', 'site.a');
  await until(() => expect(ran).toEqual(['i']));
});

it('a Redis behind a link that fell silent is used again when the link is back, on new connections', async () => {
  const link = await openLink(redis.socketPath);
  try {
    const { wakeUps, ran } = make({ at: { host: '127.0.0.1', port: parseAddress(link.address)!.port } });
    await wakeUps.start();
    await until(() => expect(wakeUps.isUp()).toBe(true));
    await wakeUps.enqueue('before', 'site.b');
    await until(() => expect(ran).toEqual(['before']));
    link.blackHole();
    for (const lane of ['site.b', 'site.c'])
      expect((await rejection(wakeUps.enqueue('meanwhile', lane))).code).toBe('QUEUE_UNAVAILABLE');
    link.heal();
    await until(() => wakeUps.enqueue('after', 'site.b'));
    // By the worker that was there before, whose own connections were silenced as well.
    await until(() => expect(ran).toContain('after'));
    // By a worker that was made while Redis was silent.
    await wakeUps.enqueue('later', 'site.c');
    await until(() => expect(ran).toContain('later'));
  } finally {
    await link.close();
  }
});

describe('two coordinators on one Redis', () => {
  const ready = async (...made: readonly ReturnType<typeof make>[]): Promise<void> => {
    for (const { wakeUps } of made) await wakeUps.start();
    await until(() => expect(made.every(({ wakeUps }) => wakeUps.isUp())).toBe(true));
  };

  it('take the wake-ups of their own term only: none waits for a former leader', async () => {
    const [former, leader] = [make({ epoch: 1n }), make({ epoch: 2n })];
    await ready(former, leader);
    // Its workers are there, and it has not noticed its end.
    await former.wakeUps.enqueue('before', 'site.b');
    await until(() => expect(former.ran).toEqual(['before']));
    const ids = Array.from({ length: 33 }, (_, at) => `after-${at}`);
    for (const id of ids) await leader.wakeUps.enqueue(id, 'site.b');
    await until(() => expect(leader.ran.toSorted()).toEqual(ids.toSorted()));
    expect(former.ran).toEqual(['before']);
  });

  it('take no wake-up once they lead no longer, and again when they lead again', async () => {
    const one = make({ epoch: 1n });
    await ready(one);
    await one.wakeUps.enqueue('first', 'site.b');
    await until(() => expect(one.ran).toEqual(['first']));
    one.wakeUps.standDown();
    await one.wakeUps.enqueue('second', 'site.b');
    one.wakeUps.lead(3n);
    await one.wakeUps.enqueue('third', 'site.b');
    await until(() => expect(one.ran).toEqual(['first', 'third']));
  });

  it('leave nothing of earlier terms in Redis', async () => {
    const gate = Promise.withResolvers<void>();
    const former = make({ epoch: 1n, run: () => gate.promise });
    await ready(former);
    for (let at = 0; at < 20; at += 1) await former.wakeUps.enqueue(`lost-${at}`, 'site.b');
    await until(() => expect(former.ran.length).toBeGreaterThan(0));
    await former.wakeUps.close();
    gate.resolve();
    expect(await admin.keys('bull:lane.1.*')).not.toEqual([]);
    const leader = make({ epoch: 2n });
    await ready(leader);
    await until(async () => expect(await admin.keys('bull:lane.1.*')).toEqual([]));
    await leader.wakeUps.enqueue('found', 'site.b');
    await until(() => expect(leader.ran).toEqual(['found']));
  });
});
