/** A follower of the log of events, beside two real coordinators: one event after another, while leaders come and go. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { CoordinatorService } from '@antipode/protocol';
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { antipode, operatorConfigOf } from '../../support/command.ts';
import { DatabasePair } from '../../support/database-pair.ts';
import { COORDINATORS, GROUP, TestSystem } from '../../support/system.ts';

/** A takeover on a busy machine. */
vi.setConfig({ testTimeout: 120_000 });

interface Line {
  readonly id: number;
  readonly kind: string;
  readonly group: string;
}

const MAIN = fileURLToPath(new URL('../../../apps/cli/src/main.ts', import.meta.url));
let pair: DatabasePair;
let system: TestSystem;
let configFile: string;
const followers: ChildProcess[] = [];

beforeAll(async () => {
  pair = await DatabasePair.start({ roles: COORDINATORS, standbys: 0 });
  system = await TestSystem.start({ shared: pair.shared, rpoSeconds: 3_600 });
  configFile = operatorConfigOf(system.folder).file;
}, 180_000);
afterEach(async () => {
  for (const child of followers.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
});
afterAll(async () => {
  await system?.close();
  await pair?.close();
});

function follow(...args: string[]) {
  const child = spawn(process.execPath, [MAIN, 'events', '--follow', '--json', ...args], {
    env: { ...process.env, NO_COLOR: '1', ANTIPODE_CONFIG: configFile },
  });
  followers.push(child);
  const lines: Line[] = [];
  let said = '';
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(JSON.parse(line)));
  child.stderr.on('data', (part) => {
    said += String(part);
  });
  const ended = once(child, 'exit');
  return { child, lines, ended, said: () => said };
}

const onRecord = async (): Promise<number[]> =>
  (await pair.ask<{ id: string }>('SELECT id::text FROM event ORDER BY event.id')).map(({ id }) => Number(id));

it('sees what happens while it follows, and ends by Ctrl-C', async () => {
  const { child, lines, ended, said } = follow('--group', GROUP, '--kind', 'automation-*');
  await system.until('the follower is there', async () => (await antipode(['events'], { configFile })).code === 0);
  await antipode(['group', 'pause', GROUP, '--reason', 'test'], { configFile });
  await system.until('the pause is told', async () => lines.length > 0);
  expect(lines).toMatchObject([{ kind: 'automation-paused', group: GROUP }]);
  await antipode(['group', 'resume', GROUP], { configFile });
  await system.until('the end of it is told', async () => lines.length > 1);
  child.kill('SIGINT');
  expect([await ended, said()]).toEqual([[130, null], '']);
});

it('ends when its reader leaves', async () => {
  const { child, ended } = follow('--limit', '1');
  await once(child.stdout!, 'data');
  child.stdout!.destroy();
  await antipode(['group', 'pause', GROUP, '--reason', 'test'], { configFile });
  expect(await ended).toEqual([0, null]);
  await antipode(['group', 'resume', GROUP], { configFile });
});

it('misses nothing and tells nothing twice when the leader is killed', async () => {
  const { child, lines, ended, said } = follow('--since', '1d');
  await system.until('what was before is told', async () => lines.length > 3);
  const leader = await system.until('a coordinator leads', async () => {
    for (const id of COORDINATORS) {
      const client = system.dialCoordinator(CoordinatorService, id);
      const { term } = await client.getLeader({}, { timeoutMs: 1_000 }).catch(() => ({ term: 0n }));
      client.close();
      if (term > 0n) return id;
    }
    return undefined;
  });
  await system.coordinatorProcesses.get(leader)!.killAll();
  await system.makeKey('a', '01');
  await system.insistent('a key is replicated by the next leader', () => system.replicate());
  const all = await onRecord();
  await system.until('the follower has them', async () => lines.some(({ id }) => id === all.at(-1)));
  expect(lines.map(({ id }) => id).filter((id) => id <= all.at(-1)!)).toEqual(all);
  child.kill('SIGTERM');
  expect([await ended, said()]).toEqual([[130, null], expect.not.stringContaining('INVARIANT')]);
  system.startSharing(leader);
});

it('names the call in the error of a request that is refused', async () => {
  const { code, stderr } = await antipode(['events', '--group', '-x-'], { configFile });
  expect([code, stderr]).toEqual([2, expect.stringMatching(/REQUEST_INVALID.*Call [0-9a-f]{16}: search the log of/s)]);
});
