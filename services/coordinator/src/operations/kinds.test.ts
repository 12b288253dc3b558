import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { Kind } from './kind.ts';
import { INTENT_KINDS, KINDS } from './kinds.ts';
import type { RejoinEffect, RejoinEvent, RejoinState } from './rejoin/machine.ts';

type Rejoin = Kind<RejoinState, RejoinEvent, RejoinEffect>;
const rejoin: Rejoin = KINDS.rejoin;

/** The compiler is the test: an error that does not come fails the type check. */
describe('a kind of operation does not compile', () => {
  it('when a phase of its machine has no meaning', () => {
    const { abandoned: _, ...phases } = KINDS.rejoin.phases;
    // @ts-expect-error `abandoned` is missing
    const kind: Rejoin = { ...rejoin, phases };
    expect(kind.phases).not.toHaveProperty('abandoned');
  });

  it('when it gives a meaning to a phase that its machine does not have', () => {
    // @ts-expect-error the machine does not have the phase `admitted`
    const kind: Rejoin = { ...rejoin, phases: { ...KINDS.rejoin.phases, admitted: 'done' } };
    expect(kind.phases).toHaveProperty('admitted');
  });

  it('when a phase ends as something that an operation cannot end as', () => {
    // @ts-expect-error a person cancels, no machine does
    const kind: Rejoin = { ...rejoin, phases: { ...KINDS.rejoin.phases, abandoned: 'cancelled' } };
    expect(kind.phases.abandoned).toBe('cancelled');
  });

  it('when the machine of another kind runs it', () => {
    // @ts-expect-error a drill begins with a generation
    const kind: Rejoin = { ...rejoin, decide: KINDS.drill.decide };
    expect(kind.decide).toBe(KINDS.drill.decide);
  });

  it('when nothing performs its effects', () => {
    const { perform: _, ...rest } = rejoin;
    // @ts-expect-error `perform` is missing
    const kind: Rejoin = rest;
    expect(kind.perform).toBeUndefined();
  });
});

it('every kind has the tests that every machine must pass, in the folder of its name', () => {
  const calls = INTENT_KINDS.map((name) =>
    readFileSync(new URL(`./${name}/promises.test.ts`, import.meta.url), 'utf8'),
  );
  expect(calls.filter((source) => !/^keepsItsPromises</m.test(source))).toEqual([]);
});

it('every kind has an open phase to begin with, a good end, and a limit of attempts', () => {
  for (const name of INTENT_KINDS) {
    const { phases, attemptsMax }: Kind = KINDS[name];
    expect(Object.values(phases)).toEqual(expect.arrayContaining(['open', 'done']));
    expect(attemptsMax).toBeGreaterThan(0);
  }
});
