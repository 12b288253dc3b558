import { expect, it } from 'vitest';
import { CallTally, VENDOR_DEFINED } from './call-tally.ts';

it('counts calls by function and return value until they are taken, and a vendor value as one of a kind', () => {
  const tally = new CallTally();
  expect(tally.take()).toBeUndefined();
  tally.add({ name: 'C_Sign', returned: 0, tookMs: 0.2 });
  tally.add({ name: 'C_Sign', returned: 0, tookMs: 700 });
  tally.add({ name: 'C_Sign', returned: 0x30, tookMs: 500_000 });
  for (const returned of [0x8000_0001, 0x8000_0002]) tally.add({ name: 'C_Login', returned, tookMs: 0.05 });
  const [sign, login] = tally.take()!;
  expect(sign).toMatchObject({
    function: 'C_Sign',
    returned: [
      ['CKR_OK', 2],
      ['CKR_DEVICE_ERROR', 1],
    ],
    counts: [0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1],
  });
  expect(sign!.sum).toBeCloseTo(500.700_2);
  expect(login!.returned).toEqual([[VENDOR_DEFINED, 2]]);
  expect(tally.take()).toBeUndefined();
});
