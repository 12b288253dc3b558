import { AntipodeError } from '@antipode/runtime';
import { describe, expect, it } from 'vitest';
import type { MeasuredGroup } from '../rpc/groups/group-reader.ts';
import { siteView } from '../testing/site-views.ts';
import { keyOf, textOf } from './causes.ts';
import { conditionsOf, couldSee, type Seen } from './conditions.ts';

const DAY_MS = 86_400_000;
const GROUP: MeasuredGroup = {
  name: 'payments',
  protection: 'protected',
  rpoMs: 300_000,
  epoch: 1n,
  ages: { recoveryPointMs: 1_000, restorableMs: DAY_MS, drillMs: DAY_MS },
  drillPassed: true,
  counts: { protectedKeys: 1, unprotectedKeys: 0, uncaptured: [] },
  members: [],
  concerns: [],
};
const WELL: Seen = {
  coordinator: 'main',
  groups: [GROUP],
  unreadable: [],
  sites: [siteView('a', { partitions: [{ name: 'main', errorCode: '' }] })],
  claimed: [],
  waiting: [],
  parked: [],
  failovers: [],
  approvals: [],
  troubles: [],
  hooks: [],
  receivers: [],
  isQueueUp: true,
  certificate: { certificateEndsMs: 100 * DAY_MS, authorityEndsMs: 1_000 * DAY_MS },
  calendarMs: 0,
};
const told = (seen: Partial<Seen>): string[] => conditionsOf({ ...WELL, ...seen }).map(textOf);
const group = (changed: Partial<MeasuredGroup>): Partial<Seen> => ({ groups: [{ ...GROUP, ...changed }] });
const move = (id: string, status: 'done' | 'failed', errorCode = '') => ({
  id,
  group: 'payments',
  status,
  errorCode,
  to: 'b',
});

