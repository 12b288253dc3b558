/** Orders of a test to a coordinator that loses its lease for a moment, as happens on a machine that is busy. */
import type { Operator } from '@antipode/cli/testing';
import { hasCode, systemClock } from '@antipode/runtime';

const AGAIN_MS = 50;

/**
 * The same client. It repeats a call that was refused because nobody led: nothing was written for it. Every other
 * refusal is the answer.
 */
export function patient(operator: Operator, { timeoutMs }: { timeoutMs: number }): Operator {
  return new Proxy(operator, {
    get: (target, name) => {
      const call: unknown = Reflect.get(target, name);
      if (typeof call !== 'function' || name === 'close') return call;
      return async (...given: unknown[]): Promise<unknown> => {
        const endMs = systemClock.monotonicMs() + timeoutMs;
        for (;;) {
          try {
            return await Reflect.apply(call, target, given);
          } catch (thrown) {
            if (!hasCode(thrown, 'LEADERSHIP_LOST', 'NOT_LEADER') || systemClock.monotonicMs() >= endMs) throw thrown;
            await systemClock.sleep(AGAIN_MS);
          }
        }
      };
    },
  });
}
