/**
 * The term in every order: the receiver refuses what is of a lower one than it has heard. An order is sent only while the
 * term lasts in which it was begun, however often it is asked for.
 */
import { AntipodeError } from '@antipode/runtime';
import type { Leadership } from '../election.ts';
import type { Agent } from './agents.ts';

interface Ordered {
  readonly fence?: { readonly term?: bigint };
}

/** An agent whose orders carry the term of this leadership. @throws LEADERSHIP_LOST before an order leaves, from each call */
export function inTerm(agent: Agent, election: Pick<Leadership, 'require'>): Agent {
  return new Proxy(agent, {
    get: (target, name) => {
      const call: unknown = Reflect.get(target, name);
      if (typeof call !== 'function') return call;
      return (request: Ordered, ...options: unknown[]): unknown => {
        const { fence } = request ?? {};
        if (fence === undefined) return Reflect.apply(call, target, [request, ...options]);
        try {
          const term = election.require();
          // It was begun in an earlier term of this coordinator. Another one may have led in between.
          if (fence.term !== undefined && fence.term !== term) throw over(fence.term);
          return Reflect.apply(call, target, [{ ...request, fence: { ...fence, term } }, ...options]);
        } catch (thrown) {
          return Promise.reject(thrown);
        }
      };
    },
  });
}

const over = (term: bigint): AntipodeError =>
  new AntipodeError('LEADERSHIP_LOST', `term ${term} is over`, { details: { leaderEpoch: term } });
