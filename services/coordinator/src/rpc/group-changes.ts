/**
 * Changes of groups: the consequences, and the order. An order is a compare-and-set of the declaration, under the lock of
 * the group. It is planned again in the transaction that writes it, by what is on record at that moment.
 */
import { filterMessage, type Handlers, type OperatorService } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import { type ChangePlan, changeFrom, type GroupChange, obstacleError } from '../groups/changes/change.ts';
import { type FilterEffect, hasOtherFilter, planSettings } from '../groups/changes/settings.ts';
import { activeOf, type Group } from '../model.ts';
import { lockGroup, setSpec } from '../store/tables/groups.ts';
import { GroupReader } from './group-reader.ts';
import type { RpcPorts } from './ports.ts';

/** The partition may be busy with a capture. */
const MATCH_TIMEOUT_MS = 10_000;

type GroupChanges = Pick<Handlers<typeof OperatorService>, 'planGroupChange' | 'changeGroup'>;

export function groupChangeHandlers(ports: RpcPorts): GroupChanges {
  const { store, election, cache, log } = ports;
  const groups = new GroupReader(ports);
  return {
    planGroupChange: async ({ group: name, change: message }, { signal }) => {
      const change = changeFrom(message);
      const group = await groups.agreed(name);
      const filterEffect = await filterEffectOf(ports, group, change, signal);
      const { revision, changes, consequences, needsConfirmation, obstacle } = plan(group, change, filterEffect);
      return {
        revision,
        changes: [...changes],
        consequences: [...consequences],
        needsConfirmation,
        obstacle: obstacle?.message ?? '',
        obstacleCode: obstacle?.code ?? '',
        ...(filterEffect === undefined || 'unknown' in filterEffect ? {} : { filter: filterEffect }),
      };
    },

    changeGroup: async ({ group: name, change: message, revision }, { identity }) => {
      const change = changeFrom(message);
      await groups.agreed(name);
      const made = await store.write(election.require(), async (trx, record) => {
        const planned = plan(await lockGroup(trx, name), change);
        // Repeated, or made by somebody else meanwhile: it is as it should be.
        if (planned.changes.length === 0) return undefined;
        if (planned.obstacle !== undefined) throw obstacleError(name, planned.obstacle);
        if (planned.revision !== revision) throw changedMeanwhile(name, { revision, found: planned.revision });
        await setSpec(trx, planned.spec);
        const fields = planned.changes.map((line) => line.slice(0, line.indexOf(':'))).join(',');
        record({
          kind: 'group-changed',
          group: name,
          details: { revision: revision + 1, fields, operator: identity.name },
        });
        return fields;
      });
      if (made !== undefined) {
        log.info('group changed', { group: name, fields: made, operator: identity.name });
        await cache.refresh();
      }
      return { group: await groups.shown(name), operationId: '' };
    },
  };
}

/** Pure, but for the errors of an invalid request. */
function plan(group: Group, change: GroupChange, filterEffect?: FilterEffect): ChangePlan {
  return planSettings(group, change.settings, filterEffect);
}

function changedMeanwhile(group: string, details: { revision: number; found: number }): AntipodeError {
  return new AntipodeError(
    'GROUP_CHANGED',
    `group ${group} is at revision ${details.found} by now, and the change was made for revision ${details.revision}`,
    { details: { group, ...details } },
  );
}

/** Asks the active member which objects other rules concern. A site that does not answer must not prevent the change. */
async function filterEffectOf(
  { agents }: RpcPorts,
  group: Group,
  change: GroupChange,
  signal: AbortSignal,
): Promise<FilterEffect> {
  const { spec } = plan(group, change);
  if (!hasOtherFilter(group.spec, spec)) return undefined;
  const active = activeOf(group);
  if (active === undefined) return { unknown: 'no member is active' };
  const { site, serial } = active;
  const filters = { filter: filterMessage(spec.filter), before: filterMessage(group.spec.filter) };
  try {
    const answer = await agents
      .client(site)
      .matchFilter({ serial, ...filters }, { timeoutMs: MATCH_TIMEOUT_MS, signal });
    return answer.change ?? { unknown: 'its agent is of an earlier release' };
  } catch (thrown) {
    const error = AntipodeError.from(thrown);
    if (error.disposition === 'defect') throw error;
    return { unknown: error.code };
  }
}
