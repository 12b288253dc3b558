import { expect, it } from 'vitest';
import { announcementOf, attributeTable } from './partition.ts';

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

const OBJECT = {
  objectId: '4f0c',
  kind: 'secret-key/aes',
  ckaId: '01',
  label: 'kek',
  set: ['private', 'label'],
  carried: ['local'],
  narrowed: ['sensitive'],
  lost: ['CKA_TRUSTED'],
  untried: [{ use: 'derive', reason: 'no mechanism' }],
};

it('shows per object what is lost and narrowed, and asks for the active site where that is not known here', () => {
  const explanations = { set: 'a', carried: 'b', narrowed: 'c', lost: 'd' };
  const shown = { partition: 'main', group: 'payments', isSource: true, explanations, objects: [OBJECT] };
  const [, row = ''] = attributeTable(shown).split('\n');
  expect(row.split(/ {2,}/)).toEqual([
    '4f0c',
    'secret-key/aes',
    '01',
    'kek',
    '2',
    '1',
    'sensitive',
    'CKA_TRUSTED',
    'derive',
  ]);
  expect(attributeTable(shown)).not.toContain('Ask there');
  expect(attributeTable(shown)).toContain('NARROWED: c.');
  const elsewhere = attributeTable({ ...shown, isSource: false, objects: [{ ...OBJECT, lost: [] }] });
  expect(elsewhere.split('\n')[1]).toMatch(/\? +derive$/);
  expect(elsewhere).toContain('Only the active site of group payments');
});
