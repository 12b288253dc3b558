/**
 * A coordinator that comes back with a shorter profile: the active member still counts by the lease that it was granted
 * before, and nobody is promoted until that is over (I1). Real processes' parts in this one, real database.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PROFILES } from '@antipode/coordinator';
import type { Profile } from '@antipode/coordinator/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { GROUP, TestSystem } from '../../support/system.ts';

let system: TestSystem;
beforeAll(async () => {
  system = await TestSystem.start();
  await system.makeKey('a', '01');
  await system.replicate();
});
afterAll(() => system?.close());

async function restartWith(profile: Profile): Promise<void> {
  const file = join(system.folder, 'coordinator', 'coordinator.yaml');
  await system.coordinator.close();
  writeFileSync(file, readFileSync(file, 'utf8').replace(/^timings: .*$/m, `timings: ${profile}`));
  expect(readFileSync(file, 'utf8')).toContain(`timings: ${profile}`);
  await system.startCoordinator();
}

it('the longest lease that was granted is waited out after a restart with a shorter profile', async () => {
  const { leases } = system.agent('a').site;
  // Its lease is so long that it lasts through a restart on a busy machine.
  await restartWith('wan');
  await system.until('a holds the longer lease', async () => leases.remainingMs(GROUP, 1n) > PROFILES.fast.leaseMs);
  await restartWith('fast');
  const heldMs = leases.remainingMs(GROUP, 1n);
  await system.stopAgent('a');
  await system.until('the plan says how long the lease runs', async () => {
    const { leaseWaitMs, obstacle } = await system.operator.planFailover({ group: GROUP, toSite: '' });
    return obstacle === '' && Number(leaseWaitMs) > PROFILES.fast.leaseMs * 2;
  });
  expect(heldMs).toBeGreaterThan(PROFILES.fast.leaseMs);
});
