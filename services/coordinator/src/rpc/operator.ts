/** The service for operators, by subject. Their orders become intents. Only the leader answers. */
import type { Handlers, OperatorService } from '@antipode/protocol';
import { approvalHandlers } from './approvals.ts';
import { archiveHandlers } from './archives.ts';
import { automationHandlers } from './automation.ts';
import { siteTokenHandlers } from './certificates/site-tokens.ts';
import { withinBound } from './database-bound.ts';
import { drillHandlers } from './drills.ts';
import { eventHandlers } from './events.ts';
import { forgettingHandlers } from './forgetting.ts';
import { generationHandlers } from './generations.ts';
import { divergenceHandlers } from './groups/divergence.ts';
import { failoverHandlers } from './groups/failover.ts';
import { groupChangeHandlers } from './groups/group-changes.ts';
import { groupHandlers } from './groups/groups.ts';
import { reseatHandlers } from './groups/reseat.ts';
import { noticeHandlers } from './notices.ts';
import { operationHandlers } from './operations.ts';
import type { RpcPorts } from './ports.ts';
import { resolveHandlers } from './resolve.ts';
import { scrubHandlers } from './scrubs.ts';
import { statusHandlers } from './status.ts';

export const operatorHandlers = (ports: RpcPorts): Handlers<typeof OperatorService> =>
  whileLeading(ports, {
    ...groupHandlers(ports),
    ...groupChangeHandlers(ports),
    ...statusHandlers(ports),
    ...generationHandlers(ports),
    ...drillHandlers(ports),
    ...archiveHandlers(ports),
    ...scrubHandlers(ports),
    ...divergenceHandlers(ports),
    ...failoverHandlers(ports),
    ...reseatHandlers(ports),
    ...operationHandlers(ports),
    ...automationHandlers(ports),
    ...approvalHandlers(ports),
    ...siteTokenHandlers(ports),
    ...forgettingHandlers(ports),
    ...resolveHandlers(ports),
    ...noticeHandlers(ports),
    ...eventHandlers(ports),
  });

/**
 * A coordinator that does not lead has heard no site, so it answers nothing, not even a question. A leader that stood
 * still for a moment renews its lease before it answers: nobody else leads, so nobody else would.
 */
function whileLeading<All extends object>(
  { election, clock }: Pick<RpcPorts, 'election' | 'clock'>,
  handlers: All,
): All {
  return new Proxy(handlers, {
    get: (all, name) => {
      const handler: unknown = Reflect.get(all, name);
      if (typeof handler !== 'function') return handler;
      return async (...given: unknown[]): Promise<unknown> => {
        const renewed = election.renewIfLapsed();
        // Applications wait for this answer, and have others to ask.
        await (name === 'resolve' ? withinBound(clock, renewed) : renewed);
        election.requireLead();
        return Reflect.apply(handler, all, given);
      };
    },
  });
}
