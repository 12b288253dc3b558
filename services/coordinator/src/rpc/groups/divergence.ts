/** Objects that a returned site has beside the group's line: shown, merged or kept, by order of an operator. */
import type { Handlers, OperatorService } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import { returnedMember } from '../../operations/divergence/effects.ts';
import { DIVERGENCE_ACTIONS } from '../../operations/divergence/machine.ts';
import type { RpcPorts } from '../ports.ts';
import { GroupReader } from './group-reader.ts';

/** The state of an operation is one row, and the list is for people. */
const OBJECTS_MAX = 1_000;
const OBJECT_ID = /^[0-9a-f]{32}$/;

type DivergenceHandlers = Pick<Handlers<typeof OperatorService>, 'runDivergence'>;

export function divergenceHandlers(ports: RpcPorts): DivergenceHandlers {
  const groups = new GroupReader(ports);
  return {
    runDivergence: async ({ group: name, site, action: asked, objectIds }, { identity }) => {
      const action = DIVERGENCE_ACTIONS.find((one) => one === asked);
      const isNamed = objectIds.length > 0;
      const fault =
        action === undefined
          ? `action is "${asked}", expected ${DIVERGENCE_ACTIONS.join(', ')}`
          : objectIds.length > OBJECTS_MAX
            ? `${objectIds.length} objects are named, expected ${OBJECTS_MAX} at most`
            : objectIds.some((objectId) => !OBJECT_ID.test(objectId))
              ? 'an object id is not 32 hexadecimal digits'
              : isNamed === (action === 'show')
                ? `${action} names ${isNamed ? 'objects, expected none' : 'no object, expected at least one'}`
                : undefined;
      if (action === undefined || fault !== undefined)
        throw new AntipodeError('REQUEST_INVALID', fault ?? '', {
          details: { field: action === undefined ? 'action' : 'object_ids' },
        });
      const group = await groups.agreed(name);
      returnedMember(group, site);
      const state = { phase: 'due', action, objectIds: [...new Set(objectIds)].sort(), operator: identity.name };
      const { id, isNew } = await ports.reconciler.intend({ kind: 'divergence', group: name, site, state, trace: {} });
      if (!isNew)
        throw new AntipodeError('GROUP_BUSY', `an order about divergent objects of site ${site} is under way`, {
          details: { group: name, site, operation: id },
          hint: `Run \`antipode operation show ${id.slice(0, 8)}\` to see how far it is, and repeat the command when it has ended.`,
        });
      return { operationId: id };
    },
  };
}
