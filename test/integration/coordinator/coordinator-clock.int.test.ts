/** A real coordinator whose clock somebody sets back by hours: what it writes down does not go back with it. */
import { chmodSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Coordinator, loadCoordinatorConfig } from '@antipode/coordinator';
import { PostgresStore, readTimeline } from '@antipode/coordinator/testing';
import { freePort } from '@antipode/demo/town';
import { createClient, OperatorService } from '@antipode/protocol';
import { type Clock, silentLog, systemClock } from '@antipode/runtime';
import { makeAuthority, makeCoordinatorFolder, makeOperatorFolder } from '@antipode/setup';
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { temporaryFolder } from '../../support/tokens.ts';

const HOUR_MS = 3_600_000;
const folder = temporaryFolder('clock');
const open: { close(): unknown }[] = [];
/** Wrong at first, and put right later. */
let offsetMs = 6 * HOUR_MS;
const clock: Clock = { ...systemClock, wallMs: () => systemClock.wallMs() + offsetMs };
let address: string;

beforeAll(async () => {
  chmodSync(folder, 0o711);
  const authority = join(folder, 'authority');
  await makeAuthority({ folder: authority, trustDomain: 'test.antipode' });
  address = `localhost:${await freePort()}`;
  const path = join(folder, 'coordinator');
  await makeCoordinatorFolder({ folder: path, authority, id: 'main', listen: address, timings: 'fast' });
  await makeOperatorFolder({
    folder: join(folder, 'operator'),
    authority,
    name: 'test',
    coordinators: [{ id: 'main', address }],
  });
});
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function started() {
  const config = loadCoordinatorConfig(join(folder, 'coordinator', 'coordinator.yaml'));
  const coordinator = new Coordinator({ config, log: silentLog, clock });
  open.push(coordinator);
  await coordinator.start();
  const file = (name: string): string => join(folder, 'operator', name);
  const operator = createClient(OperatorService, {
    address,
    tls: { caFile: file('ca.crt'), certificateFile: file('tls.crt'), keyFile: file('tls.key') },
    expected: { kind: 'coordinator', name: 'main' },
  });
  open.push(operator);
  const socket = coordinator.embedded.postgres!.socketFolder;
  const store = new PostgresStore({ connection: { host: socket, user: 'antipode', database: 'postgres' }, clock });
  open.push(store);
  const mark = async (after = Number.NEGATIVE_INFINITY) =>
    vi.waitFor(
      async () => {
        const found = await store.query(readTimeline);
        if (found === undefined || found.wallMs === after) throw new Error('not yet');
        return found;
      },
      { timeout: 20_000, interval: 50 },
    );
  return { operator, mark };
}

it('goes on in its own time, says so, and so does the next one', async () => {
  const { operator, mark } = await started();
  const before = await mark();
  expect(Math.abs(before.atMs - clock.wallMs())).toBeLessThan(60_000);
  offsetMs = 0;
  const after = await vi.waitFor(
    async () => {
      const found = await mark(before.wallMs);
      if (found.wallMs > before.wallMs) throw new Error('not yet');
      return found;
    },
    { timeout: 20_000, interval: 50 },
  );
  expect(after.atMs).toBeGreaterThan(before.atMs);
  expect(after.atMs - before.atMs).toBeLessThan(60_000);
  const { clockStep } = await vi.waitFor(
    async () => {
      const status = await operator.getStatus({});
      if (status.clockStep === undefined) throw new Error('not yet');
      return status;
    },
    { timeout: 20_000, interval: 50 },
  );
  expect(Math.round(Number(clockStep?.byMs) / HOUR_MS)).toBe(-6);
  for (const one of open.splice(0).reverse()) await one.close();

  const next = await started();
  const later = await next.mark(after.wallMs);
  expect(later.atMs).toBeGreaterThanOrEqual(after.atMs);
  expect(later.atMs - after.atMs).toBeLessThan(60_000);
});
