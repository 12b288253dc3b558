/** Gathers what can be the cause of a notice: the readings of groups, and what this coordinator knows of sites and itself. */
import { missingSignatures } from '../groups/approvals.ts';
import type { GroupReadings } from '../rpc/groups/group-readings.ts';
import type { RpcPorts } from '../rpc/ports.ts';
import { readApprovals, readApprovalUses } from '../store/tables/approvals.ts';
import { readEndedFailovers, readOpenIntents } from '../store/tables/intents.ts';
import type { Seen } from './conditions.ts';
import { failingOf, type Receivers } from './receivers.ts';

/** A move is news for so long, as in the alert rules. */
const NEWS_MS = 3_600_000;

export function seeing(
  ports: RpcPorts,
  { readings, receivers }: { readings: GroupReadings; receivers: Pick<Receivers, 'troubles'> },
): (epoch: bigint) => Promise<Seen> {
  const { id, store, detector, reconciler, roleChanges, wakeUps, clock, context, certificate } = ports;
  return async (epoch) => {
    const { groups, unreadable } = await readings.current(epoch);
    const nowMs = clock.wallMs();
    const calendarMs = context.ports.calendarMs();
    const { open, failovers, approvals, uses } = await store.query(async (db) => ({
      open: await readOpenIntents(db, { onUnreadable: () => 'the group is unreadable' }),
      failovers: await readEndedFailovers(db, { sinceMs: nowMs - NEWS_MS }),
      approvals: await readApprovals(db, { endAfterMs: calendarMs }),
      uses: await readApprovalUses(db, {}),
    }));
    const used = new Set(uses.map(({ digest }) => digest));
    const { sites } = detector;
    return {
      coordinator: id,
      groups,
      unreadable,
      sites,
      claimed: sites.map(({ site }) => site).filter((site) => detector.refused(site) !== undefined),
      waiting: groups.map(({ name }) => name).filter((name) => reconciler.waitOf(name) !== undefined),
      parked: open.filter(({ status }) => status === 'parked'),
      failovers: failovers.map(({ state, ...failover }) => ({
        ...failover,
        to: 'to' in state && typeof state.to === 'string' ? state.to : '',
      })),
      approvals: approvals
        .filter(({ digest }) => !used.has(digest))
        .flatMap((record) => missingSignatures(record, (site) => detector.view(site), calendarMs)),
      troubles: reconciler.troubles,
      hooks: roleChanges.troubles,
      receivers: failingOf(receivers, clock.monotonicMs()),
      isQueueUp: wakeUps.isUp() && !reconciler.isQueueMute,
      certificate: certificate?.(),
      calendarMs,
    };
  };
}
