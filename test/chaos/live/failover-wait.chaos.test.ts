/**
 * The active site is lost, and only a member without its HSM has the last acknowledged generation. Either its store
 * still has it sealed, or the failover waits and says for what. It continues by itself, or by one command of an
 * operator.
 */
import { readdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { antipode } from '../../support/command.ts';
import { GROUP, TestSystem } from '../../support/system.ts';

let system: TestSystem;
let acknowledged: bigint;
let newest: bigint;

const groupNow = async () => (await system.operator.getGroup({ group: GROUP })).group!;
const tokensOf = (site: string): [string, string] => {
  const { folder } = system.site(site).token;
  return [join(folder, 'tokens'), join(folder, 'away')];
};
const cli = (...args: string[]) => antipode(args, { configFile: join(system.folder, 'operator', 'operator.yaml') });

/** The HSM of a site goes away: its tokens, and the process that has them open. */
function breakHsm(site: string): void {
  renameSync(...tokensOf(site));
  const { folder } = system.site(site).token;
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const isWorker = readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('pkcs11/worker');
      const isOfSite = readFileSync(`/proc/${pid}/environ`, 'utf8').includes(folder);
      if (isWorker && isOfSite && Number(pid) !== process.pid) process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It has ended meanwhile.
    }
  }
}

/** The store of b loses everything that it has sealed. */
function loseStore(): void {
  const path = join(system.site('b').folder, 'data', 'generations.db');
  const database = new DatabaseSync(path, { enableForeignKeyConstraints: false });
  database.exec('PRAGMA busy_timeout = 5000; DELETE FROM blob');
  database.close();
}

/** b alone has acknowledged the last key; a has captured one more, which nobody has acknowledged; then a is lost. */
async function loseA(): Promise<void> {
  breakHsm('b');
  await system.until('it is seen that b cannot be used', async () =>
    (await groupNow()).members.some(({ site, partitionErrorCode }) => site === 'b' && partitionErrorCode !== ''),
  );
  await system.makeKey('a', '03');
  const { operationId } = await system.operator.replicate({ group: GROUP });
  await system.ended(operationId);
  newest = (await groupNow()).newest!.generation;
  await system.stopAgent('a');
}

beforeEach(async () => {
  system = await TestSystem.start();
  await system.makeKey('a', '01');
  await system.replicate();
  await system.stopAgent('c');
  await system.makeKey('a', '02');
  acknowledged = BigInt((await system.replicate(['b'])).state.newest?.generation ?? 0);
});
afterEach(() => system?.close());

it('a standby fetches it from the store of the member whose HSM is gone, and serves', async () => {
  await loseA();
  expect(newest).toBeGreaterThan(acknowledged);
  await system.startAgent('c');
  await system.untilActive('c');
  expect(await system.keysAt('c')).toContain('key 02');
  const { outcome } = await system.failedOver();
  expect(outcome).toMatchObject({ case: 'failover', value: { lost: [{ generation: newest }] } });
});

it('where the store has lost it too, the failover waits and names the loss; one command accepts it', async () => {
  loseStore();
  await loseA();
  await system.startAgent('c');
  const waiting = await system.until('it waits', async () => (await groupNow()).failoverWait);
  expect(waiting).toMatchObject({ toSite: 'c', holders: [{ site: 'b' }] });
  expect(waiting.generations.map(({ generation }) => generation)).toEqual([acknowledged]);
  expect(waiting.losses.map(({ generation }) => generation)).toEqual([acknowledged, newest]);
  const status = await cli('status');
  expect(status.stdout).toContain(`antipode failover ${GROUP} --to c --accept-loss`);
  expect(status).toMatchObject({ code: 4 });
  expect((await groupNow()).activeSite).toBe('a');
  const done = await cli('failover', GROUP, '--to', 'c', '--accept-loss', '--yes');
  expect(done.stdout).toContain('site c is active in epoch 2');
  expect(await groupNow()).toMatchObject({ activeSite: 'c' });
  await system.until('the wait is over', async () => (await groupNow()).failoverWait === undefined);
});

it('goes on by itself when the member is back', async () => {
  loseStore();
  await loseA();
  await system.startAgent('c');
  await system.until('it waits', async () => (await groupNow()).failoverWait);
  const [there, away] = tokensOf('b');
  renameSync(away, there);
  await system.untilActive('b');
  expect(await system.keysAt('b')).toContain('key 02');
});
