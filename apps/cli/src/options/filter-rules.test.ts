import { MatchRulesResponseSchema } from '@antipode/protocol';
import { create } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { localRuleTable, ruleTable, ruleWarnings } from './filter-rules.ts';

const answer = create(MatchRulesResponseSchema, {
  site: 'a',
  serial: '1f',
  rules: [
    { kind: 'label', rule: 'site-key', objects: 3, ckaIds: ['', '01'] },
    { kind: 'id', rule: '0a', objects: 0 },
  ],
});

it('lists for each rule how many objects it matches, and which by their ids', () => {
  expect(
    ruleTable(answer)
      .split('\n')
      .slice(1)
      .map((line) => line.split(/ {2,}/)),
  ).toEqual([
    ['label', '"site-key"', '3', '(none), 01, ...'],
    ['id', '"0a"', '0', '-'],
  ]);
  expect(ruleTable({ ...answer, rules: [] })).toContain('every object');
});

it('warns of a rule that matches nothing, and of no other', () => {
  expect(ruleWarnings(answer.rules)).toEqual([expect.stringContaining('"0a"')]);
});

it('shows the objects of each rule by their names, or that it keeps nothing', () => {
  const names = { objectClass: 'secret-key', keyType: 'AES', sizeBits: 256, ckaId: '01', uses: [] };
  const listed = localRuleTable([
    { kind: 'label', rule: 'site-key', objects: [{ ...names, label: 'site-key\\u0000\\u200b' }] },
    { kind: 'id', rule: '0a', objects: [] },
  ]);
  expect(listed).toContain('site-key\\u0000\\u200b');
  expect(listed).toContain('(nothing)');
});
