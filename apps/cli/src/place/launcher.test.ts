/** Programs are real processes; the answers and the time come from the test. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AntipodeError, systemClock } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { afterAll, afterEach, beforeEach, expect, it } from 'vitest';
import { isPassing } from '../commands/operator/resolve.ts';
import { Launcher, type LauncherOptions } from './launcher.ts';
import type { Place } from './place.ts';

const folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'antipode-launcher-'));
afterAll(() => rmSync(folder, { recursive: true }));

const place = (site: string, epoch: bigint, change: Partial<Place> = {}): Place => ({
  group: 'payments',
  site,
  module: '/m.so',
  tokenLabel: 'payments',
  serial: `${site}-1`,
  epoch,
  siteState: 'up',
  partitionErrorCode: '',
  answeredBy: 'coordinator main',
  isLeader: true,
  ageMs: 0,
  ...change,
});

let file: string;
let runs = 0;
let answer: Place | AntipodeError;
let asked = 0;
let notes: string[];
let stop: AbortController;
let running: Promise<unknown>;
let launcher: Launcher;

beforeEach(() => {
  runs += 1;
  file = join(folder, String(runs));
  notes = [];
  stop = new AbortController();
  running = Promise.resolve();
});
/** No program outlives its test. */
afterEach(async () => {
  stop.abort('SIGKILL');
  await running.catch(() => {});
});

/** Writes a line with its site as it starts, and one as it is asked to end. */
const LIVING = `echo "start $ANTIPODE_SITE $ANTIPODE_EPOCH $$" >> "$FILE"; trap 'echo "end $ANTIPODE_SITE" >> "$FILE"; exit 9' TERM; while [ -e "$FILE" ]; do sleep 0.05; done`;

function launch(script: string, options: Partial<LauncherOptions> = {}): Promise<number> {
  launcher = new Launcher({
    command: ['/usr/bin/env', `FILE=${file}`, '/bin/sh', '-c', script],
    find: async () => {
      asked += 1;
      if (answer instanceof AntipodeError) throw answer;
      return answer;
    },
    isPassing,
    clock: systemClock,
    everyMs: 10,
    graceMs: 5_000,
    stop: stop.signal,
    isAlone: false,
    stdio: 'ignore',
    note: (line) => notes.push(line),
    ...options,
  });
  const made = launcher.run();
  running = made;
  return made;
}

const lines = (): string[] => (existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : []);
/** Waits for the fact itself. The limit is the one of the test. */
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await systemClock.sleep(5);
}
const withoutPids = (): string[] => lines().map((line) => line.replace(/ \d{2,}$/, ''));

it('gives the program the token, and ends with its exit status', async () => {
  answer = place('a', 3n);
  expect(
    await launch('echo "$ANTIPODE_GROUP $ANTIPODE_SITE $ANTIPODE_URI $PKCS11_MODULE_PATH" > "$FILE"; exit 7'),
  ).toBe(7);
  expect(lines()).toEqual(['payments a pkcs11:token=payments;serial=a-1?module-path=/m.so /m.so']);
});

it('ends with the status of a shell where a signal has ended the program', async () => {
  answer = place('a', 1n);
  expect(await launch('kill -KILL $$')).toBe(137);
});

it('ends the program when the group moves, and starts it with the new token', async () => {
  answer = place('a', 1n);
  void launch(LIVING);
  await until(() => lines().length === 1);
  answer = place('b', 2n);
  await until(() => lines().length === 3);
  expect(withoutPids()).toEqual(['start a 1', 'end a', 'start b 2']);
});

it('does not run a program again that had ended by itself before the group was seen to move', async () => {
  const isGone = (pid: number): boolean => {
    try {
      return !process.kill(pid, 0);
    } catch {
      return true;
    }
  };
  const script = 'echo $$ >> "$FILE"; while [ ! -e "$FILE.go" ]; do sleep 0.05; done; exit 5';
  const status = await launch(script, {
    find: async () => {
      if (lines().length === 0) return place('a', 1n);
      writeFileSync(`${file}.go`, '');
      await until(() => isGone(Number(lines()[0])));
      return place('b', 2n);
    },
  });
  expect([status, lines().length, notes.length]).toEqual([5, 1, 1]);
});

it('follows the group after a program has read its configuration again, and passes on each later signal', async () => {
  answer = place('a', 1n);
  const done = launch(
    `trap 'echo reload >> "$FILE"' HUP; trap 'echo interrupted >> "$FILE"' INT; trap 'exit 9' TERM; echo "start $ANTIPODE_SITE" >> "$FILE"; while [ -e "$FILE" ]; do sleep 0.05; done`,
  );
  await until(() => lines().length === 1);
  launcher.receive('SIGHUP', stop);
  await until(() => lines().length === 2);
  answer = place('b', 2n);
  await until(() => lines().length === 3);
  launcher.receive('SIGINT', stop);
  await until(() => lines().length === 4);
  launcher.receive('SIGTERM', stop);
  expect([await done, lines()]).toEqual([9, ['start a', 'reload', 'start b', 'interrupted']]);
});

it('a signal ends the wait where no program runs', async () => {
  answer = new AntipodeError('NOT_SERVED', 'nobody serves the group', { details: { group: 'payments', epoch: 1n } });
  const done = launch('exit 0');
  await until(() => notes.length === 1);
  launcher.receive('SIGHUP', stop);
  expect(await done).toBe(129);
});

it('kills a program that does not end', async () => {
  answer = place('a', 1n);
  void launch(`trap '' TERM; echo "start $ANTIPODE_SITE" >> "$FILE"; while [ -e "$FILE" ]; do sleep 0.05; done`, {
    graceMs: 50,
  });
  await until(() => lines().length === 1);
  answer = place('b', 2n);
  await until(() => lines().length === 2);
  expect(lines()).toEqual(['start a', 'start b']);
});

