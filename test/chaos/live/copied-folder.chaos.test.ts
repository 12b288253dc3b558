/** A copy of the active agent's folder, started while the original is paused: one of the two holds the lease at any time. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FailoverPolicy } from '@antipode/protocol';
import { systemClock, systemPrng } from '@antipode/runtime';
import { loadAgentConfig, SiteAgent } from '@antipode/site-agent';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { GROUP, TestSystem } from '../../support/system.ts';

let system: TestSystem;
let copy: SiteAgent | undefined;
beforeEach(async () => {
  system = await TestSystem.start({ processes: ['a'], timings: 'default', failoverPolicy: FailoverPolicy.MANUAL });
});
afterEach(async () => {
  await copy?.close();
  await system?.close();
});

/** One takes a second at most: more than the coordinator needs to miss the original, and less than its lease lasts. */
const REFUSALS = 5;

it('gets no lease while the original is paused and may hold one', async () => {
  const { folder, process: original } = system.site('a');
  const siteA = async () => (await system.operator.getStatus({})).sites.find(({ site }) => site === 'a')!;
  const { address } = await siteA();
  const refusals = async (): Promise<number> => (await siteA()).refusedAgent?.heartbeats ?? 0;
  const elsewhere = join(system.folder, 'copy-of-a');
  execFileSync('cp', ['-a', folder, elsewhere]);
  const configFile = join(elsewhere, 'agent.yaml');
  writeFileSync(configFile, readFileSync(configFile, 'utf8').replace(/^listen: .*$/m, 'listen: localhost:0'));
  copy = SiteAgent.open({
    config: loadAgentConfig(configFile),
    log: system.log.with({ site: 'the copy' }),
    clock: systemClock,
    prng: systemPrng,
  });
  await copy.start();
  const { leases, journal } = copy.site;
  const { epoch } = journal.tenure.fence(GROUP)!;
  await system.until('the copy is refused', async () => (await refusals()) > 0);
  original!.signal('SIGSTOP');
  try {
    const before = await refusals();
    await system.until('it is refused although the original is silent', async () => {
      expect(leases.remainingMs(GROUP, epoch)).toBe(0);
      return (await refusals()) >= before + REFUSALS;
    });
  } finally {
    original!.signal('SIGCONT');
  }
  await system.until('the original is heard again', async () => {
    const { state, address: heardAt } = await siteA();
    return state === 'up' && heardAt === address;
  });
  expect(leases.remainingMs(GROUP, epoch)).toBe(0);
});
