import { FailoverPolicy, GroupStateSchema, Movement } from '@antipode/protocol';
import { thrown } from '@antipode/runtime/testing';
import { create } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { settingsOf, type UpdateOptions } from './group-update.ts';

const GROUP = create(GroupStateSchema, {
  spec: {
    name: 'payments',
    filter: { excludeIds: ['0a'], excludeLabels: ['tmp-*', 'old'], ignoreCase: true },
    deletions: { retentionMs: 864_000_000n, lossObjects: 7, lossPercent: 20 },
  },
});
const NONE = {
  excludeId: [],
  excludeLabel: [],
  excludeClass: [],
  includeId: [],
  includeLabel: [],
  includeClass: [],
} satisfies UpdateOptions;
const settings = (options: Partial<UpdateOptions>) => settingsOf(GROUP, { ...NONE, ...options }).value;

it('names only what an option names', () => {
  expect(settings({ rpo: 60, failover: 'automatic' })).toEqual({
    rpoSeconds: 60,
    failoverPolicy: FailoverPolicy.AUTOMATIC,
  });
  expect(settings({ drill: false })).toEqual({ drillCron: '' });
  expect(settings({ prefer: ['b', 'a'] })).toEqual({ prefer: { sites: ['b', 'a'] } });
  expect(settings({ prefer: false })).toEqual({ prefer: { sites: [] } });
  expect(['native', 'prefer-native', 'sealed'].map((movement) => settings({ movement }))).toEqual([
    { movement: Movement.NATIVE },
    { movement: Movement.PREFER_NATIVE },
    { movement: Movement.SEALED },
  ]);
  expect(settings({ scrub: 3_600, drill: '0 3 * * 0' })).toEqual({ scrubSeconds: 3_600, drillCron: '0 3 * * 0' });
});

it('adds rules to those in force, and takes rules away by their own words', () => {
  expect(settings({ excludeLabel: ['local-*', 'old'], includeLabel: ['tmp-*'], excludeClass: ['data'] })).toEqual({
    filter: { excludeIds: ['0a'], excludeLabels: ['old', 'local-*'], excludeClasses: ['data'], ignoreCase: true },
  });
  expect(settings({ excludeIgnoreCase: false })).toMatchObject({ filter: { ignoreCase: false } });
});

it('keeps the parts of the treatment of deleted objects that no option names', () => {
  expect(settings({ lossObjects: 9 })).toEqual({
    deletions: { retentionMs: 864_000_000n, lossObjects: 9, lossPercent: 20 },
  });
});

it.each([
  ['a rule that the group does not have', { includeLabel: ['tmp'] }],
  ['nothing', {}],
])('refuses %s', (_what, options) => {
  expect(thrown(() => settings(options)).code).toBe('USAGE');
});
