/** Promises about a provider whose process has ended. */
import { rejection } from '@antipode/runtime/testing';
import { expect } from 'vitest';
import type { Chapter } from './device.ts';

export function ending({ promise, make }: Chapter): void {
  promise('is dead for good when its process has ended, and closes all the same', async () => {
    const dead = await make('dead');
    try {
      await dead.lose();
      for (const call of [dead.provider.inventory(), dead.provider.describe(), dead.provider.generateDomainKey()])
        expect((await rejection(call)).code).toBe('HSM_WORKER_LOST');
    } finally {
      await dead.provider.close();
      await dead.remove();
    }
  });

  promise('takes no call after it was closed, however often', async ({ other }) => {
    await other.close();
    await other.close();
    expect((await rejection(other.inventory())).code).toBe('HSM_WORKER_LOST');
  });
}
