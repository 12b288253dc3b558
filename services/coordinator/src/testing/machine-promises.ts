/**
 * The promises of every machine, whatever the order of events and wherever a crash falls. It ends, and stays ended. It
 * never stalls. After a crash it asks again for exactly the same effect. The promises.test.ts of each kind calls this.
 */
import { OperationSchema } from '@antipode/protocol';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import fc, { type Arbitrary } from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Failure, Step } from '../model.ts';
import type { Kind, Phase, PhaseMeaning, Typed } from '../operations/kind.ts';

/** Drives a machine through everything that can happen to it. */
export interface Drive<State extends Phase, Event extends Typed, Effect extends Typed> {
  readonly start: Arbitrary<State>;
  /** The event that each effect may bring when it succeeds. */
  readonly answers: Readonly<Record<Effect['type'], Arbitrary<Event>>>;
  /** Events that an effect may bring instead. */
  readonly setbacks?: Arbitrary<Event>;
  /** The effect that is asked for after a crash, where it is not the same one. */
  repeats?(effect: Effect): Effect;
}

const RESUME: Typed = { type: 'resume' };
const FAILED: Failure = { type: 'failed', code: 'PEER_NOT_PINNED', disposition: 'operator', message: 'no' };
/** Longer than the longest way of any machine. */
const STEPS_MAX = 12;
const RUN = { numRuns: 300 };

/** As the state of an intent survives in the database: JSON with BigInts. */
const persisted = <T>(value: T): T =>
  JSON.parse(
    JSON.stringify(value, (_key, member: unknown) => (typeof member === 'bigint' ? { $n: `${member}` } : member)),
    (_key, member) => (typeof member?.$n === 'string' ? BigInt(member.$n) : member),
  ) as T;

/** The order of an effect, without the phase that it was made in. */
const asked = (effect: object | undefined): object => ({ ...persisted(effect), phase: undefined });

/** Registers the tests of one machine. */
export function keepsItsPromises<State extends Phase, Event extends Typed, Effect extends Typed>(
  name: string,
  kind: Kind<State, Event, Effect>,
  drive: Drive<State, Event, Effect>,
): void {
  const machine: Kind = kind;
  describe(`the ${name} machine`, () => {
    const { start, answers, setbacks, repeats = (effect: Typed) => effect }: Drive<Phase, Typed, Typed> = drive;
    const decide = (state: Phase, event: Typed): Step<Phase, Typed> => machine.decide(state, event);
    const phasesOf = (...meanings: readonly PhaseMeaning[]): string[] =>
      Object.keys(machine.phases).filter((phase) => meanings.includes(machine.phases[phase]!));
    /** Phases that nothing leaves. */
    const ends = phasesOf('done', 'failed');
    /** Phases that wait for a person: without an effect, left by `resume`. */
    const parks = phasesOf('parked');
    const success = fc.record({ ...answers });
    const others = [...Object.values(answers), ...(setbacks === undefined ? [] : [setbacks])];
    const stray = fc.oneof(fc.constant(RESUME), fc.constant(FAILED), ...others);
    /** Mostly what was asked for, so that stories get somewhere, and anything else in between. */
    const story = fc.record({
      start,
      events: fc.array(fc.record({ success, stray, isWanted: fc.nat(3).map((draw) => draw > 0) }), {
        maxLength: STEPS_MAX,
      }),
    });
    type Story = typeof story extends Arbitrary<infer T> ? T : never;

    /** The last step of a story. */
    const told = ({ start, events }: Story): Step<Phase, Typed> => {
      let step = decide(start, RESUME);
      for (const { success, stray, isWanted } of events)
        step = decide(step.state, isWanted && step.effect !== undefined ? success[step.effect.type]! : stray);
      return step;
    };
    const isOver = ({ state }: Step<Phase, Typed>): boolean => ends.includes(state.phase);

    it('has an effect exactly while it has not ended', () => {
      fc.assert(
        fc.property(story, (one) => {
          const { state, effect } = told(one);
          expect(effect === undefined).toBe([...ends, ...parks].includes(state.phase));
        }),
        RUN,
      );
    });

    it('stays as it ended, whatever event comes', () => {
      fc.assert(
        fc.property(story.map(told).filter(isOver), stray, ({ state }, late) => {
          expect(decide(state, late)).toEqual({ state });
        }),
        RUN,
      );
    });

    it('asks after a crash for exactly what it had asked for, however often it crashes', () => {
      fc.assert(
        fc.property(story.map(told), ({ state, effect }) => {
          fc.pre(effect !== undefined);
          const once = decide(persisted(state), RESUME);
          expect(asked(once.effect)).toEqual(asked(repeats(effect)));
          expect(decide(persisted(once.state), RESUME)).toEqual(once);
        }),
        RUN,
      );
    });

    it('ends from wherever it is, once its effects succeed', () => {
      fc.assert(
        fc.property(story.map(told), fc.array(success, { minLength: STEPS_MAX, maxLength: STEPS_MAX }), (from, all) => {
          let step = decide(from.state, RESUME);
          for (const success of all)
            if (step.effect !== undefined) step = decide(step.state, success[step.effect.type]!);
          expect([...ends, ...parks]).toContain(step.state.phase);
        }),
        RUN,
      );
    });

    it('says in every state what it has found, in a form that the wire carries', () => {
      fc.assert(
        fc.property(story.map(told), ({ state }) => {
          const outcome = machine.outcome?.(persisted(state));
          const message = create(OperationSchema, outcome === undefined ? {} : { outcome });
          expect(fromBinary(OperationSchema, toBinary(OperationSchema, message))).toEqual(message);
        }),
        RUN,
      );
    });

    it('comes to every end that the table of kinds names, and to no phase that it does not name', () => {
      const seen = new Set(fc.sample(story.map(told), RUN).map(({ state }) => state.phase));
      expect([...seen]).toEqual(expect.arrayContaining([...ends, ...parks]));
      expect(Object.keys(machine.phases)).toEqual(expect.arrayContaining([...seen]));
    });
  });
}
