/** The wall clock of a process of a test, shifted while it runs. */
import { existsSync, writeFileSync } from 'node:fs';

/** libfaketime (Debian package faketime) shifts the wall clock of one process by what a file says, and nothing else. */
const FAKETIME = ['x86_64', 'aarch64']
  .map((machine) => `/usr/lib/${machine}-linux-gnu/faketime/libfaketime.so.1`)
  .find((path) => existsSync(path));

export interface ShiftedClock {
  readonly environment: Record<string, string>;
  /** By how much it is ahead from now on. */
  set(aheadMs: number): void;
}

export function shiftedClock(file: string): ShiftedClock {
  if (FAKETIME === undefined) throw new Error('libfaketime is not installed (Debian package faketime)');
  const set = (aheadMs: number): void => {
    const seconds = Math.round(aheadMs / 1_000);
    writeFileSync(file, `${seconds < 0 ? '' : '+'}${seconds}\n`);
  };
  set(0);
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
