/** Capturing now, and what has become of a generation. */
import { GenerationStanding, generationName, type Handlers, type OperatorService } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import { type Standing, standingOf } from '../groups/generation-standing.ts';
import { usableAcknowledgements } from '../groups/member-trouble.ts';
import { activeOf, isSettled } from '../model.ts';
import { refOf, requireRef } from '../operations/context.ts';
import { isSilent } from '../sites/expected.ts';
import { readAcknowledged, readGeneration, readNewest } from '../store/tables/generations.ts';
import { readTenures } from '../store/tables/groups.ts';
import { isMoveOpen, readIntent } from '../store/tables/intents.ts';
import { GroupReader } from './groups/group-reader.ts';
import type { RpcPorts } from './ports.ts';

const STANDINGS: Record<Standing, GenerationStanding> = {
  unknown: GenerationStanding.UNKNOWN,
  pending: GenerationStanding.PENDING,
  acknowledged: GenerationStanding.ACKNOWLEDGED,
  superseded: GenerationStanding.SUPERSEDED,
  lost: GenerationStanding.LOST,
};

type GenerationHandlers = Pick<Handlers<typeof OperatorService>, 'replicate' | 'getGeneration'>;

export function generationHandlers(ports: RpcPorts): GenerationHandlers {
  const { store, detector, reconciler, changes, clock, timings } = ports;
  const groups = new GroupReader(ports);
  const untilEnded = async (operationId: string, signal: AbortSignal): Promise<void> => {
    for (;;) {
      const intent = await store.query((db) => readIntent(db, operationId));
      if (intent === undefined || intent.status !== 'open' || signal.aborted) return;
      await changes.next(operationId, { clock, timeoutMs: timings.planMs, signal });
    }
  };
  return {
    replicate: async ({ group: name }, { signal }) => {
      const group = await groups.agreed(name);
      const active = activeOf(group);
      if (!isSettled(group) || (await store.query((db) => isMoveOpen(db, name))))
        throw new AntipodeError('GROUP_BUSY', `a failover of group ${name} is under way`, { details: { group: name } });
      if (active === undefined || group.domainKeyVersion === 0) {
        throw new AntipodeError('DOMAIN_KEY_MISSING', `group ${name} has no domain key yet`, {
          details: { group: name, version: 0 },
        });
      }
      const planned = { kind: 'capture', group: name, site: active.site, state: { phase: 'due' }, trace: {} } as const;
      let made = await reconciler.intend(planned);
      if (!made.isNew) {
        // A capture that is under way may have started before what the operator wants to see captured.
        await untilEnded(made.id, signal);
        made = await reconciler.intend(planned);
      }
      return { operationId: made.id };
    },

    getGeneration: async ({ group: name, generation, sites }) => {
      const group = await groups.read(name);
      const asked = generationName(requireRef(generation));
      const [recorded, newest, acknowledged, tenures] = await store.query((db) =>
        Promise.all([
          readGeneration(db, name, asked),
          readNewest(db, name),
          readAcknowledged(db, name),
          readTenures(db, name),
        ]),
      );
      const standbys = group.members.filter(({ site, role }) => role === 'standby' && !isSilent(detector, site));
      const waited = sites.length > 0 ? sites : standbys.map(({ site }) => site);
      const usable = usableAcknowledgements(group, acknowledged, (site) => detector.view(site));
      const answer = standingOf({ asked, recorded, newest, acknowledged: usable, tenures, waited });
      return {
        standing: STANDINGS[answer.standing],
        acknowledgedSites: [...answer.acknowledgedSites],
        waitingSites: [...answer.waitingSites],
        lackingSites: group.members
          .filter(({ site, role }) => role !== 'active' && !answer.acknowledgedSites.includes(site))
          .map(({ site }) => site),
        ...(newest === undefined ? {} : { newest: refOf(newest) }),
      };
    },
  };
}
