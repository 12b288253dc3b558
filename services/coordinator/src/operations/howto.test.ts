import { existsSync, readFileSync } from 'node:fs';
import { seededPrng, silentLog } from '@antipode/runtime';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { testDatabase } from '../testing/database.ts';
import { EffectsBench } from '../testing/effects-bench.ts';
import { keepsItsPromises } from '../testing/machine-promises.ts';
import { ROLL_CALL } from '../testing/roll-call/kind.ts';
import type { RollCallEffect, RollCallEvent, RollCallState } from '../testing/roll-call/machine.ts';
import { Changes } from './changes.ts';
import type { IntentKind } from './kinds.ts';
import { Runner } from './runner.ts';

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

describe('the example', () => {
  const database = testDatabase();

  it('is stored in each state before it acts, and has ended well when the answer is recorded', async () => {
    const bench = new EffectsBench(database);
    const { clock, context, leadership: election } = bench;
    await database.rows.group();
    const phases: string[] = [];
    const phase = async (): Promise<string | undefined> => (await database.rows.intent('i'))?.state.phase;
    bench.answers.set('describe', async () => {
      phases.push((await phase()) ?? '');
      return { partitions: [{}, {}] };
    });
    const state = { phase: 'due' };
    // The table of kinds does not have this kind, so its name is not one that the type knows.
    await database.rows.intended({ id: 'i', kind: 'roll-call' as IntentKind, site: 'b', state });
    const runner = new Runner({
      store: database.store,
      election,
      context,
      kinds: ROLL_CALL,
      changes: new Changes(),
      clock,
      prng: seededPrng('roll-call'),
      log: silentLog,
    });
    await runner.run('i');
    expect(phases).toEqual(['asking']);
    expect(await database.rows.intent('i')).toMatchObject({
      status: 'done',
      state: { phase: 'recorded', partitions: 2 },
    });
    expect(bench.ordered).toEqual(['describe b']);
    expect(await database.rows.events()).toEqual(['roll-called', 'roll-call-recorded']);
  });
});
