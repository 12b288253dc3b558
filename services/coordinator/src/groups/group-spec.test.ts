import { DescribeResponseSchema, FailoverPolicy, GroupSpecSchema } from '@antipode/protocol';
import { silentLog } from '@antipode/runtime';
import { FakeClock, thrown } from '@antipode/runtime/testing';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { Detector } from '../sites/detector.ts';
import { PROFILES } from '../timings.ts';
import { checkDistributor, checkSites, differences, specFrom } from './group-spec.ts';

const [a, b, c] = ['a', 'b', 'c'].map((site) => ({ site, serial: `serial-${site}` })) as [Seat, Seat, Seat];
interface Seat {
  readonly site: string;
  readonly serial: string;
}
const DECLARED = {
  name: 'payments',
  members: [a, b, c],
  scratch: [{ site: 'c', serial: 'scratch-c' }],
  failoverPolicy: FailoverPolicy.AUTOMATIC,
  rpoSeconds: 300,
} satisfies MessageInitShape<typeof GroupSpecSchema>;
const declare = (change: MessageInitShape<typeof GroupSpecSchema> = {}) =>
  specFrom(create(GroupSpecSchema, { ...DECLARED, ...change }));

describe('the declaration of a group', () => {
  it('is taken as it was made', () => {
    const filter = { excludeIds: ['0a', '0A1f'], excludeLabels: ['tmp-*'], excludeClasses: ['certificate', 'data'] };
    expect(declare({ filter, drillCron: '0 3 * * 0', scrubSeconds: 86_400 })).toEqual({
      name: 'payments',
      members: [a, b, c],
      scratch: DECLARED.scratch,
      filter,
      rpoMs: 300_000,
      drillCron: '0 3 * * 0',
      scrubMs: 86_400_000,
      failoverPolicy: 'automatic',
    });
  });

  it('excludes nothing, is moved by hand, has an objective of five minutes and a scrub a week where nothing is said', () => {
    const { filter, rpoMs, scrubMs, failoverPolicy } = declare({
      rpoSeconds: 0,
      failoverPolicy: FailoverPolicy.UNSPECIFIED,
    });
    expect({ filter, rpoMs, scrubMs, failoverPolicy }).toEqual({
      filter: { excludeIds: [], excludeLabels: [], excludeClasses: [] },
      rpoMs: 300_000,
      scrubMs: 7 * 86_400_000,
      failoverPolicy: 'manual',
    });
  });

  it('has an order of preferred sites, in which the order counts', () => {
    const [first, second] = [declare({ prefer: ['b', 'a'] }), declare({ prefer: ['a', 'b'] })];
    expect(first.prefer).toEqual(['b', 'a']);
    expect(differences(first, second)).toHaveLength(1);
    expect(differences(first, declare({ prefer: ['b', 'a'] }))).toEqual([]);
    expect(declare({})).not.toHaveProperty('prefer');
  });

  it('of two sites and a witness may fail over by itself: each site votes once', () => {
    const { witnesses, failoverPolicy } = declare({ members: [a, b], witnessSites: ['w', 'w'] });
    expect({ witnesses, failoverPolicy }).toEqual({ witnesses: ['w'], failoverPolicy: 'automatic' });
  });

  it('of two sites may be moved by hand', () => {
    expect(declare({ members: [a, b], failoverPolicy: FailoverPolicy.MANUAL }).failoverPolicy).toBe('manual');
  });

  it.each([
    ['name', { name: '' }],
    ['name', { name: 'Payments' }],
    ['name', { name: 'p'.repeat(64) }],
    ['members', { members: [] }],
    ['members', { members: [a, { ...b, site: 'a' }], failoverPolicy: FailoverPolicy.MANUAL }],
    ['members', { members: [a, b, { site: 'c', serial: a.serial }] }],
    ['members', { members: [a, b, { site: 'c', serial: '' }] }],
    ['members', { scratch: [{ site: 'a', serial: a.serial }] }],
    ['members', { distributor: { site: 'd', serial: a.serial } }],
    ['members', { distributor: { site: 'd', serial: '' } }],
    ['failover_policy', { members: [a, b] }],
    ['failover_policy', { members: [a], witnessSites: ['w', 'w'] }],
    ['witness_sites', { members: [a, b], witnessSites: ['a'] }],
    ['prefer', { prefer: ['z'] }],
    ['prefer', { prefer: ['a', 'a'] }],
    ['witness_sites', { witnessSites: ['W'] }],
    ['scrub_seconds', { scrubSeconds: 59 }],
    ['drill_cron', { drillCron: 'every night' }],
    ['filter.exclude_ids', { filter: { excludeIds: ['0a', ''] } }],
    ['filter.exclude_ids', { filter: { excludeIds: ['0'] } }],
    ['filter.exclude_ids', { filter: { excludeIds: ['0x0a'] } }],
    ['filter.exclude_ids', { filter: { excludeIds: ['0a 1f'] } }],
    ['filter.exclude_ids', { filter: { excludeIds: ['signing-key'] } }],
    ['filter.exclude_classes', { filter: { excludeClasses: ['certificates'] } }],
    ['filter.exclude_classes', { filter: { excludeClasses: ['data', 'Data'] } }],
    ['filter.exclude_classes', { filter: { excludeClasses: [''] } }],
    ['filter.exclude_labels', { filter: { excludeLabels: ['tmp-*', ''] } }],
    ['filter.exclude_labels', { filter: { excludeLabels: [' \u200b'] } }],
  ] satisfies [string, MessageInitShape<typeof GroupSpecSchema>][])('is refused for its %s: %o', (field, change) => {
    const error = thrown(() => declare(change));
    expect([error.code, error.details['field']]).toEqual(['REQUEST_INVALID', field]);
  });

  it('is refused where there is none', () => {
    expect(thrown(() => specFrom(undefined)).details['field']).toBe('spec');
  });
});

