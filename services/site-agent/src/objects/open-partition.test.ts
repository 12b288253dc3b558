import { AntipodeError } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { expect, it } from 'vitest';
import { besideAgent } from './open-partition.ts';

it.each(['HSM_UNAVAILABLE', 'HSM_REFUSED', 'HSM_SESSION_VOID', 'HSM_WORKER_LOST'] as const)(
  'says of %s what may be in the way: the agent, or the HSM',
  async (code) => {
    const cause = new AntipodeError(code, 'C_OpenSession failed', { details: { returnValue: 'CKR_SESSION_COUNT' } });
    const error = await rejection(besideAgent(() => Promise.reject(cause)));
    expect(error).toMatchObject({ code, cause, details: cause.details });
    expect(error.message).toBe(cause.message);
    expect(error.hint).toContain('stop the agent');
  },
);

it('leaves other errors as they are', async () => {
  const cause = new AntipodeError('PIN_REFUSED', 'the token refuses the PIN');
  expect(await rejection(besideAgent(() => Promise.reject(cause)))).toBe(cause);
});
