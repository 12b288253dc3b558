/** One dead token in another slot of the module. The healthy partition still opens, and the dead slot is reported. */
import { openPartition } from '@antipode/hsm-core';
import { silentLog, systemClock } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { EXTRA_SLOT, type LyingToken, lying, type Order } from '../../support/devices/lying-token.ts';
import { makeToken } from '../../support/tokens.ts';

let token: LyingToken;
beforeAll(() => {
  token = lying(makeToken('healthy'));
});
afterAll(() => token.remove());

async function silentSlots(config = token.config): Promise<readonly string[]> {
  const provider = await openPartition(config, { log: silentLog, clock: systemClock, slotTimeoutMs: 2_500 });
  try {
    return (await provider.describe()).silentSlots;
  } finally {
    await provider.close();
  }
}

const dead = (code: (Order & { lie: 'extra-slot' })['code']): Order => ({ lie: 'extra-slot', code });

it.each(['CKR_DEVICE_ERROR', 'CKR_TOKEN_NOT_PRESENT', 'CKR_TOKEN_NOT_RECOGNIZED', 0x80000001] as const)(
  'a slot that answers %s is skipped and told',
  async (code) => {
    token.tell(dead(code));
    expect(await silentSlots()).toEqual([typeof code === 'number' ? 'CKR_0x80000001' : code]);
  },
);

it('a slot that never returns costs a worker, and is then skipped and told', async () => {
  token.tell({ lie: 'hang', function: 'C_GetTokenInfo', slot: EXTRA_SLOT }, dead('CKR_DEVICE_ERROR'));
  expect(await silentSlots()).toEqual(['no answer in time']);
});

it('a token that is not found is away, and not gone, where a slot does not answer', async () => {
  token.tell(dead('CKR_DEVICE_ERROR'));
  expect(await rejection(silentSlots({ ...token.config, tokenLabel: 'another' }))).toMatchObject({
    code: 'HSM_UNAVAILABLE',
    details: { silent: 1, returnValue: 'CKR_DEVICE_ERROR' },
  });
  token.tell();
  expect((await rejection(silentSlots({ ...token.config, tokenLabel: 'another' }))).code).toBe('PARTITION_NOT_FOUND');
});
