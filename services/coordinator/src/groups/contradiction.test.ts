import { describe, expect, it } from 'vitest';
import type { Group } from '../model.ts';
import type { SiteStatus, SiteView } from '../sites/detector.ts';
import { groupOf, SPEC } from '../testing/group.ts';
import { type SaidOfMember, siteView } from '../testing/site-views.ts';
import { contradictionOf, quarantineOf } from './contradiction.ts';

const EPOCH = { epoch: 2n, owner: 'a', highestEpoch: 2n, highestOwner: 'a' };
const GROUP: Group = { ...groupOf(SPEC), ...EPOCH, domainKeyVersion: 1, highestVersion: 2 };
const NEWEST = { epoch: 2n, number: 7n };
const AGREED: SaidOfMember = { group: 'payments', epoch: 2n, epochOwner: 'a' };

function found(
  site: string,
  member: SaidOfMember,
  {
    status = 'up',
    quarantined = [] as string[],
    group = GROUP,
  }: { status?: SiteStatus; quarantined?: string[]; group?: Group } = {},
) {
  const view = (name: string): SiteView => {
    const said = {
      members: [name === site ? { ...AGREED, ...member } : AGREED],
      journal: { quarantined: name === site ? quarantined.map((one) => ({ group: one, reason: 'older copy' })) : [] },
    };
    return siteView(name, said, { status: name === site ? status : 'up' });
  };
  return {
    contradiction: contradictionOf({ group, newest: NEWEST, view }),
    quarantine: quarantineOf(group, view(site)),
  };
}

describe('database and journals', () => {
  it.each<[string, SaidOfMember]>([
    ['the same epoch', {}],
    ['a lower epoch, which the agent has not heard of yet', { epoch: 1n, epochOwner: 'b' }],
    ['no epoch at all', { epoch: 0n, epochOwner: '' }],
    ['the newest generation', { applied: { epoch: 2n, generation: 7n } }],
    ['an older generation', { applied: { epoch: 1n, generation: 99n } }],
    ['a capture that is not recorded yet', { captured: { epoch: 2n, generation: 8n } }],
    ['a version of the domain key that is not in use yet', { domainKeyVersion: 2 }],
    ['another group', { group: 'cards', epoch: 9n }],
  ])('agree where an agent has %s', (_what, member) => {
    for (const site of ['a', 'b', 'c']) expect(found(site, member).contradiction).toBeUndefined();
  });

  it.each<[string, SaidOfMember]>([
    ['a higher epoch', { epoch: 3n, epochOwner: 'b' }],
    ['the same epoch of another owner', { epoch: 2n, epochOwner: 'b' }],
    ['a generation that the database does not know', { applied: { epoch: 2n, generation: 8n } }],
    ['a version of the domain key that was never ordered', { domainKeyVersion: 3 }],
  ])('contradict each other where an agent has %s', (_what, member) => {
    for (const site of ['b', 'c'])
      expect(found(site, member).contradiction).toMatchObject({
        kind: 'database-behind',
        message: expect.stringContaining(`site ${site}`),
      });
    expect(found('c', member, { status: 'down' }).contradiction).toBeUndefined();
  });

  it.each([
    [2n, 'a', undefined],
    [1n, 'b', undefined],
    [3n, 'b', 'witness w has persisted epoch 3 of b'],
    [2n, 'b', 'witness w has persisted epoch 2 of b'],
  ])('are compared with what a witness has persisted: epoch %s of %s', (epoch, owner, expected) => {
    const group: Group = { ...GROUP, spec: { ...SPEC, witnesses: ['w'] } };
    const of = (status: SiteStatus) => {
      const view = (site: string): SiteView =>
        siteView(site, site === 'w' ? { witnessed: [{ group: 'payments', epoch, owner }] } : { members: [AGREED] }, {
          status: site === 'w' ? status : 'up',
        });
      return contradictionOf({ group, newest: NEWEST, view })?.message;
    };
    expect(of('up')).toEqual(expected === undefined ? undefined : expect.stringContaining(expected));
    expect(of('down')).toBeUndefined();
  });

  it('contradict each other where the active member is in quarantine; a standby is its own matter', () => {
    expect(found('a', {}, { quarantined: ['payments'] })).toMatchObject({
      contradiction: { kind: 'journal-not-ours' },
      quarantine: 'older copy',
    });
    expect(found('b', {}, { quarantined: ['payments'] })).toEqual({
      contradiction: undefined,
      quarantine: 'older copy',
    });
    expect(found('a', {}, { quarantined: ['cards'] })).toEqual({ contradiction: undefined, quarantine: undefined });
    expect(found('a', {}, { quarantined: ['payments'], status: 'down' }).contradiction).toBeUndefined();
  });
});
