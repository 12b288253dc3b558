/**
 * The alerts of what has lasted too long. A coordinator is started again on another machine, whose clock is 40 days ahead:
 * operations and drills are as old to it as after 40 days in which nobody looked.
 */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, it, vi } from 'vitest';
import { LiveAlerts } from '../../support/live-alerts.ts';
import { type ShiftedClock, shiftedClock } from '../../support/shifted-clock.ts';
import { GROUP, TestSystem } from '../../support/system.ts';
import { temporaryFolder } from '../../support/tokens.ts';

vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

const DAYS_MS = 40 * 86_400_000;
const BOOT_ID = '/proc/sys/kernel/random/boot_id';

let system: TestSystem;
let alerts: LiveAlerts;
let clock: ShiftedClock;
let folder: string;
/** Words in front of the command of the coordinator. */
let machine: readonly string[] = [];

beforeAll(async () => {
  folder = temporaryFolder('clock');
  clock = shiftedClock(join(folder, 'clock'));
  const bootId = join(folder, 'boot-id');
  writeFileSync(bootId, '8d2e0f1c-0000-4000-8000-000000000001\n');
  system = await TestSystem.start({
    processes: ['coordinator'],
    health: true,
    timings: 'default',
    timeoutMs: 120_000,
    rpoSeconds: 86_400,
    network: { host: () => 'localhost', within: (place) => (place === 'main' ? machine : []) },
    environment: (name) => (name === 'coordinator' ? clock.environment : {}),
  });
  // It sees another boot than this machine's, in a mount namespace of its own.
  machine = ['unshare', '--mount', '--', 'sh', '-c', `mount --bind ${bootId} ${BOOT_ID} && exec "$@"`, 'sh'];
  await system.makeKey('a', '01');
  await system.insistent('it is replicated', () => system.replicate());
  await system.ended((await system.operator.runDrill({ group: GROUP, site: 'c' })).operationId);
  alerts = await LiveAlerts.watch(system);
});
afterAll(async () => {
  await alerts?.close();
  await system?.close();
  rmSync(folder, { recursive: true, force: true });
});

it('a drill and an operation of long ago, and clocks that differ', async () => {
  await system.stopAgent('b');
  await system.makeKey('a', '02');
  await system.insistent('site c has the next key', () => system.replicate(['c']));
  await alerts.raised(
    async () => {
      await system.coordinatorProcess!.stop();
      clock.set(DAYS_MS);
      await system.startCoordinator({ asProcess: true });
    },
    'AntipodeProofOld',
    'AntipodeOperationsStuck',
    'AntipodeClockOff',
  );
  await alerts.resolved(
    () =>
      system.insistent('a drill passes', async () => {
        await system.ended((await system.operator.runDrill({ group: GROUP, site: 'c' })).operationId);
      }),
    'AntipodeProofOld',
  );
});
