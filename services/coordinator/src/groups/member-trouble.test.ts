import { describe, expect, it } from 'vitest';
import type { SiteView } from '../sites/detector.ts';
import { groupOf, SPEC } from '../testing/group.ts';
import { type SaidOfMember, siteView } from '../testing/site-views.ts';
import { troubleOf, usableAcknowledgements } from './member-trouble.ts';

const GROUP = groupOf(SPEC);
const view = (
  partitions: readonly { serial: string; errorCode: string }[] | undefined,
  quarantined: { group: string; reason: string }[] = [],
  members: SaidOfMember[] = [],
): SiteView => siteView('x', partitions && { partitions: [...partitions], journal: { quarantined }, members });
const SEAT = { serial: 's' };

describe('what keeps a member from serving', () => {
  it.each([
    ['nothing', [{ serial: 's', errorCode: '' }], ''],
    ['an error of its partition', [{ serial: 's', errorCode: 'HSM_WORKER_LOST' }], 'HSM_WORKER_LOST'],
    ['a partition that its site does not have', [{ serial: 't', errorCode: '' }], 'PARTITION_NOT_FOUND'],
    ['nothing that is known, where its site was not heard', undefined, ''],
  ] as const)('is %s', (_what, partitions, code) => {
    expect(troubleOf(view(partitions), SEAT)).toBe(code);
  });

  it('takes what it has acknowledged out of the count, and nothing of others', () => {
    const members = ['a', 'b', 'c', 'd'].map((site) => ({ ...GROUP.members[1]!, site, serial: 's' }));
    const acknowledged = ['a', 'b', 'c', 'd'].map((site) => ({ site, number: 4n }));
    const broken = (site: string): SiteView | undefined =>
      site === 'c'
        ? undefined
        : view(
            [{ serial: 's', errorCode: site === 'b' ? 'DOMAIN_KEY_MISSING' : '' }],
            site === 'd' ? [{ group: 'payments', reason: 'rolled back' }] : [],
          );
    expect(usableAcknowledgements({ ...GROUP, members }, acknowledged, broken).map(({ site }) => site)).toEqual([
      'a',
      'c',
    ]);
  });

  it('takes out what a partition acknowledged before its token was initialised again', () => {
    const acknowledged = ['a', 'b'].map((site) => ({ site, number: 4n }));
    const unproved = { group: 'payments', unproved: true };
    const said = (member: SaidOfMember) => (site: string) =>
      view([{ serial: `serial-${site}`, errorCode: '' }], [], site === 'b' ? [member] : []);
    const usable = (member: SaidOfMember) =>
      usableAcknowledgements(GROUP, acknowledged, said(member)).map(({ site }) => site);
    expect([
      usable(unproved),
      usable({ ...unproved, unproved: false }),
      usable({ ...unproved, group: 'other' }),
    ]).toEqual([['a'], ['a', 'b'], ['a', 'b']]);
  });
});
