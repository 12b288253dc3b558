import { thrown } from '@antipode/runtime/testing';
import { expect, it } from 'vitest';
import { groupOf } from './automation.ts';

it('names one group or all of them, and never all by a forgotten name', () => {
  expect([groupOf('payments', undefined), groupOf(undefined, true)]).toEqual(['payments', '']);
  for (const [name, all] of [
    [undefined, undefined],
    ['payments', true],
  ] as const)
    expect(thrown(() => groupOf(name, all)).code).toBe('USAGE');
});
