/** How long this machine has run since it was started: counts on while a process is down, and no clock setting moves it. */
import { readFileSync } from 'node:fs';
import { uptime } from 'node:os';

export interface Boot {
  /** Another one after each start of the machine. */
  readonly id: string;
  readonly uptimeMs: number;
}

/** Undefined where the system does not say. */
export function readBoot(): Boot | undefined {
  try {
    const id = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    return id === '' ? undefined : { id, uptimeMs: Math.round(uptime() * 1_000) };
  } catch {
    return undefined;
  }
}
