import { type CallOptions, GetStatusResponseSchema } from '@antipode/protocol';
import { AntipodeError, seededPrng } from '@antipode/runtime';
import { FakeClock } from '@antipode/runtime/testing';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { afterEach, expect, it } from 'vitest';
import type { Site, Update } from './entries.ts';
import { Watch } from './watcher.ts';

type Status = MessageInitShape<typeof GetStatusResponseSchema>;

const LABEL = 'label-of-a-key';
const group = (name: string, protection = 'protected') => ({
  protection,
  spec: { name, filter: { excludeLabels: [LABEL] }, rpoSeconds: 300 },
  newest: { generation: 7n, objectCount: 3 },
  recoveryPointAgeMs: 40_000n,
});
const site = (name: string, state = 'up') => ({
  site: name,
  state,
  silenceMs: 200n,
  stateAgeMs: 9_000n,
  partitions: [{ name: 'main', serial: '1f', tokenLabel: LABEL }],
});

class Bench {
  readonly clock = new FakeClock();
  readonly updates: Update[] = [];
  readonly watch: Watch;
  /** The next answer of the coordinator, or its failure. */
  next: (signal: AbortSignal) => unknown = () => this.status;
  status: Partial<{ [Name in keyof Status]: unknown }> = {
    coordinator: 'main',
    isLeader: true,
    sites: [site('a')],
    groups: [group('payments')],
  };

  constructor() {
    const getStatus = async (_: object, { signal }: CallOptions = {}) =>
      create(GetStatusResponseSchema, (await this.next(signal!)) as Status);
    this.watch = new Watch({ operator: { getStatus }, clock: this.clock, prng: seededPrng('dashboard') });
    this.watch.listen((update) => this.updates.push(update));
    this.watch.start();
  }

  async after(ms: number): Promise<Update> {
    await this.clock.advance(ms);
    return this.updates.at(-1)!;
  }
}

let bench: Bench;
afterEach(() => bench.watch.close());

it('tells the whole first, and then only what has changed', async () => {
  bench = new Bench();
  const first = await bench.after(0);
  expect(Object.keys(first.put).sort()).toEqual(['group/payments', 'head', 'site/a']);
  bench.status = { ...bench.status, groups: [group('payments', 'unserved'), group('accounts')] };
  const second = await bench.after(500);
  expect(Object.keys(second.put).filter((key) => key.startsWith('group'))).toEqual([
    'group/payments',
    'group/accounts',
  ]);
  bench.status = { ...bench.status, groups: [group('accounts')] };
  expect(await bench.after(500)).toMatchObject({ drop: ['group/payments'] });
  expect(Object.keys(bench.watch.whole().put)).not.toContain('group/payments');
});

it('sends nothing again of which only the age has grown', async () => {
  bench = new Bench();
  await bench.after(0);
  bench.status = {
    ...bench.status,
    sites: [],
    groups: [{ ...group('payments'), recoveryPointAgeMs: 40_530n }],
  };
  expect(await bench.after(500)).toMatchObject({ put: {}, drop: ['site/a'] });
});

it('sends a recovery point that has moved', async () => {
  bench = new Bench();
  await bench.after(0);
  bench.status = { ...bench.status, groups: [{ ...group('payments'), recoveryPointAgeMs: 0n }] };
  const { put } = await bench.after(500);
  expect(put['group/payments']).toMatchObject({ recoveryPointAt: bench.clock.wallMs() });
});

it('lets no label of a key cross, neither of a filter nor of a token', async () => {
  bench = new Bench();
  expect(JSON.stringify(await bench.after(0))).not.toContain(LABEL);
  expect((bench.watch.entry('site/a') as Site).partitions).toEqual([{ name: 'main', serial: '1f', error: '' }]);
});

it('tells at once that the coordinator has failed, keeps what it said, and tells when it is back', async () => {
  bench = new Bench();
  await bench.after(0);
  const heardAt = bench.clock.wallMs();
  bench.next = () => {
    throw new AntipodeError('SITE_UNREACHABLE', 'no connection');
  };
  const lost = await bench.after(500);
  expect(lost.link).toMatchObject({ state: 'lost', heardAt, error: { code: 'SITE_UNREACHABLE' } });
  expect(Object.keys(bench.watch.whole().put)).toContain('group/payments');
  bench.next = () => bench.status;
  expect((await bench.after(500)).link.state).toBe('live');
});

it('tells after 1.5 s that the coordinator is silent, although the call goes on', async () => {
  bench = new Bench();
  await bench.after(0);
  bench.next = (signal) => bench.clock.sleep(60_000, signal);
  await bench.after(500);
  expect((await bench.after(1_400)).link.state).toBe('live');
  expect((await bench.after(200)).link).toMatchObject({ state: 'lost', error: { code: 'TIMED_OUT' } });
});

it('asks less often where an answer takes long', async () => {
  bench = new Bench();
  let asked = 0;
  bench.next = async (signal) => {
    asked += 1;
    await bench.clock.sleep(1_000, signal);
    return bench.status;
  };
  await bench.after(15_000);
  expect(asked).toBeLessThan(7);
});
