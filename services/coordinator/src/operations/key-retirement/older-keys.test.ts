/**
 * Older versions of a domain key are destroyed only when every member is past them, by its own report and by the
 * database (ADR 0026).
 */
import { MemberRole } from '@antipode/protocol';
import { fromHex } from '@antipode/runtime';
import { describe, expect, it } from 'vitest';
import type { SiteStatus, SiteView } from '../../sites/detector.ts';
import { type Said as Described, type SaidOfMember, siteView } from '../../testing/site-views.ts';
import { generation, intent, situation } from '../../testing/situation.ts';
import { plan } from '../planner.ts';
import { olderKeysNeededFor, seatsWithOlderKeys } from './older-keys.ts';

const DIGEST = 'd4'.repeat(32);
const newest = generation({ manifestDigest: DIGEST, domainKeyVersion: 3 });
const head = { epoch: 1n, generation: 4n, manifestDigest: fromHex(DIGEST) };

interface Said {
  readonly status?: SiteStatus;
  readonly seat?: SaidOfMember;
  readonly keys?: readonly { version: number; neededFor: string }[];
  readonly scratchKeys?: readonly { version: number; neededFor: string }[];
  readonly errorCode?: string;
  readonly quarantine?: string;
  readonly isSilent?: boolean;
}

const viewOf = (site: string, said: Said = {}): SiteView => {
  const at = 'abc'.indexOf(site);
  const keys = said.keys ?? [
    { version: 2, neededFor: '' },
    { version: 3, neededFor: 'in use' },
  ];
  const seat = {
    group: 'payments',
    serial: `serial-${at}`,
    role: site === 'a' ? MemberRole.ACTIVE : MemberRole.STANDBY,
    epoch: 1n,
    epochOwner: 'a',
    domainKeyVersion: 3,
    heldObjects: 0,
    ...(site === 'a' ? { captured: head } : { applied: head }),
    ...said.seat,
  };
  const state: Described = {
    members: [seat],
    partitions: [
      {
        serial: `serial-${at}`,
        errorCode: said.errorCode ?? '',
        domainKeys: keys.map((key) => ({ group: 'payments', ...key })),
      },
      ...(said.scratchKeys === undefined
        ? []
        : [{ serial: 'scratch-c', domainKeys: said.scratchKeys.map((key) => ({ group: 'payments', ...key })) }]),
    ],
    journal: { quarantined: said.quarantine === undefined ? [] : [{ group: 'payments', reason: said.quarantine }] },
  };
  return siteView(site, said.isSilent === true ? undefined : state, { status: said.status ?? 'up' });
};

const facts = (said: Record<string, Said> = {}, rest: Partial<Parameters<typeof plan>[0]> = {}, group: object = {}) =>
  situation(
    { group: { domainKeyVersion: 3, highestVersion: 3, ...group } },
    {
      newest,
      acknowledged: ['b', 'c'].map((site) => ({ ...newest, site })),
      view: (site) => viewOf(site, said[site]),
      ...rest,
    },
  );
const due = (one: ReturnType<typeof facts>): string[] =>
  plan(one)
    .create.filter(({ kind }) => kind === 'key-retirement')
    .map(({ site }) => site);

it('go where every member has the newest generation, at each site that says that it needs them no more', () => {
  expect(olderKeysNeededFor(facts())).toBe('');
  expect(due(facts())).toEqual(['a', 'b', 'c']);
  const needed = { keys: [{ version: 2, neededFor: 'generation 3 is sealed under it' }] };
  expect(due(facts({ b: needed }))).toEqual(['a', 'c']);
});

it('go from scratch partitions too', () => {
  const one = facts();
  const scratch = [{ site: 'c', serial: 'scratch-c' }];
  const group = { ...one.group, spec: { ...one.group.spec, scratch } };
  const view = viewOf('c', { scratchKeys: [{ version: 1, neededFor: '' }] });
  const seats = seatsWithOlderKeys({ group, view: (site) => (site === 'c' ? view : undefined) });
  expect(seats.map(({ serial }) => serial)).toEqual(['serial-2', 'scratch-c']);
});

it.each<[string, Said['keys'] & object]>([
  ['in use', [{ version: 3, neededFor: '' }]],
  ['newer than the one in use', [{ version: 4, neededFor: '' }]],
])('never include a version that is %s, whatever a site says', (_what, keys) => {
  expect(due(facts({ a: { keys }, b: { keys }, c: { keys } }))).toEqual([]);
});

describe('stay everywhere', () => {
  it.each<[string, Record<string, Said>]>([
    ['while a member is down', { c: { status: 'down' } }],
    ['while a member is suspect', { c: { status: 'suspect' } }],
    ['while a member was not heard since this coordinator leads', { c: { status: 'unknown', isSilent: true } }],
    ['while a member is in quarantine', { b: { quarantine: 'an older copy' } }],
    ['while a member cannot use its partition', { b: { errorCode: 'PIN_REFUSED' } }],
    ['while a member says that it is fenced', { b: { seat: { role: MemberRole.FENCED } } }],
    ['while the active member says that it is not', { a: { seat: { role: MemberRole.STANDBY } } }],
    ['while a member sits with another partition', { b: { seat: { serial: 'x' } } }],
    ['while a member is in another epoch', { b: { seat: { epoch: 0n } } }],
    ['while a member lacks the version in use', { b: { seat: { domainKeyVersion: 2 } } }],
    ['while a capture is held', { a: { seat: { heldObjects: 3 } } }],
    [
      'while a member goes by another generation',
      { b: { seat: { applied: { ...head, manifestDigest: fromHex('aa') } } } },
    ],
    ['while a member has applied none', { b: { seat: { applied: undefined } } }],
    ['while the active member goes by another generation', { a: { seat: { captured: undefined } } }],
  ])('%s', (_when, said) => {
    expect(olderKeysNeededFor(facts(said))).not.toBe('');
    expect(due(facts(said))).toEqual([]);
  });

  it.each<[string, Parameters<typeof facts>[1], object?]>([
    ['without a generation', { newest: undefined }],
    ['while a member has not acknowledged', { acknowledged: [{ ...newest, site: 'b' }] }],
    [
      'while a member has acknowledged an older one',
      { acknowledged: ['b', 'c'].map((site) => ({ ...newest, manifestDigest: site, site })) },
    ],
    ['while the newest is sealed under an older version', { newest: { ...newest, domainKeyVersion: 2 } }],
    ['while nothing was captured in the epoch in force', { newest: { ...newest, epoch: 0n } }],
    ['while an epoch was issued and is not in force', {}, { highestEpoch: 2n, highestOwner: 'b' }],
    ['while database and journals contradict', { contradiction: { kind: 'database-behind', message: 'x' } }],
    ...(['failover', 'domain-key', 'rejoin', 'reseat', 'drill'] as const).map(
      (kind): [string, Parameters<typeof facts>[1]] => [
        `while a ${kind} is open`,
        { open: [intent(kind, { site: 'z' })] },
      ],
    ),
  ])('%s', (_when, rest, group) => {
    expect(olderKeysNeededFor(facts({}, rest, group))).not.toBe('');
    expect(due(facts({}, rest, group))).toEqual([]);
  });

  it('while the database has a member fenced', () => {
    const one = facts();
    const members = one.group.members.map((member) =>
      member.site === 'c' ? { ...member, role: 'fenced' as const } : member,
    );
    expect(olderKeysNeededFor({ ...one, group: { ...one.group, members } })).toBe('site c is fenced');
  });
});
