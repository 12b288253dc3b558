/** Drills: to run one, and what the last ones have shown. */
import type { Handlers, OperatorService } from '@antipode/protocol';
import { startDrill } from '../operations/drill/start.ts';
import { readDrills } from '../store/tables/evidence/drills.ts';
import { onlyGroup } from './groups/group-reader.ts';
import type { RpcPorts } from './ports.ts';

const DRILLS_DEFAULT = 50;

type DrillHandlers = Pick<Handlers<typeof OperatorService>, 'runDrill' | 'listDrills'>;

export function drillHandlers(ports: RpcPorts): DrillHandlers {
  const { store, timeline } = ports;
  return {
    runDrill: async ({ group: name, site }) => ({ operationId: await startDrill(ports, { group: name, site }) }),

    listDrills: async ({ group, limit }) => {
      const only = await onlyGroup(store, group);
      const drills = await store.query((db) => readDrills(db, { ...only, limit: limit || DRILLS_DEFAULT }));
      return {
        drills: drills.map((drill) => ({
          id: drill.id,
          group: drill.group,
          site: drill.site,
          generation: drill.number,
          passed: drill.passed,
          proof: { ...drill.proof, failedObjectIds: [...drill.proof.failedObjectIds] },
          errorCode: drill.errorCode,
          startedMs: BigInt(timeline.toWallMs(drill.startedMs)),
          recoveryTimeMs: BigInt(drill.recoveryTimeMs),
          evidence: drill.evidence,
          signature: drill.signature,
          signer: drill.signer,
          vault: drill.vault ?? '',
        })),
      };
    },
  };
}
