/**
 * Locks among all processes that share a folder. One at a time works with a device, or tries a password of a role. The
 * operating system releases a lock with its process, so that a killed one leaves nothing behind.
 */
import { join } from 'node:path';
import { AntipodeError, hasCode, lockFolder, sha256Hex } from '@antipode/runtime';

export interface LockPorts {
  /** A folder of locks, on a file system that has locks. All agents that reach the same devices name the same one. */
  readonly lockFolder: string;
}

/** @throws LUNA_BUSY, FILE_UNWRITABLE, and what `work` throws */
export async function underLock<T>(name: string, ports: LockPorts, work: () => Promise<T>): Promise<T> {
  const lock = take(name, ports);
  try {
    return await work();
  } finally {
    await lock.close();
  }
}

/** For a device: all jobs that change it. @throws LUNA_BUSY, FILE_UNWRITABLE, and what `work` throws */
export const withDevice = <T>(serial: string, ports: LockPorts, work: () => Promise<T>): Promise<T> =>
  underLock(`device ${serial}`, ports, work);

function take(name: string, ports: LockPorts): ReturnType<typeof lockFolder> {
  try {
    // A serial number is the word of a device, and must not lead out of the folder.
    return lockFolder(join(ports.lockFolder, sha256Hex(name).slice(0, 32)), { program: 'agent' });
  } catch (cause) {
    if (!hasCode(cause, 'FILE_EXISTS')) throw cause;
    const { pid } = cause.details as { pid?: number };
    const who = pid === undefined ? 'another process' : `process ${pid}`;
    throw new AntipodeError('LUNA_BUSY', `${who} works with this: ${name}`, {
      details: pid === undefined ? {} : { pid },
      cause,
    });
  }
}
