/** A program locks the journal of the active site for 15 s, beside a running coordinator: real processes. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { systemClock } from '@antipode/runtime';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { antipode, operatorConfigOf } from '../../support/command.ts';
import { GROUP, TestSystem } from '../../support/system.ts';

const LOCKED_MS = 15_000;
let system: TestSystem;
beforeAll(async () => {
  system = await TestSystem.start({ processes: ['a', 'b', 'c', 'coordinator'] });
  await system.makeKey('a', '01');
  await system.until('it is replicated', () => system.replicate());
});
afterAll(() => system?.close());

it('costs no failover and no agent, is reported while it lasts, and is over when it ends', async () => {
  const { pid } = system.site('a').process!;
  const script = `
    import { DatabaseSync } from 'node:sqlite';
    const database = new DatabaseSync(${JSON.stringify(join(system.site('a').folder, 'data', 'journal.db'))});
    database.exec('PRAGMA busy_timeout = 5000; BEGIN EXCLUSIVE');
    process.stdout.write('locked');
    setInterval(() => {}, 1000);`;
  const locker = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const seen = new Set<string>();
  const told = new Set<string>();
  try {
    await once(locker.stdout, 'data');
    const endMs = systemClock.monotonicMs() + LOCKED_MS;
    await system.makeKey('a', '02');
    await system.operator.replicate({ group: GROUP });
    while (systemClock.monotonicMs() < endMs) {
      const { sites, groups } = await system.operator.getStatus({});
      const site = sites.find((one) => one.site === 'a');
      seen.add(`${site?.state} ${groups[0]?.activeSite} ${groups[0]?.epoch}`);
      for (const { errorCode } of site?.partitions ?? []) told.add(errorCode);
      for (const { errorCode } of groups[0]?.concerns ?? []) told.add(errorCode);
      await systemClock.sleep(100);
    }
    const { code, stdout } = await antipode(['status'], { configFile: operatorConfigOf(system.folder).file });
    expect(code).toBe(4);
    expect(stdout).toContain('FILE_BUSY');
  } finally {
    locker.kill('SIGKILL');
  }
  // Its agent is heard, and takes no order meanwhile.
  expect([...seen].sort()).toEqual(['mute a 1', 'up a 1']);
  expect([...told]).toContain('FILE_BUSY');
  expect(system.site('a').process?.pid).toBe(pid);
  const { state } = await system.until('the key of that time is replicated', () => system.replicate());
  expect(state).toMatchObject({ activeSite: 'a', epoch: 1n });
  await system.untilProtection('protected');
  const { sites } = await system.operator.getStatus({});
  expect(sites.find(({ site }) => site === 'a')?.state).toBe('up');
  expect(await system.keysAt('b')).toContain('key 02');
});
