/** Everything is a real process: the one that runs a program, its supervisor, the program, and a shell at a terminal. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { systemClock } from '@antipode/runtime';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { descendantsOf, processStat } from '../supervisor/process-tree.ts';

const LAUNCH = fileURLToPath(new URL('../testing/launch.ts', import.meta.url));

let folder: string;
let file: string;
let place: string;
let started: ChildProcess[];

beforeEach(() => {
  folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'antipode-launch-'));
  [file, place] = [join(folder, 'lines'), join(folder, 'place')];
  writeFileSync(place, 'a');
  started = [];
});
afterEach(() => {
  for (const { pid } of started)
    for (const one of [
      ...descendantsOf(pid!)
        .reverse()
        .map((found) => found.pid),
      pid!,
    ]) {
      try {
        process.kill(one, 'SIGKILL');
      } catch {
        // It has ended.
      }
    }
  const left = pids().filter((pid) => !isGone(pid));
  rmSync(folder, { recursive: true });
  expect(left).toEqual([]);
});

const lines = (): string[] => (existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : []);
/** It has ended, even if init has adopted it and has not asked for its status yet. */
const isGone = (pid: number): boolean => processStat(pid)?.isOver ?? true;
const pids = (): number[] => lines().flatMap((line) => Number(/^\w+ (\d+)$/.exec(line)?.[1] ?? 0) || []);
/** Waits for the fact itself. The limit is the one of the test. */
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await systemClock.sleep(5);
}

/**
 * Each writes its name and its process number, and ends with the folder of the test at the latest. The orphan is in a
 * session of its own, and ends only by SIGKILL.
 */
const WITH_ORPHAN = `(setsid /bin/sh -c 'trap "" TERM; echo "orphan $$" >> "$FILE"; while [ -e "$FILE" ]; do sleep 0.1; done' &)
echo "program $$" >> "$FILE"; while [ -e "$FILE" ]; do sleep 0.1; done`;

function launch(script: string): ChildProcess {
  const env = { ...process.env, FILE: file };
  const child = spawn(process.execPath, [LAUNCH, place, '/bin/sh', '-c', script], { stdio: 'ignore', env });
  started.push(child);
  return child;
}
const exitOf = (child: ChildProcess): Promise<unknown> => new Promise((resolve) => child.once('exit', resolve));
const supervisorOf = (child: ChildProcess): number =>
  descendantsOf(child.pid!).find(({ parent }) => parent === child.pid)!.pid;

describe('everything that a program has started', () => {
  it('ends when the process that runs it is killed', async () => {
    const child = launch(WITH_ORPHAN);
    await until(() => lines().length === 2);
    child.kill('SIGKILL');
    await until(() => pids().every(isGone));
  });

  it('ends when its supervisor is killed', async () => {
    const child = launch(WITH_ORPHAN);
    await until(() => lines().length === 2);
    const ended = exitOf(child);
    process.kill(supervisorOf(child), 'SIGKILL');
    expect([await ended, pids().map(isGone)]).toEqual([137, [true, true]]);
  });

  it('ends when the group moves, even if its supervisor is stopped', async () => {
    const child = launch(WITH_ORPHAN);
    await until(() => lines().length === 2);
    const [...before] = pids();
    process.kill(supervisorOf(child), 'SIGSTOP');
    writeFileSync(place, 'b');
    await until(() => lines().length === 4);
    expect(before.map(isGone)).toEqual([true, true]);
    const ended = exitOf(child);
    child.kill('SIGTERM');
    expect([await ended, pids().map(isGone)]).toEqual([143, [true, true, true, true]]);
  });

  it('gets no variable and no open file beyond those that it gets without a supervisor', async () => {
    const script = 'env | grep "^NODE_" >> "$FILE"; exec ls /proc/self/fd >> "$FILE"';
    await exitOf(launch(script));
    const supervised = lines();
    rmSync(file);
    await exitOf(spawn('/bin/sh', ['-c', script], { stdio: 'ignore', env: { ...process.env, FILE: file } }));
    expect(supervised).toEqual(lines());
  });
});

describe('at a terminal', () => {
  /** An interactive shell with job control, at a terminal of its own, that is typed at. */
  function terminal(): { type(text: string): void; screen(): string } {
    const child = spawn('script', ['-qfec', 'bash --norc --noprofile -i', '/dev/null'], {
      stdio: ['pipe', 'pipe', 'ignore'],
      env: { ...process.env, FILE: file, PS1: 'ready> ', TERM: 'dumb', HISTFILE: '' },
    });
    started.push(child);
    let screen = '';
    child.stdout!.on('data', (data: Buffer) => (screen += data.toString()));
    return { type: (text) => void child.stdin!.write(text), screen: () => screen };
  }
  const run = (script: string): string => {
    writeFileSync(join(folder, 'program'), script);
    return `'${process.execPath}' '${LAUNCH}' '${place}' /bin/sh '${join(folder, 'program')}'; echo "status=$?"\n`;
  };

  it('a program reads what is typed, is interrupted once, and its status is that of the command', async () => {
    const { type, screen } = terminal();
    type(
      run(`trap 'echo interrupted >> "$FILE"' INT; trap 'exit 4' HUP
read line; echo "read $line" >> "$FILE"; while [ -e "$FILE" ]; do :; done`),
    );
    await until(() => screen().includes('started at site a'));
    type('hello\n');
    await until(() => lines().length === 1);
    for (let pressed = 1; pressed <= 8; pressed += 1) {
      type('\x03');
      await until(() => lines().length > pressed);
    }
    // The shell, and the process that runs the program. An interrupt that is passed on as well arrives before this.
    const running = descendantsOf(started[0]!.pid!).find(({ pid }) =>
      readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(LAUNCH),
    );
    process.kill(running!.pid, 'SIGHUP');
    await until(() => screen().includes('status=4'));
    expect(lines()).toEqual(['read hello', ...Array.from({ length: 8 }, () => 'interrupted')]);
  });

  it('the whole job stops and goes on', async () => {
    const { type, screen } = terminal();
    type(run('echo "program $$" >> "$FILE"; read line; echo "read $line" >> "$FILE"'));
    await until(() => lines().length === 1);
    const [pid] = pids();
    const isStopped = (): boolean => / \(sh\) T /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
    type('\x1a');
    await until(() => isStopped() && screen().includes('Stopped'));
    type('fg\n');
    await until(() => !isStopped());
    type('hello\n');
    await until(() => lines().length === 2);
    expect(lines()[1]).toBe('read hello');
  });
});
