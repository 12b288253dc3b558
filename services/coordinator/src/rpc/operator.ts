/** The service for operators, by subject. Their orders become intents; only the leader takes them. */
import type { Handlers, OperatorService } from '@antipode/protocol';
import { drillHandlers } from './drills.ts';
import { failoverHandlers } from './failover.ts';
import { generationHandlers } from './generations.ts';
import { groupChangeHandlers } from './group-changes.ts';
import { groupHandlers } from './groups.ts';
import { operationHandlers } from './operations.ts';
import type { RpcPorts } from './ports.ts';
import { reseatHandlers } from './reseat.ts';
import { resolveHandlers } from './resolve.ts';
import { scrubHandlers } from './scrubs.ts';
import { statusHandlers } from './status.ts';

export const operatorHandlers = (ports: RpcPorts): Handlers<typeof OperatorService> => ({
  ...groupHandlers(ports),
  ...groupChangeHandlers(ports),
  ...statusHandlers(ports),
  ...generationHandlers(ports),
  ...drillHandlers(ports),
  ...scrubHandlers(ports),
  ...failoverHandlers(ports),
  ...reseatHandlers(ports),
  ...operationHandlers(ports),
  ...resolveHandlers(ports),
});
