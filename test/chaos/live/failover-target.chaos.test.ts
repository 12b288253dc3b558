/** The active site is lost, and the first standby answers and cannot do it: the next one serves. */
import { readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PROFILES } from '@antipode/coordinator';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { lying } from '../../support/devices/lying-token.ts';
import { TestSystem } from '../../support/system.ts';
import { SOFTHSM_MODULE } from '../../support/tokens.ts';

let system: TestSystem;
/** HSM workers of a site, stopped by this test. */
let frozen: number[] = [];
beforeEach(async () => {
  system = await TestSystem.start();
  await system.makeKey('a', '01');
  await system.replicate();
});
afterEach(async () => {
  for (const pid of frozen) sendTo(pid, 'SIGKILL');
  frozen = [];
  await system?.close();
});

/** Children of this process that talk to an HSM. */
function workers(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const parent = Number(/PPid:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
        return parent === process.pid && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('pkcs11/worker');
      } catch {
        return false;
      }
    });
}

/** To a worker of this test. One that has ended meanwhile needs none. */
function sendTo(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ESRCH') throw cause;
  }
}

/** Starts the agent of b again: its workers are those that were not there before. */
async function workersOfB(): Promise<Set<number>> {
  await system.stopAgent('b');
  const others = new Set(workers());
  await system.startAgent('b');
  await system.until('b is up and open', async () => {
    const { sites } = await system.operator.getStatus({});
    return sites.every(({ state }) => state === 'up') && workers().some((pid) => !others.has(pid));
  });
  return others;
}

const partitionOfB = () => system.agent('b').site.partitions.all.find(({ settings }) => settings.role !== 'scratch')!;

it('whose HSM library crashes whenever it is used is given up after a few tries', async () => {
  const others = await workersOfB();
  const partition = partitionOfB();
  const use = partition.use.bind(partition);
  partition.use = (work, signal, rank) =>
    use(
      async (open) => {
        if (work.length > 0) for (const pid of workers()) if (!others.has(pid)) sendTo(pid, 'SIGKILL');
        return work(open);
      },
      signal,
      rank,
    );
  await system.stopAgent('a');
  await system.untilActive('c');
  expect(await system.failedOver()).toMatchObject({ status: 'done', failure: { code: 'HSM_WORKER_LOST', site: 'b' } });
});

it('whose HSM hangs is given up as well', async () => {
  const others = await workersOfB();
  const partition = partitionOfB();
  const use = partition.use.bind(partition);
  partition.use = (work, signal, rank) =>
    use(
      async (open) => {
        if (work.length > 0 && frozen.length === 0) {
          frozen = workers().filter((pid) => !others.has(pid));
          for (const pid of frozen) sendTo(pid, 'SIGSTOP');
        }
        return work(open);
      },
      signal,
      rank,
    );
  await system.stopAgent('a');
  await system.untilActive('c');
  expect(frozen.length).toBeGreaterThan(0);
});

it('whose HSM is slow, and answers call after call, is not given up, however long its list takes', async () => {
  const { token, configFile } = system.site('b');
  const slow = lying(token);
  await system.stopAgent('b');
  writeFileSync(configFile, readFileSync(configFile, 'utf8').replace(SOFTHSM_MODULE, slow.config.module));
  await system.startAgent('b');
  for (let id = 10; id < 40; id += 1) await system.makeKey('a', String(id));
  await system.replicate();
  slow.tell({ lie: 'delay', ms: 250, function: 'C_GetAttributeValue' });
  await system.stopAgent('a');
  // Longer than the profile gives an HSM that does not answer at all.
  await system.untilActive('b');
  const failover = await system.failedOver();
  expect(Number(failover.updatedMs - failover.createdMs)).toBeGreaterThan(PROFILES.fast.hangMs);
  expect(failover.outcome).toMatchObject({ case: 'failover', value: { toSite: 'b', passedOver: [] } });
});

it('an active site whose HSM is gone for good is left, although its agent lives', async () => {
  const { token } = system.site('a');
  const others = new Set(workers());
  const of = async (): Promise<number[]> => {
    await system.stopAgent('a');
    const rest = new Set(workers());
    await system.startAgent('a');
    await system.until('a is open', async () => workers().some((pid) => !rest.has(pid)));
    return workers().filter((pid) => !rest.has(pid));
  };
  expect(others.size).toBeGreaterThan(0);
  const own = await of();
  renameSync(join(token.folder, 'tokens'), join(token.folder, 'away'));
  for (const pid of own) sendTo(pid, 'SIGKILL');
  await system.untilActive('b');
  await system.until('a is up, and the group is known to have failed over by itself', async () => {
    const { sites, groups } = await system.operator.getStatus({});
    const isUp = sites.find(({ site }) => site === 'a')?.state === 'up';
    return isUp && (groups[0]?.automaticFailoverPausedUntilMs ?? 0n) > 0n;
  });
});
