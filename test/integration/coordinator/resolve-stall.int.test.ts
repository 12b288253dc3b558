/** Where applications go while the database of the coordinator stands still: a real PostgreSQL, stopped by a signal. */
import { execFileSync } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { FailoverPolicy, OperatorService } from '@antipode/protocol';
import { AntipodeError, systemClock } from '@antipode/runtime';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { GROUP, TestSystem } from '../../support/system.ts';

const ASKED = 8;
/** A statement of a coordinator may take so long. Each answer used to wait for one. */
const STATEMENT_MS = 15_000;

let system: TestSystem;
beforeAll(async () => {
  system = await TestSystem.start({ failoverPolicy: FailoverPolicy.MANUAL, timings: 'default', timeoutMs: 120_000 });
}, 180_000);
afterAll(() => system?.close());

/** The postmaster and all its children. */
function processes(): number[] {
  const [file] = globSync(join(system.folder, '**', 'postmaster.pid'));
  const [pid] = readFileSync(file!, 'utf8').split('\n');
  const children = execFileSync('pgrep', ['-P', pid!]).toString();
  return [Number(pid), ...children.trim().split('\n').map(Number)];
}

it('the coordinator answers from what its agents say, or says that it cannot, and waits for no statement', async () => {
  await system.untilActive('a');
  const client = system.dialCoordinator(OperatorService, 'main');
  const stopped = processes();
  const answers: { ms: number; what: string }[] = [];
  for (const pid of stopped) process.kill(pid, 'SIGSTOP');
  try {
    // Past the lease of the leader.
    for (let count = 0; count < ASKED; count += 1) {
      const startedMs = systemClock.monotonicMs();
      const what = await client.resolve({ group: GROUP }, { timeoutMs: 30_000 }).then(
        ({ site, isWithoutDatabase }) => `${site} ${isWithoutDatabase ? 'by agents' : 'by database'}`,
        (thrown: unknown) => AntipodeError.from(thrown).code,
      );
      answers.push({ ms: Math.round(systemClock.monotonicMs() - startedMs), what });
    }
  } finally {
    for (const pid of stopped) process.kill(pid, 'SIGCONT');
    client.close();
  }
  expect(answers[0]!.what).toBe('a by agents');
  for (const { what } of answers) expect(['a by agents', 'DATABASE_UNAVAILABLE', 'NOT_LEADER']).toContain(what);
  for (const { ms } of answers) expect(ms).toBeLessThan(STATEMENT_MS);
  expect(
    await system.until('the database answers', async () => (await system.operator.resolve({ group: GROUP })).site),
  ).toBe('a');
}, 180_000);
