/** Pausing and resuming the automation of groups. */
import type { Handlers, OperatorService } from '@antipode/protocol';
import { pauseAutomation, readGroup, readGroups, resumeAutomation } from '../store/tables/groups.ts';
import type { RpcPorts } from './ports.ts';

/** A sentence for the next person, and not a document. */
const REASON_LENGTH_MAX = 200;

type AutomationHandlers = Pick<Handlers<typeof OperatorService>, 'pauseAutomation' | 'resumeAutomation'>;

export function automationHandlers({ store, election, cache, clock, log }: RpcPorts): AutomationHandlers {
  /** The group that is named, or all. @throws NOT_FOUND */
  const named = async (group: string): Promise<string[]> =>
    group === ''
      ? (await store.snapshot((db) => readGroups(db, () => {}))).map(({ spec }) => spec.name)
      : [(await store.snapshot((db) => readGroup(db, group))).spec.name];
  return {
    pauseAutomation: async ({ group, reason: given }, { identity }) => {
      const groups = await named(group);
      const reason = given.slice(0, REASON_LENGTH_MAX);
      await store.write(election.require(), async (trx, record) => {
        for (const name of groups) {
          const isNew = await pauseAutomation(trx, name, { nowMs: clock.wallMs(), operator: identity.name, reason });
          if (isNew) record({ kind: 'automation-paused', group: name, details: { operator: identity.name, reason } });
        }
      });
      log.info('automation paused', { groups, operator: identity.name });
      await cache.refresh();
      return { groups };
    },

    resumeAutomation: async ({ group }, { identity }) => {
      const groups = await named(group);
      await store.write(election.require(), async (trx, record) => {
        for (const name of groups) {
          await resumeAutomation(trx, name, { nowMs: clock.wallMs() });
          record({ kind: 'automation-resumed', group: name, details: { operator: identity.name } });
        }
      });
      log.info('automation resumed', { groups, operator: identity.name });
      await cache.refresh();
      return { groups };
    },
  };
}
