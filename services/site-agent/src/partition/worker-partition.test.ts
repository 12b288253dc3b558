/** Real worker processes over a PKCS#11 module that is none; what a real one does is for the integration tests. */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type AntipodeError, silentLog } from '@antipode/runtime';
import { FakeClock, rejection, thrown } from '@antipode/runtime/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Journal } from '../storage/journal/journal.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import type { Partitions } from './partition.ts';
import { workerPartitions } from './worker-partition.ts';

let clock: FakeClock;
let folder: string;
let journal: Journal;
let partitions: Partitions;

beforeEach(() => {
  clock = new FakeClock();
  folder = temporaryFolder();
  journal = Journal.open(folder);
  const module = join(folder, 'module.so');
  writeFileSync(module, 'no library');
  const rest = { module, tokenLabel: 't', pinFile: 'p', environment: {}, role: 'member' } as const;
  const settings = ['main', 'other'].map((name) => ({ ...rest, name }));
  partitions = workerPartitions({ settings, journal, dataFolder: folder, clock, log: silentLog });
});

afterEach(async () => {
  await partitions.close();
  journal.close();
  rmSync(folder, { recursive: true });
});

const initialise = (): void =>
  journal.identities.add('main', { serial: 's1', ckaId: new Uint8Array(16), publicHalf: Buffer.from('half') });

it('are known by serial once they have been initialised', () => {
  expect(thrown(() => partitions.bySerial('s1'))).toMatchObject({ code: 'NOT_FOUND', details: { serial: 's1' } });
  initialise();
  expect(partitions.bySerial('s1').settings.name).toBe('main');
});

it('do no work before they have been initialised, and warm up without complaint', async () => {
  const [main] = partitions.all;
  expect(await rejection(main!.use(async () => 1))).toMatchObject({
    code: 'IDENTITY_MISSING',
    details: { partition: 'main' },
  });
  await main!.warmUp();
  expect(main!.failure).toBeUndefined();
});

it('say why they cannot be opened, each for itself', async () => {
  initialise();
  const [main, other] = partitions.all;
  expect((await rejection(main!.warmUp())).code).toBe('MODULE_UNAVAILABLE');
  expect([main!.failure?.code, other!.failure]).toEqual(['MODULE_UNAVAILABLE', undefined]);
});

it('do nothing for a caller that has gone, and nothing once they are closed: no worker is left behind', async () => {
  initialise();
  const [main] = partitions.all;
  const giveUp = new AbortController();
  const waiting = rejection(main!.use(async () => 1, giveUp.signal));
  giveUp.abort();
  expect((await waiting).code).toBe('TIMED_OUT');
  expect(main!.failure).toBeUndefined();
  await partitions.close();
  expect((await rejection(main!.use(async () => 1))).code).toBe('HSM_UNAVAILABLE');
  expect(main!.failure).toBeUndefined();
});

it('say how long the first of those that wait has waited, until it has its turn or has gone', async () => {
  initialise();
  const [main] = partitions.all;
  const [first, second] = [new AbortController(), new AbortController()];
  // A turn begins with the opening of the partition, which takes longer than all of this.
  const working = rejection(main!.use(async () => 1));
  const ends: Promise<AntipodeError>[] = [];
  for (const { signal } of [first, second]) {
    await Promise.resolve();
    ends.push(rejection(main!.use(async () => 1, signal)));
    await clock.advance(10_000);
  }
  const waited = [main!.longestWaitMs];
  for (const [at, one] of [first, second].entries()) {
    one.abort();
    await ends[at];
    waited.push(main!.longestWaitMs);
  }
  await working;
  expect(waited).toEqual([20_000, 10_000, 0]);
  expect(main!.longestWaitMs).toBe(0);
});
