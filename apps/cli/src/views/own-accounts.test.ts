import { MemberRole, OwnAccountResponseSchema } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { ownAccounts } from '../place/own-accounts.ts';
import { ownAccountsText } from './own-accounts.ts';

const account = (site: string, said: MessageInitShape<typeof OwnAccountResponseSchema> = {}) =>
  create(OwnAccountResponseSchema, { site, ...said });
const seat = { group: 'payments', epoch: 3n, epochOwner: 'a' };
const A = {
  partitions: [{ name: 'main' }, { name: 'scratch', errorCode: 'PIN_REFUSED' }],
  seats: [{ ...seat, role: MemberRole.ACTIVE, leaseRemainingMs: 2_400n, vouchedBy: ['b'] }],
  peers: [
    { site: 'c', address: 'c:1' },
    { site: 'b', address: 'b:1' },
  ],
  coordinatorSilenceMs: 9_000n,
};

it('asks every site that the first one knows, and tells of one that does not answer', async () => {
  const asked = await ownAccounts({ site: 'a', address: 'a:1' }, async ({ site }) => {
    if (site === 'c') throw new AntipodeError('SITE_UNREACHABLE', 'away');
    return site === 'a' ? account('a', A) : account('b', { seats: [{ ...seat, role: MemberRole.STANDBY }] });
  });
  expect(asked.map(({ site, account: own, errorCode }) => [site, own?.site, errorCode])).toEqual([
    ['a', 'a', undefined],
    ['b', 'b', undefined],
    ['c', undefined, 'SITE_UNREACHABLE'],
  ]);
  const text = ownAccountsText(asked);
  expect(text).toContain("each site's own word");
  expect(text).toMatch(/a +answers +a:1 +main ok, scratch PIN_REFUSED +9\.0 s ago/);
  expect(text).toMatch(/c +no answer \(SITE_UNREACHABLE\) +c:1/);
  expect(text).toMatch(/payments +a +active +3 +a +2\.4 s \(vouched for by b\)/);
  expect(text).toMatch(/payments +b +standby +3 +a +-/);
});

it('tells a lease that has run out, who did not vouch, and a quarantine', () => {
  const seats = [{ ...seat, role: MemberRole.ACTIVE, notVouchedBy: ['c'], quarantine: 'an older copy' }];
  const text = ownAccountsText([{ site: 'a', address: 'a:1', account: account('a', { seats }) }]);
  expect(text).toMatch(/active \(quarantine\) +3 +a +none \(not vouched for by c\)/);
  expect(text).toContain('none since its start');
});
