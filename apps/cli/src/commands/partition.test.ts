import { expect, it } from 'vitest';
import { announcementOf } from './partition.ts';

const PLAN = {
  isInitialised: false,
  tokenLabel: 'payments',
  identityTokenLabel: undefined,
  makesReceivingKey: true,
  hasFreeSlot: true,
};

it('says what a partition gets, and proposes a token of its own for the identity key', () => {
  const text = announcementOf(PLAN).join('\n');
  for (const part of [
    'antipode identity',
    'antipode receiving key',
    'antipode domain key',
    'payments',
    'identityPartition',
    'a free slot',
  ])
    expect(text).toContain(part);
  expect(announcementOf({ ...PLAN, hasFreeSlot: false }).join('\n')).toContain('Where the device has room');
});

it('proposes nothing where the identity key has a token of its own', () => {
  const text = announcementOf({ ...PLAN, identityTokenLabel: 'identities' }).join('\n');
  expect([text.includes('token identities'), text.includes('identityPartition')]).toEqual([true, false]);
});

it('says nothing of a receiving key that is not made', () => {
  expect(announcementOf({ ...PLAN, makesReceivingKey: false }).join('\n')).not.toContain('receiving key');
});

it('has nothing to say of a partition that is initialised', () => {
  expect(announcementOf({ ...PLAN, isInitialised: true })).toEqual([]);
});
