import { create } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ObjectFilterSchema } from '../gen/antipode/v1/site_agent_pb.ts';
import { FILTER_CLASSES, filterFault, filterMessage, filterRules } from './filters.ts';

const NONE = { excludeIds: [], excludeLabels: [], excludeClasses: [] };
const rules = fc.record({
  excludeIds: fc.array(fc.string()),
  excludeLabels: fc.array(fc.string()),
  excludeClasses: fc.array(fc.constantFrom(...FILTER_CLASSES)),
});

it('brings rules over the wire and back', () => {
  fc.assert(
    fc.property(rules, fc.boolean(), (given, ignoreCase) => {
      const all = { ...given, ...(ignoreCase ? { ignoreCase } : {}) };
      expect(filterRules(create(ObjectFilterSchema, filterMessage(all)))).toEqual(all);
    }),
  );
  expect(filterRules(undefined)).toEqual(NONE);
});

it.each([
  ['exclude_ids', { excludeIds: ['0a', '0'] }],
  ['exclude_ids', { excludeIds: [''] }],
  ['exclude_ids', { excludeIds: ['0g'] }],
  ['exclude_classes', { excludeClasses: ['private-key', 'key'] }],
  ['exclude_labels', { excludeLabels: ['*', ' \u200b'] }],
  [undefined, { excludeIds: ['0A1f'], excludeLabels: ['pay*'], excludeClasses: [...FILTER_CLASSES] }],
  [undefined, {}],
])('finds the fault in %s', (field, given) => {
  expect(filterFault({ ...NONE, ...given })?.field).toBe(field);
});

it.each([
  ['rule 2', { excludeIds: ['0a', 'payroll signing'] }],
  ['rule 1', { excludeClasses: ['payroll signing'] }],
])('names %s by its place, since its value may be a label', (place, given) => {
  const { why } = filterFault({ ...NONE, ...given })!;
  expect([why.includes(place), why.includes('payroll')]).toEqual([true, false]);
});
