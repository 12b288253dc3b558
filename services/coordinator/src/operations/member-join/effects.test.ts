import { MemberRole } from '@antipode/protocol';
import { describe, expect, it } from 'vitest';
import type { Group } from '../../model.ts';
import type { SiteStatus } from '../../sites/detector.ts';
import { groupOf, SPEC } from '../../testing/group.ts';
import { siteView } from '../../testing/site-views.ts';
import { type Case, generation, kinds, situation } from '../../testing/situation.ts';
import { plan } from '../planner.ts';
import { lackOf } from './effects.ts';

const SEAT = { site: 'd', serial: 'serial-d' };
const GROUP = { ...groupOf(SPEC), domainKeyVersion: 3, highestVersion: 3, rotateAbove: 2, joining: [SEAT] };
const NEWEST = generation({ domainKeyVersion: 3 });

interface Lacking {
  readonly version?: number;
  readonly role?: MemberRole;
  readonly status?: SiteStatus;
  readonly acknowledged?: boolean;
  readonly group?: Group;
}

describe('a site that joins', () => {
  const lacks = ({
    version = 3,
    role = MemberRole.STANDBY,
    status = 'up',
    acknowledged = true,
    group = GROUP,
  }: Lacking = {}): string =>
    lackOf({
      group,
      seat: SEAT,
      newest: NEWEST,
      acknowledged: acknowledged ? [{ ...NEWEST, site: 'd' }] : [],
      view: siteView(
        'd',
        { members: [{ group: 'payments', serial: 'serial-d', role, domainKeyVersion: version }] },
        { status },
      ),
    });

  it('has its vote when it has its seat, the domain key and the newest generation', () => {
    expect(lacks()).toBe('');
  });

  it.each<[string, Lacking]>([
    ['is down', { status: 'down' }],
    ['does not know its seat', { role: MemberRole.FENCED }],
    ['does not have version 3', { version: 2 }],
    ['has not acknowledged generation', { acknowledged: false }],
    ['a new version of the domain key is not in use', { group: { ...GROUP, rotateAbove: 3 } }],
  ])('waits while it %s', (what, lacking) => {
    expect(lacks(lacking)).toContain(what);
  });

  it('waits while nothing is captured under the new version', () => {
    const view = siteView(
      'd',
      { members: [{ group: 'payments', serial: 'serial-d', role: MemberRole.STANDBY, domainKeyVersion: 3 }] },
      {},
    );
    const old = generation({ domainKeyVersion: 2 });
    expect(lackOf({ group: GROUP, seat: SEAT, newest: old, acknowledged: [{ ...old, site: 'd' }], view })).toContain(
      'nothing is captured under the new version',
    );
  });
});

describe('what is due while a site joins', () => {
  const joining = { site: 'd', serial: 'serial-3' };
  const due = (one: Case = {}, rest = {}) =>
    kinds(plan(situation({ ...one, group: { joining: [joining], ...one.group } }, rest)));
  const seats = { d: 'standby' } as const;

  it('is a version of the domain key above those that were there before, and then the newest generation', () => {
    expect(due({ group: { joining: [joining], rotateAbove: 1 } })).toEqual(['domain-key', 'member-join d']);
    expect(due({ seats })).toEqual(['replication d', 'member-join d']);
    expect(due({ seats }, { joiningAcknowledged: [{ ...generation(), site: 'd' }] })).toEqual(['member-join d']);
  });

  it('does not replicate before it holds the key, and brings the next version where it missed the one in use', () => {
    expect(due({ seats, versions: { d: 0 } })).toEqual(['domain-key', 'member-join d']);
    expect(due({ seats: { d: 'none' } })).toEqual(['member-join d']);
  });

  it('is nothing of it while an epoch is not in force', () => {
    expect(due({ seats, group: { joining: [joining], highestEpoch: 2n }, policy: 'manual' })).not.toContain(
      'member-join d',
    );
  });

  it('is a later version after a removal, even if nobody joins', () => {
    expect(kinds(plan(situation({ group: { rotateAbove: 1 } })))).toEqual(['domain-key']);
    expect(
      kinds(
        plan(
          situation(
            { group: { rotateAbove: 1, domainKeyVersion: 2 } },
            { newest: generation({ domainKeyVersion: 2 }) },
          ),
        ),
      ),
    ).toEqual([]);
  });
});
