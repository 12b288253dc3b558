/**
 * Every call to a site is for one process: the one that a heartbeat has let speak for it. Another one, on a copy of the
 * folder of that site, can listen at its address. Its heartbeats are refused, and so are its answers here. An order names
 * the process that is meant, so that a copy does nothing of it. An agent of an earlier release does not read that. Of its
 * answers, only those are checked that name a process.
 */
import { AntipodeError } from '@antipode/runtime';
import type { Agent } from './agents.ts';

interface Request {
  readonly fence?: object;
}
interface Answer {
  readonly instance?: string;
}

/**
 * An agent whose orders reach one process only.
 * @param options.instance the process that speaks for the site at this moment; empty while none was heard
 * @throws SITE_UNREACHABLE from an order while nobody knows for which process it is
 * @throws OTHER_PROCESS_ANSWERS from each call that another process answers
 */
export function toProcess(
  agent: Agent,
  { site, instance }: { readonly site: string; readonly instance: () => string },
): Agent {
  const meant = (request: Request): Request => {
    if (request.fence === undefined) return request;
    const expected = instance();
    if (expected === '')
      throw new AntipodeError('SITE_UNREACHABLE', `this coordinator has not heard site ${site} yet`, {
        details: { site },
      });
    return { ...request, fence: { ...request.fence, instance: expected } };
  };
  const requireSame = ({ instance: found = '' }: Answer): void => {
    const expected = instance();
    if (found === '' || expected === '' || found === expected) return;
    throw new AntipodeError('OTHER_PROCESS_ANSWERS', `another process answers at the address of site ${site}`, {
      details: { site, expected, found },
    });
  };
  return new Proxy(agent, {
    get: (target, name) => {
      const call: unknown = Reflect.get(target, name);
      if (typeof call !== 'function' || name === 'close' || name === 'reconnect') return call;
      return async (request: Request, ...options: unknown[]): Promise<unknown> => {
        const answer: Answer = await Reflect.apply(call, target, [meant(request), ...options]);
        requireSame(answer);
        return answer;
      };
    },
  });
}
