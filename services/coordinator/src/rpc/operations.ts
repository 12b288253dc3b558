/** Operations as people see them: what is under way, what failed and why, and how to end it. */
import type { Handlers, OperatorService } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import { type IntentStatus, isSettled } from '../model.ts';
import type { FailoverState } from '../operations/failover/machine.ts';
import { lockGroup } from '../store/tables/groups.ts';
import { endIntent, findIntent, type Intent, readIntents, requireIntent } from '../store/tables/intents.ts';
import { onlyGroup } from './groups/group-reader.ts';
import type { RpcPorts } from './ports.ts';
import { operationMessage } from './views/operation.ts';

type Operations = Pick<
  Handlers<typeof OperatorService>,
  'listOperations' | 'getOperation' | 'dismissOperation' | 'cancelOperation'
>;

const WAIT_MS_MAX = 60_000;
const LIST_DEFAULT = 50;

/**
 * In these phases a move may have changed nothing yet: the old active member still serves. While it is issuing, hooks are
 * asked before the epoch is recorded. Whether an epoch was issued is looked at in the transaction that ends the move.
 */
const BEFORE_ITS_EPOCH: ReadonlySet<string> = new Set<FailoverState['phase']>([
  'requested',
  'fetching',
  'catching-up',
  'issuing',
]);

export interface OperationPorts extends Pick<RpcPorts, 'runner' | 'changes' | 'clock' | 'timings' | 'log'> {
  readonly store: Pick<RpcPorts['store'], 'query' | 'write'>;
  readonly election: Pick<RpcPorts['election'], 'require'>;
  readonly timeline: Pick<RpcPorts['timeline'], 'toWallMs'>;
}

export function operationHandlers(ports: OperationPorts): Operations {
  const { store, election, runner, changes, clock, timeline, timings, log } = ports;
  const messageOf = (intent: Intent) => operationMessage(intent, (stampMs) => timeline.toWallMs(stampMs));
  const end = async (
    intent: Intent,
    { status, from, by }: { status: IntentStatus; from: readonly IntentStatus[]; by: string },
  ): Promise<Intent> => {
    const { id, kind, group, site } = intent;
    const hasEnded = await store.write(election.require(), async (trx, record) => {
      // One that looks for another target is in an early phase again, although its epoch was issued.
      if (kind === 'failover' && status === 'cancelled' && !isSettled(await lockGroup(trx, group)))
        throw unstoppable(intent);
      const ended = await endIntent(trx, intent, { status, from }, clock.wallMs());
      if (ended) record({ kind: `${kind}-${status}`, group, site, details: { intent: id, operator: by } });
      return ended;
    });
    if (!hasEnded)
      throw new AntipodeError('GROUP_BUSY', `operation ${id} has changed meanwhile, so it was not ${status}`, {
        details: { operation: id },
        hint: `Look at it with \`antipode operation show ${id.slice(0, 8)}\`. Then repeat the command if it is still needed.`,
      });
    log.warn(`operation ${status} by an operator`, { intent: id, kind, group, site, operator: by });
    changes.announce(id);
    return store.query((db) => requireIntent(db, id));
  };

  return {
    listOperations: async ({ group, limit }) => {
      const only = await onlyGroup(store, group);
      const all = await store.query((db) => readIntents(db, { ...only, limit: limit || LIST_DEFAULT }));
      return { operations: all.map(messageOf) };
    },

    getOperation: async ({ operationId, waitMs, seenPhase }, { signal }) => {
      const { id } = await store.query((db) => findIntent(db, operationId));
      const endMs = clock.monotonicMs() + Math.min(waitMs, WAIT_MS_MAX);
      for (;;) {
        const intent: Intent = await store.query((db) => requireIntent(db, id));
        const leftMs = endMs - clock.monotonicMs();
        if (intent.status !== 'open' || intent.state.phase !== seenPhase || leftMs <= 0 || signal.aborted)
          return { operation: messageOf(intent) };
        await changes.next(id, { clock, timeoutMs: Math.min(leftMs, timings.planMs), signal });
      }
    },

    dismissOperation: async ({ operationId }, { identity }) => {
      const intent = await store.query((db) => findIntent(db, operationId));
      if (intent.status !== 'failed' && intent.status !== 'parked')
        throw new AntipodeError(
          'REQUEST_INVALID',
          `operation ${intent.id} is ${intent.status}, expected failed or parked`,
          {
            details: { field: 'operation_id', operation: intent.id },
            hint: 'Dismiss only operations that failed or are parked. To end one that is open, run `antipode operation cancel`.',
          },
        );
      return {
        operation: messageOf(await end(intent, { status: 'dismissed', from: ['failed', 'parked'], by: identity.name })),
      };
    },

    cancelOperation: async ({ operationId }, { identity }) => {
      const intent = await store.query((db) => findIntent(db, operationId));
      refuseUnstoppable(intent, runner.isRunning(intent.id));
      return {
        operation: messageOf(await end(intent, { status: 'cancelled', from: ['open', 'parked'], by: identity.name })),
      };
    },
  };
}

const unstoppable = ({ id, group, state }: Pick<Intent, 'id' | 'group' | 'state'>): AntipodeError =>
  new AntipodeError(
    'FAILOVER_REFUSED',
    `the failover of group ${group} cannot be cancelled in phase ${state.phase}: its epoch was issued, and the old active member is fenced`,
    {
      details: { operation: id, group },
      hint: `Let it end. To move to another site, run \`antipode failover ${group} --to SITE\`: it replaces this failover.`,
    },
  );

/** @throws REQUEST_INVALID when it has ended, FAILOVER_REFUSED, GROUP_BUSY */
function refuseUnstoppable({ id, kind, group, site, state, status }: Intent, isRunning: boolean): void {
  const details = { operation: id, group };
  if (status !== 'open' && status !== 'parked')
    throw new AntipodeError('REQUEST_INVALID', `operation ${id} has already ended (${status})`, {
      details: { ...details, field: 'operation_id' },
      hint: 'Do nothing: there is nothing left to cancel. `antipode operation dismiss` takes a failed one off the list of `antipode status`.',
    });
  if (kind === 'failover') {
    if (BEFORE_ITS_EPOCH.has(state.phase)) return;
    throw unstoppable({ id, group, state });
  }
  if (isRunning)
    throw new AntipodeError('GROUP_BUSY', `site ${site} is working on operation ${id}, so it cannot be cancelled now`, {
      details,
    });
}
