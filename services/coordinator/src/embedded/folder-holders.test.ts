/** An earlier server that still holds its folder, in whatever state it is. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FakeClock, rejection } from '@antipode/runtime/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { holdersOf, untilFree } from './folder-holders.ts';

let folder: string;
let parent: ChildProcess;

beforeEach(() => {
  folder = mkdtempSync('/dev/shm/antipode-holders-');
});
afterEach(() => {
  parent.kill('SIGKILL');
  rmSync(folder, { recursive: true });
});

/** A program of this name that has ended, and whose parent has not waited for it. */
async function ended(name: string): Promise<number> {
  copyFileSync('/bin/sleep', join(folder, name));
  parent = spawn('/bin/sh', ['-c', `'${join(folder, name)}' 60 & echo $!; exec sleep 60`], { cwd: '/' });
  const [text] = (await once(parent.stdout!, 'data')) as [Buffer];
  const pid = Number(text.toString());
  // It ends once both have become what they are to be: a shell would wait for it and free its number.
  await until(() => stat(parent.pid!).includes('(sleep) ') && stat(pid).includes(`(${name}) `));
  process.kill(pid, 'SIGKILL');
  await until(() => stat(pid).includes(`(${name}) Z `));
  return pid;
}

const stat = (pid: number): string => readFileSync(`/proc/${pid}/stat`, 'utf8');

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise(setImmediate);
}

const lock = (pid: number): void => writeFileSync(join(folder, 'postmaster.pid'), `${pid}\n${folder}\n`);

it('a server of PostgreSQL that has ended is waited for until its process number is free', async () => {
  const pid = await ended('postgres');
  lock(pid);
  expect(holdersOf(folder)).toMatchObject([{ pid }]);
  const clock = new FakeClock();
  let isFree = false;
  const free = untilFree({ folder, server: 'postgres' }, { clock }).then(() => {
    isFree = true;
  });
  await clock.advance(1_000);
  expect(isFree).toBe(false);
  parent.kill('SIGKILL');
  await once(parent, 'exit');
  await until(() => holdersOf(folder).length === 0);
  await clock.advance(1_000);
  await free;
});

it('one that stays is named', async () => {
  const pid = await ended('postgres');
  lock(pid);
  const clock = new FakeClock();
  const refused = rejection(untilFree({ folder, server: 'postgres' }, { clock }));
  await clock.advance(10_000);
  expect((await refused).message).toContain(`process ${pid}, still lives in ${folder}`);
});

it('another program that has the process number now holds nothing', async () => {
  lock(await ended('other'));
  expect(holdersOf(folder)).toEqual([]);
});
