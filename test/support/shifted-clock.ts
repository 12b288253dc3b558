/** The wall clock of a process of a test, shifted while it runs. */
import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** libfaketime (Debian package faketime) shifts the wall clock of one process by what a file says, and nothing else. */
const FAKETIME = ['x86_64', 'aarch64']
  .map((machine) => `/usr/lib/${machine}-linux-gnu/faketime/libfaketime.so.1`)
  .find((path) => existsSync(path));

export interface ShiftedClock {
  readonly environment: Record<string, string>;
  /** By how much it is ahead from now on. */
  set(aheadMs: number): void;
}

const SHARED_MEMORY = '/dev/shm';

/**
 * libfaketime makes two files by the number of its process, and ends every process that finds them made. One that was
 * killed leaves them there, for the next process of that number.
 */
function clearAway(): void {
  for (const name of readdirSync(SHARED_MEMORY)) {
    const [, pid] = /^(?:sem\.)?faketime_(?:sem|shm)_(\d+)$/.exec(name) ?? [];
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) rmSync(join(SHARED_MEMORY, name), { force: true });
  }
}

export function shiftedClock(file: string): ShiftedClock {
  if (FAKETIME === undefined) throw new Error('libfaketime is not installed (Debian package faketime)');
  const set = (aheadMs: number): void => {
    const seconds = Math.round(aheadMs / 1_000);
    writeFileSync(file, `${seconds < 0 ? '' : '+'}${seconds}\n`);
  };
  set(0);
  if (existsSync(SHARED_MEMORY)) clearAway();
  return {
    environment: {
      LD_PRELOAD: FAKETIME,
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_CACHE_DURATION: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      DONT_FAKE_MONOTONIC: '1',
    },
    set,
  };
}
