/** Declaring groups, looking at them, and giving them new domain keys. */

import { filterMessage, type Handlers, type OperatorService } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import { obstacleError } from '../../groups/changes/change.ts';
import { nativeObstacle } from '../../groups/changes/cloning.ts';
import {
  checkArchives,
  checkDistributor,
  checkReleased,
  checkSeats,
  checkSites,
  checkWitnesses,
  differences,
  specFrom,
} from '../../groups/group-spec.ts';
import { activeOf } from '../../model.ts';
import { insertGroup, readGroups, setDistributor } from '../../store/tables/groups.ts';
import { readFormerEpoch } from '../../store/tables/membership.ts';
import type { RpcPorts } from '../ports.ts';
import { GroupReader } from './group-reader.ts';

/** A partition of 10,000 objects is read in a second, once its turn has come. */
const MATCH_TIMEOUT_MS = 30_000;

type GroupHandlers = Pick<
  Handlers<typeof OperatorService>,
  'createGroup' | 'matchRules' | 'listGroups' | 'getGroup' | 'rotateDomainKey' | 'setDistributor'
>;

export function groupHandlers(ports: RpcPorts): GroupHandlers {
  const { store, election, cache, detector, agents, reconciler, clock } = ports;
  const groups = new GroupReader(ports);
  const bringDomainKey = async (group: string): Promise<string> =>
    (await reconciler.intend({ kind: 'domain-key', group, site: '', state: { phase: 'due' }, trace: {} })).id;
  return {
    createGroup: async ({ spec: message }) => {
      election.require();
      const spec = specFrom(message);
      const known = await store.query((db) => readGroups(db, () => {}));
      const existing = known.find((group) => group.spec.name === spec.name);
      const different = existing === undefined ? [] : differences(existing.spec, spec);
      if (different.length > 0) {
        throw new AntipodeError(
          'ALREADY_EXISTS',
          `group ${spec.name} already exists with another declaration: ${different.join('; ')}`,
          {
            details: { group: spec.name },
            hint: `Change the group with \`antipode group update\`, \`add-member\`, \`remove-member\`, \`set-scratch\` or \`set-archive\`. Or choose another name.`,
          },
        );
      }
      // Declared before, seated, and every member has a domain key: there is nothing to do.
      if (existing !== undefined && existing.domainKeyVersion > 0)
        return { group: await groups.state(existing), operationId: '' };
      checkSites(spec, detector);
      checkWitnesses(spec, detector);
      checkArchives(spec.archives ?? [], spec.members, detector);
      const behind = nativeObstacle(spec, { seats: [...spec.members, ...spec.scratch], detector });
      if (behind !== undefined) throw obstacleError(spec.name, behind);
      if (existing === undefined) {
        const formerEpoch = await store.query((db) => readFormerEpoch(db, spec.name));
        if (formerEpoch !== undefined) checkReleased(spec, detector);
        checkSeats(
          spec,
          known.map(({ spec: other, joining }) => ({ ...other, members: [...other.members, ...joining] })),
        );
        await store.write(election.require(), async (trx, record) => {
          await insertGroup(trx, spec, clock.wallMs());
          record({
            kind: 'group-created',
            group: spec.name,
            site: spec.members[0]!.site,
            details: { members: spec.members.length, witnesses: spec.witnesses?.length ?? 0 },
          });
        });
        await cache.refresh();
      }
      const operationId = await bringDomainKey(spec.name);
      return { group: await groups.shown(spec.name), operationId };
    },

    matchRules: async ({ group: name, spec: message }, { signal }) => {
      const { spec, active } =
        name === ''
          ? { spec: specFrom(message), active: undefined }
          : await groups.read(name).then((group) => ({ spec: group.spec, active: activeOf(group) }));
      if (name === '') checkSites(spec, detector);
      const { site, serial } = active ?? spec.members[0]!;
      const { rules } = await agents
        .client(site)
        .matchFilter({ serial, filter: filterMessage(spec.filter) }, { timeoutMs: MATCH_TIMEOUT_MS, signal });
      return { site, serial, rules };
    },

    listGroups: async () => ({ groups: await groups.states() }),

    getGroup: async ({ group }) => ({ group: await groups.shown(group) }),

    rotateDomainKey: async ({ group }) => {
      await groups.agreed(group);
      return { operationId: await bringDomainKey(group) };
    },

    setDistributor: async ({ group: name, distributor: message }) => {
      const group = await groups.agreed(name);
      const distributor = message === undefined ? undefined : { site: message.site, serial: message.serial };
      if (distributor !== undefined) checkDistributor(group.spec, distributor, detector);
      await store.write(election.require(), async (trx, record) => {
        await setDistributor(trx, name, distributor);
        record({ kind: 'distributor-named', group: name, site: message?.site ?? '', details: {} });
      });
      await cache.refresh();
      return { group: await groups.shown(name) };
    },
  };
}