describe('the seats of a group', () => {
  const detector = new Detector({
    clock: new FakeClock(),
    log: silentLog,
    timings: PROFILES.default,
    loopDelayMs: () => 0,
    probe: async () => undefined,
  });
  for (const site of ['a', 'b', 'c'])
    detector.heard(
      create(DescribeResponseSchema, {
        site,
        instance: site,
        partitions: [
          { serial: `serial-${site}` },
          { serial: `scratch-${site}`, isScratch: true },
          { serial: `distributor-${site}`, isDistributor: true },
        ],
      }),
      { address: `${site}:1` },
    );
  const seats = (change: MessageInitShape<typeof GroupSpecSchema>) =>
    declare({ scratch: [], failoverPolicy: FailoverPolicy.MANUAL, ...change });

  it('are taken where every site has them', () => {
    expect(() => checkSites(declare(), detector)).not.toThrow();
    const distributor = { site: 'b', serial: 'distributor-b' };
    expect(declare({ distributor }).distributor).toEqual(distributor);
    expect(() => checkSites(declare({ distributor }), detector)).not.toThrow();
  });

  it.each([
    ['NOT_FOUND', { members: [{ site: 'nowhere', serial: 'x' }] }],
    ['NOT_FOUND', { members: [{ site: 'a', serial: 'mistyped' }] }],
    ['NOT_FOUND', { members: [a], scratch: [{ site: 'b', serial: 'scratch-a' }] }],
    ['SCRATCH_REFUSED', { members: [{ site: 'a', serial: 'scratch-a' }] }],
    ['SCRATCH_REFUSED', { members: [a], scratch: [b] }],
    ['REQUEST_INVALID', { members: [{ site: 'a', serial: 'distributor-a' }] }],
    ['REQUEST_INVALID', { members: [a], distributor: b }],
    ['SCRATCH_REFUSED', { members: [a], distributor: { site: 'b', serial: 'scratch-b' } }],
    ['NOT_FOUND', { members: [a], distributor: { site: 'b', serial: 'distributor-a' } }],
  ])('are refused with %s where they are not what a site has: %o', (code, change) => {
    expect(thrown(() => checkSites(seats(change), detector)).code).toBe(code);
  });
});

describe('a distributor that is named later', () => {
  const detector = new Detector({
    clock: new FakeClock(),
    log: silentLog,
    timings: PROFILES.default,
    loopDelayMs: () => 0,
    probe: async () => undefined,
  });
  // The members' sites have not been heard since the coordinator started.
  detector.heard(
    create(DescribeResponseSchema, {
      site: 'd',
      instance: 'd',
      partitions: [{ serial: 'other' }, { serial: 'distributor', isDistributor: true }],
    }),
    { address: 'd:1' },
  );

  it.each([
    ['taken', 'distributor'],
    ['NOT_FOUND', 'mistyped'],
    ['REQUEST_INVALID', 'other'],
    ['REQUEST_INVALID', a.serial],
    ['REQUEST_INVALID', 'scratch-c'],
    ['REQUEST_INVALID', ''],
  ])('is %s: %s', (outcome, serial) => {
    const check = () => checkDistributor(declare(), { site: 'd', serial }, detector);
    if (outcome === 'taken') expect(check).not.toThrow();
    else expect(thrown(check).code).toBe(outcome);
  });
});

describe('a declaration that is repeated', () => {
  const other = (change: MessageInitShape<typeof GroupSpecSchema>): string[] => differences(declare(), declare(change));

  it('is the same in any order of names and of what is a set, as a database gives it back', () => {
    const { name, members, ...rest } = declare({ filter: { excludeIds: ['0a', '0b'] } });
    const stored = JSON.parse(
      JSON.stringify({ ...rest, members: members.map(({ site, serial }) => ({ serial, site })), name }),
    );
    expect(differences(stored, declare({ filter: { excludeIds: ['0b', '0a'] } }))).toEqual([]);
    expect(other({ members: [a, c, b] })).toEqual([]);
  });

  it('names each field that differs, with both values', () => {
    expect(other({ rpoSeconds: 60, drillCron: '0 3 * * 0' })).toEqual([
      'rpoMs is 300000, declared 60000',
      'drillCron is "", declared "0 3 * * 0"',
    ]);
    expect(other({ members: [b, a, c] })).toHaveLength(1);
    expect(other({ scratch: [] })).toHaveLength(1);
  });

  it('never repeats a rule of the filter, which may hold the label of a key', () => {
    const [text] = other({ filter: { excludeLabels: ['board-secret-*'] } });
    expect(text).toBe('filter differs');
  });
});