describe('operators hear', () => {
  it('nothing when all is well', () => {
    expect(told({})).toEqual([]);
  });

  it.each([
    ['unserved', 'Group payments is not served.'],
    ['unprotected', 'Group payments is unprotected.'],
    ['held', 'Captures of group payments are held.'],
    ['damaged', 'A key of group payments is damaged at the active site.'],
    ['contradicted', 'Database and journals of group payments contradict each other.'],
    ['lagging', 'A standby of group payments is behind the objective.'],
    ['partially-protected', 'Some objects of group payments are not protected.'],
  ])('of a group that is %s', (protection, text) => {
    expect(told(group({ protection }))).toEqual([text]);
  });

  it.each<[string, Partial<Seen>, string]>([
    [
      'doubts, each once',
      group({ protection: 'failing', concerns: ['site', 'capture', 'site'] }),
      'Group payments has reasons for doubt: capture, site.',
    ],
    [
      'keys in no generation',
      group({ counts: { protectedKeys: 1, unprotectedKeys: 2, uncaptured: [] } }),
      'Keys of group payments are in no generation.',
    ],
    [
      'a recovery point that nobody knows',
      group({ ages: { ...GROUP.ages, recoveryPointMs: undefined } }),
      'The recovery point of group payments is not known.',
    ],
    [
      'a group that was never proved',
      group({ ages: { ...GROUP.ages, restorableMs: undefined } }),
      'No drill of group payments has ever passed.',
    ],
    [
      'an old proof',
      group({ ages: { ...GROUP.ages, restorableMs: 36 * DAY_MS } }),
      'The last drill of group payments that passed is more than 35 days old.',
    ],
    ['a drill that failed', group({ drillPassed: false }), 'The last drill of group payments failed.'],
    [
      'records that cannot be read',
      { groups: [], unreadable: ['payments'] },
      'The records of group payments cannot be read.',
    ],
    [
      'a failover that waits',
      { waiting: ['payments'] },
      'A failover of group payments waits: it would lose what was acknowledged.',
    ],
    ['a move', { failovers: [move('1', 'done')] }, 'The active role of group payments has moved (to site b).'],
    [
      'failovers that fail, as one',
      { failovers: [move('1', 'failed', 'FAILOVER_VETOED'), move('2', 'failed', 'FAILOVER_VETOED')] },
      'A failover of group payments has ended without a promotion (FAILOVER_VETOED).',
    ],
    [
      'an end of that by a move',
      { failovers: [move('1', 'failed', 'TIMED_OUT'), move('2', 'done')] },
      'The active role of group payments has moved (to site b).',
    ],
    [
      'an approval that waits',
      {
        approvals: [
          { digest: 'd'.repeat(64), group: 'payments', action: 'failover', requestedBy: 'alice', missing: 2 },
        ],
      },
      'An approval for failover in group payments waits for signatures: 2 more, requested by alice.',
    ],
    [
      'an operation that waits',
      { parked: [{ id: '1', kind: 'domain-key', group: 'payments', site: '', errorCode: 'APPROVAL_REQUIRED' }] },
      'An operation of group payments waits for a person: domain-key, APPROVAL_REQUIRED.',
    ],
    ['a second agent', { claimed: ['a'] }, 'A second agent claims to be site a, and is refused.'],
    ['a queue that is away', { isQueueUp: false }, 'Coordinator main runs without Redis.'],
    [
      'one fault of planning, however many groups it concerns',
      { troubles: ['x', 'y'].map((name) => ({ group: name, error: new AntipodeError('TIMED_OUT', 'late') })) },
      'Groups cannot be planned (TIMED_OUT).',
    ],
    [
      'a hook',
      { hooks: [{ hook: 'dns', group: 'payments' }] },
      'Hook dns has not accepted where group payments is served.',
    ],
    ['a receiver', { receivers: ['desk'] }, 'Receiver desk does not accept notices.'],
    [
      'a certificate',
      { certificate: { certificateEndsMs: 13 * DAY_MS, authorityEndsMs: 1_000 * DAY_MS } },
      'The certificate of coordinator main ends within 14 days.',
    ],
    [
      'its authority, when it is late',
      { certificate: { certificateEndsMs: 100 * DAY_MS, authorityEndsMs: DAY_MS } },
      'The authority of coordinator main ends within two days.',
    ],
  ])('of %s', (_what, seen, text) => {
    expect(told(seen)).toEqual([text]);
  });

  it('of partitions by the word of a site that is heard, and of the site when it is not', () => {
    const partitions = [
      { name: 'main', errorCode: 'PIN_REFUSED' },
      { name: 'other', errorCode: 'TOKEN_ABSENT' },
      { name: 'slow', errorCode: '', unansweredMs: 31_000 },
    ];
    expect(told({ sites: [siteView('a', { partitions })] })).toEqual([
      'The PIN of partition main at site a does not work (PIN_REFUSED).',
      'Partition other at site a cannot be used (TOKEN_ABSENT).',
      'The HSM of partition slow at site a does not answer.',
    ]);
    const down = { ...siteView('a', { partitions }), status: 'down' as const };
    expect(told({ sites: [down] })).toEqual(['Site a is down.']);
    const of = { kind: 'pin-refused', group: '', site: 'a' } as const;
    expect(couldSee(of, { ...WELL, sites: [down] })).toBe(false);
    expect(couldSee(of, WELL)).toBe(true);
  });

  it('of a mute site by kind, once for all its partitions; of a silent HSM only as such', () => {
    const at = { message: '', hint: '', sinceMs: 0, errorCode: 'X', partition: 'main' };
    const mutenesses = (['turn', 'turn', 'calls', 'hsm'] as const).map((kind, index) => ({
      kind,
      serial: `${index}`,
      ...at,
    }));
    const site = { ...siteView('a', {}), mutenesses };
    expect(told({ sites: [site] })).toEqual([
      'Site a is heard and does not do its work (turn).',
      'Site a is heard and does not do its work (calls).',
    ]);
    expect(told({ sites: [{ ...site, status: 'down' }] })).toEqual(['Site a is down.']);
  });

  it.each([
    ['up', true],
    ['down', true],
    ['suspect', false],
    ['unknown', false],
  ] as const)('that a lost site is back only when it is heard or looked for: "%s"', (status, could) => {
    const notice = { kind: 'site-down', group: '', site: 'a' } as const;
    expect(couldSee(notice, { ...WELL, sites: [{ ...siteView('a', {}), status }] })).toBe(could);
    // A site that was taken out of all groups and forgotten is not missed.
    expect(couldSee(notice, { ...WELL, sites: [] })).toBe(true);
  });

  it.each([
    ['damaged', 'group-damaged', true],
    ['unserved', 'group-damaged', false],
    ['contradicted', 'group-unserved', false],
    ['lagging', 'group-damaged', true],
    ['protected', 'group-partially-protected', true],
    ['removed', 'group-held', true],
  ] as const)(
    'of the worst that is true of a group: one that is %s does not hide %s: %s',
    (protection, kind, could) => {
      const notice = { kind, group: 'payments', site: '' };
      expect(couldSee(notice, { ...WELL, ...group({ protection }) })).toBe(could);
    },
  );

  it('nothing new of a group whose records cannot be read', () => {
    const seen = { ...WELL, groups: [], unreadable: ['payments'], sites: [] };
    expect(couldSee({ kind: 'group-lagging', group: 'payments', site: '' }, seen)).toBe(false);
    expect(couldSee({ kind: 'group-unreadable', group: 'payments', site: '' }, seen)).toBe(true);
  });
});

it('a cause keeps its key while its words change', () => {
  const [one] = conditionsOf({ ...WELL, ...group({ protection: 'failing', concerns: ['site'] }) });
  const [other] = conditionsOf({ ...WELL, ...group({ protection: 'failing', concerns: ['capture'] }) });
  expect(keyOf(one!)).toBe(keyOf(other!));
});
