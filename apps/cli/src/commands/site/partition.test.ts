import { expect, it } from 'vitest';
import { announcementOf } from './partition.ts';

const PLAN = {
  isInitialised: false,
  tokenLabel: 'payments',
  identityTokenLabel: undefined,
  makesReceivingKey: true,
  makesOfficerKey: false,
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
  expect(announcementOf({ ...PLAN, hasFreeSlot: false }).join('\n')).toContain('If the device has room');
});

it('proposes nothing where the identity key has a token of its own', () => {
  const text = announcementOf({ ...PLAN, identityTokenLabel: 'identities' }).join('\n');
  expect([text.includes('token identities'), text.includes('identityPartition')]).toEqual([true, false]);
});

it('says nothing of a receiving key that is not made', () => {
  expect(announcementOf({ ...PLAN, makesReceivingKey: false }).join('\n')).not.toContain('receiving key');
});

it('says of an officer key who may use it, and who may destroy it', () => {
  const text = announcementOf({ ...PLAN, makesOfficerKey: true }).join('\n');
  expect([text.includes('antipode officer key'), text.includes('visible without a login')]).toEqual([true, true]);
  expect(announcementOf(PLAN).join('\n')).not.toContain('officer');
});

it('has nothing to say of a partition that is initialised', () => {
  expect(announcementOf({ ...PLAN, isInitialised: true })).toEqual([]);
});