it('leaves the program alone while nobody knows, when an older answer comes late, and in a new epoch of the same token', async () => {
  answer = place('b', 2n);
  void launch(LIVING);
  await until(() => lines().length === 1);
  const answers = [
    new AntipodeError('SITE_UNREACHABLE', 'away'),
    new AntipodeError('NOT_SERVED', 'no active member'),
    new AntipodeError('PEER_REFUSED', 'certificate over'),
    place('a', 1n),
    place('b', 3n),
    place('b', 3n, { siteState: 'down' }),
  ];
  for (const one of answers) {
    answer = one;
    const before = asked;
    // The second question comes after the first answer was acted upon.
    await until(() => asked >= before + 2);
  }
  expect(withoutPids()).toEqual(['start b 2']);
  expect(notes.filter((line) => line.includes('goes on'))).toHaveLength(3);
});

it('waits for a site that serves, and fails at once for what a person must see to', async () => {
  answer = new AntipodeError('NOT_SERVED', 'no active member');
  const ended = launch('exit 0');
  await until(() => notes.length === 1);
  answer = place('a', 1n, { partitionErrorCode: 'HSM_UNAVAILABLE' });
  await until(() => notes.length === 2);
  expect(notes[1]).toContain('HSM_UNAVAILABLE');
  answer = place('a', 1n);
  expect(await ended).toBe(0);
  answer = new AntipodeError('NOT_FOUND', 'no such group');
  expect((await rejection(launch('exit 0'))).code).toBe('NOT_FOUND');
});

it('runs only while its site is the active one', async () => {
  answer = place('b', 1n);
  void launch(LIVING, { atSite: 'a' });
  await until(() => notes.some((line) => line.includes('only at site a')));
  answer = place('a', 2n);
  await until(() => lines().length === 1);
  answer = place('c', 3n);
  await until(() => lines().length === 2);
  answer = place('a', 4n);
  await until(() => lines().length === 3);
  expect(withoutPids()).toEqual(['start a 2', 'end a', 'start a 4']);
});

/** Writes its name and its process number, and ends only by SIGKILL or with the folder of the tests. */
const STUBBORN = `/bin/sh -c 'trap "" TERM HUP; echo "$0 $$" >> "$FILE"; while [ -e "$FILE" ]; do sleep 0.1; done'`;
const isGone = (pid: number): boolean => !existsSync(`/proc/${pid}`);
const pidsOf = (name: string): number[] =>
  lines().flatMap((line) => (line.startsWith(`${name} `) ? [Number(line.split(' ')[1])] : []));

it('ends everything that the program has started before it starts it elsewhere, in whatever session it is', async () => {
  answer = place('a', 1n);
  // A wrapper that ends at once; a child; one in a session of its own; one that has left its parent.
  const gone: boolean[] = [];
  void launch(
    `${STUBBORN} child & setsid ${STUBBORN} session & (setsid ${STUBBORN} orphan &); echo "start $$" >> "$FILE"; wait`,
    {
      graceMs: 50,
      note: (line) => {
        notes.push(line);
        if (line.startsWith('started at site b'))
          gone.push(...pidsOf('child').concat(pidsOf('session'), pidsOf('orphan')).map(isGone));
      },
    },
  );
  await until(() => lines().length === 4);
  answer = place('b', 2n);
  await until(() => lines().length === 8);
  expect(gone).toEqual([true, true, true]);
});

it('ends what a program leaves behind, and then ends with the status of the program', async () => {
  answer = place('a', 1n);
  const status = await launch(`(setsid ${STUBBORN} orphan &); while [ ! -s "$FILE" ]; do sleep 0.05; done; exit 6`, {
    graceMs: 50,
  });
  expect([status, pidsOf('orphan').map(isGone)]).toEqual([6, [true]]);
  expect(notes.at(-1)).toContain('Ending the other processes');
});

it('passes a signal on, and ends as the program does', async () => {
  answer = place('a', 1n);
  const ended = launch(LIVING);
  await until(() => lines().length === 1);
  stop.abort('SIGTERM');
  expect(await ended).toBe(9);
  expect(withoutPids()).toEqual(['start a 1', 'end a']);
});

it('ends with the signal where no program runs', async () => {
  answer = new AntipodeError('NOT_SERVED', 'no active member');
  const ended = launch(LIVING);
  await until(() => notes.length === 1);
  stop.abort('SIGTERM');
  expect(await ended).toBe(143);
});

it('says which program cannot be started', async () => {
  answer = place('a', 1n);
  expect(await launch('', { command: ['/nowhere/at-all'], stdio: 'ignore' })).toBe(127);
});

it('ends the program where the group stops with its lease, and starts it again when it is served', async () => {
  answer = place('a', 3n);
  void launch(LIVING);
  await until(() => lines().length === 1);
  // No other error ends it, however long it lasts.
  const before = asked;
  answer = new AntipodeError('NOT_SERVED', 'nobody serves the group');
  await until(() => asked > before + 3);
  expect(withoutPids()).toEqual(['start a 3']);
  answer = new AntipodeError('NOT_SERVED', 'the lease of site a has lapsed', { details: { stopsServing: true } });
  await until(() => lines().length === 2);
  await until(() => notes.some((note) => note.startsWith('waiting: ')));
  answer = place('a', 3n);
  await until(() => lines().length === 3);
  expect(withoutPids()).toEqual(['start a 3', 'end a', 'start a 3']);
  expect(notes.some((note) => note.includes('the lease of site a has lapsed: ending the program'))).toBe(true);
});
