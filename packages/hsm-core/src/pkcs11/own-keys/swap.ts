/**
 * Whether what passes through the memory of the HSM worker, the PIN first, can reach a swap device (I5). The bytes of
 * the PIN are locked while they are there. All of the memory cannot be locked from within: V8 ends the process when it
 * cannot give locked pages back (ADR 0024). The system has to keep the rest out of swap, and the agent warns where it
 * does not.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { lockBytes, unlockBytes } from '@antipode/cryptoki';
import type { Secret } from '@antipode/runtime';

export type SwapState = 'no swap' | 'forbidden' | 'possible';

/**
 * Lends the bytes of a secret, locked (mlock(2)) as far as the limit of the process permits, and wipes them at the end.
 */
export function withLocked<T>(secret: Secret, work: (bytes: Buffer) => T): T {
  return secret.expose((bytes) => {
    const isLocked = lockBytes(bytes);
    try {
      return work(bytes);
    } finally {
      secret.wipe();
      if (isLocked) unlockBytes(bytes);
    }
  });
}

/**
 * By what the system has, and by what the control group of this process may use of it (memory.swap.max of cgroup 2).
 */
export function swapState({ root = '/' }: { root?: string } = {}): SwapState {
  const read = (path: string): string => (existsSync(join(root, path)) ? readFileSync(join(root, path), 'utf8') : '');
  const devices = read('proc/swaps').trim().split('\n').slice(1);
  if (devices.length === 0) return 'no swap';
  const group = /^0::(.*)$/m.exec(read('proc/self/cgroup'))?.[1];
  for (let path = group ?? ''; path !== '' && path !== '/'; path = path.slice(0, path.lastIndexOf('/')))
    if (read(join('sys/fs/cgroup', path, 'memory.swap.max')).trim() === '0') return 'forbidden';
  return 'possible';
}

/** For people; empty where nothing can reach a disk. */
export const swapWarning = (state: SwapState): string =>
  state === 'possible'
    ? 'the memory of the HSM worker can be swapped to disk. Run the agent with MemorySwapMax=0 (systemd), or encrypt or turn off swap'
    : '';
