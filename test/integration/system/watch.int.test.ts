/** A status that is watched while its only coordinator hangs, is killed, and comes back. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { operatorConfigOf } from '../../support/command.ts';
import { TestSystem } from '../../support/system.ts';

/** A coordinator that starts on a busy machine. */
vi.setConfig({ testTimeout: 120_000 });

const MAIN = fileURLToPath(new URL('../../../apps/cli/src/main.ts', import.meta.url));
/** Longer than the test: it is Ctrl-C, or the coordinator, that ends the wait. */
const PATIENT = ['--timeout', '600'];
let system: TestSystem;
const watchers: ChildProcess[] = [];

beforeAll(async () => {
  system = await TestSystem.start({ processes: ['coordinator'], rpoSeconds: 3_600 });
}, 120_000);
afterEach(async () => {
  system.coordinatorProcess?.signal('SIGCONT');
  for (const child of watchers.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
});
afterAll(() => system?.close());

function started(program: string, args: readonly string[]): ChildProcess {
  const env = { ...process.env, NO_COLOR: '1', ANTIPODE_CONFIG: operatorConfigOf(system.folder).file };
  const child = spawn(program, args, { env });
  watchers.push(child);
  return child;
}

it('tells programs that nobody answers, and the whole state again when somebody does', async () => {
  const child = started(process.execPath, [MAIN, 'status', '--watch', '--every', '1', '--timeout', '1', '--json']);
  const told: ('status' | 'error')[] = [];
  createInterface({ input: child.stdout! }).on('line', (line) =>
    told.push((JSON.parse(line) as { error?: unknown }).error === undefined ? 'status' : 'error'),
  );
  const tells = (what: 'status' | 'error'): Promise<unknown> => {
    const from = told.length;
    return system.until(`the watcher tells ${what}`, async () => told.slice(from).includes(what));
  };
  await tells('status');
  const hangs = tells('error');
  system.coordinatorProcess!.signal('SIGSTOP');
  await hangs;
  const wakes = tells('status');
  system.coordinatorProcess!.signal('SIGCONT');
  await wakes;
  const isGone = tells('error');
  await system.coordinatorProcess!.stop();
  await isGone;
  const isBack = tells('status');
  await system.startCoordinator({ asProcess: true });
  await isBack;
  const ended = once(child, 'exit');
  child.kill('SIGINT');
  expect(await ended).toEqual([130, null]);
});

it('shows on a terminal that its picture is an old one, goes on, and ends by Ctrl-C while nobody answers', async () => {
  const line = [process.execPath, MAIN, 'status', '--watch', '--every', '1', ...PATIENT].join(' ');
  const child = started('script', ['-qec', `stty rows 40 cols 160; ${line}`, '/dev/null']);
  let printed = '';
  child.stdout!.on('data', (part) => {
    printed += String(part);
  });
  const shows = (what: RegExp): Promise<unknown> => {
    const from = printed.length;
    return system.until(`the terminal shows ${what.source}`, async () => what.test(printed.slice(from)));
  };
  const present = /\d{3}Z {2}Ctrl-C ends/;
  const old = /no answer for \d+ s; the state below is that of \S+ {2}Ctrl-C ends/;
  await shows(present);
  const isOld = shows(old);
  system.coordinatorProcess!.signal('SIGSTOP');
  await isOld;
  const isPresent = shows(present);
  system.coordinatorProcess!.signal('SIGCONT');
  await isPresent;
  const isOldAgain = shows(old);
  system.coordinatorProcess!.signal('SIGSTOP');
  await isOldAgain;
  const ended = once(child, 'exit');
  child.stdin!.write('\u0003');
  expect([await ended, printed.trimEnd().endsWith('\u001b[?25h\u001b[?1049l')]).toEqual([[130, null], true]);
});
