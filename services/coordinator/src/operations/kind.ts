/**
 * The parts of a kind of operation. Each kind is one entry of the table in kinds.ts, one machine and its effects.
 *
 * Methods instead of function properties, on purpose: they let the runner handle all kinds as one type without a cast. The
 * runner gives a machine only the state that this machine has made, and the answer to the effect that it has asked for.
 */
import type { Failure, IntentStatus, Resume, Step } from '../model.ts';
import type { Intent } from '../store/tables/intents.ts';
import type { EffectContext } from './context.ts';
import type { Outcome } from './outcome.ts';

/** A member of a state union. */
export interface Phase {
  readonly phase: string;
}

/** A member of a union of effects or events. */
export interface Typed {
  readonly type: string;
}

/** The meaning of a phase: the operation is under way, it has ended, or it waits for a person. */
export type PhaseMeaning = Extract<IntentStatus, 'open' | 'done' | 'failed' | 'parked'>;

export interface Kind<State extends Phase = Phase, Event extends Typed = Typed, Effect extends Typed = Typed> {
  /** The machine: pure. In an `open` phase it asks for one effect, in any other phase for none. */
  decide(state: State, event: Event | Resume | Failure): Step<State, Effect>;
  /**
   * Does what the machine asks for, and answers with what came of it. May be repeated, since a crash can fall between its
   * end and the record of it (I9). Throws transient faults: the runner tries again.
   */
  perform(context: EffectContext, intent: Intent, effect: Effect): Promise<Event>;
  /** Tells operators what it has found so far; absent for a kind that finds nothing. Older versions wrote some states. */
  outcome?(state: State): Outcome | undefined;
  /** Every phase of the state union: one that is missing here does not compile. */
  readonly phases: Readonly<Record<State['phase'], PhaseMeaning>>;
  /**
   * After so many attempts at one effect the machine receives `failed`. The planner then looks again at what is due, under
   * the state of that moment. Infinity for an operation that must not be given up.
   */
  readonly attemptsMax: number;
  /** It is not given up before it is as old as this, so that a site has time to restart. */
  readonly patienceMs?: number;
  /** Runs many times an hour: the log of events has neither its start nor its good end. */
  readonly isRoutine?: boolean;
}
