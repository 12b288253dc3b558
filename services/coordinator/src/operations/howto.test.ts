import { existsSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EffectsBench, intentOf } from '../testing/effects-bench.ts';
import { keepsItsPromises } from '../testing/machine-promises.ts';
import { ROLL_CALL } from '../testing/roll-call/kind.ts';
import type { RollCallEffect, RollCallEvent, RollCallState } from '../testing/roll-call/machine.ts';

const text = (path: string): string => readFileSync(new URL(path, import.meta.url), 'utf8');
const page = text('../../../../docs/howto/operation.md');
/** The code that the page shows for a file. */
const shown = new Map(
  [...page.matchAll(/\*\*`(operations\/[^`]+)`\*\*\n\n```ts\n([\s\S]*?)\n```/g)].map(([, path = '', code = '']) => [
    path,
    code,
  ]),
);

const kind = ROLL_CALL['roll-call'];
keepsItsPromises<RollCallState, RollCallEvent, RollCallEffect>('roll-call', kind, {
  start: fc.constant({ phase: 'due' }),
  answers: {
    ask: fc.record({ type: fc.constant('answered' as const), partitions: fc.nat(9) }),
    'record-answer': fc.constant({ type: 'written' }),
  },
});

describe('the page on adding a kind of operation', () => {
  it.each(['machine.ts', 'effects.ts'])('shows the %s that is tested here', (file) => {
    const source = text(`../testing/roll-call/${file}`).replaceAll("'../../operations/", "'../").trimEnd();
    expect(shown.get(`operations/roll-call/${file}`)).toBe(source);
  });

  it('shows the entry of the table of kinds', () => {
    expect(text('../testing/roll-call/kind.ts')).toContain(`\n${shown.get('operations/kinds.ts')}\n`);
  });

  it('names at most three files that exist', () => {
    const existing = [...page.matchAll(/^\| \d+ +\| `([^`]+)` +\| existing:/gm)].map(([, path = '']) => path);
    expect(existing.length).toBeGreaterThan(0);
    expect(existing.length).toBeLessThanOrEqual(3);
    const found = (path: string): boolean =>
      ['../', '../../../../'].some((from) => existsSync(new URL(`${from}${path}`, import.meta.url)));
    expect(existing.filter((path) => !found(path))).toEqual([]);
  });
});

it('the example asks its site, and records the answer', async () => {
  const bench = new EffectsBench();
  bench.answers.set('describe', { partitions: [{}, {}] });
  let step = kind.decide({ phase: 'due' }, { type: 'resume' });
  while (step.effect !== undefined)
    step = kind.decide(step.state, await kind.perform(bench.context, intentOf('b'), step.effect));
  expect(step.state).toEqual({ phase: 'recorded', partitions: 2 });
  expect(kind.phases[step.state.phase]).toBe('done');
  expect(bench.ordered).toEqual(['describe b']);
  expect(bench.events).toEqual(['roll-called']);
});
