/**
 * Gives a site that joins its vote, once it holds what every other standby holds: its seat, the domain key version in use,
 * and the newest generation. The planner brings it all of that by the ordinary operations.
 */

import { MemberRole } from '@antipode/protocol';
import { AntipodeError, isErrorCode } from '@antipode/runtime';
import { quarantineOf } from '../../groups/contradiction.ts';
import { type Group, isVersionDue, type Seat } from '../../model.ts';
import { seatIn } from '../../sites/accounts.ts';
import type { SiteView } from '../../sites/detector.ts';
import { type Acknowledged, readAcknowledgedByJoining, readNewest } from '../../store/tables/generations.ts';
import { lockGroup } from '../../store/tables/groups.ts';
import { type Intent, readOpenIntents } from '../../store/tables/intents.ts';
import { seatJoined } from '../../store/tables/membership.ts';
import { type EffectContext, fenceOf, ORDER_TIMEOUT_MS } from '../context.ts';
import type { MemberJoinEvent } from './machine.ts';

/** Operations that decide by the members that vote. None of them is under way when their number changes. */
const BY_VOTES: ReadonlySet<string> = new Set(['failover', 'reseat']);

export async function memberJoin(context: EffectContext, intent: Intent): Promise<MemberJoinEvent> {
  const { store, detector, cache } = context.ports;
  const group = await context.group(intent);
  const { name } = group.spec;
  if (group.members.some(({ site }) => site === intent.site)) return { type: 'joined' };
  const seat = group.joining.find(({ site }) => site === intent.site);
  if (seat === undefined)
    throw new AntipodeError('NOT_FOUND', `site ${intent.site} does not join group ${name} any more`, {
      details: { group: name, site: intent.site },
    });
  const open = await store.query((db) => readOpenIntents(db, { group: name }));
  refuseStuckKey(group, open);
  if (standsBy(group, seat, detector.view(seat.site)) === false)
    await context.agent(seat.site).setRole(
      {
        fence: await context.guarded(group, intent, fenceOf(group, intent), 'enrol'),
        serial: seat.serial,
        role: MemberRole.STANDBY,
      },
      { timeoutMs: ORDER_TIMEOUT_MS },
    );
  await context.write(async (trx, record) => {
    const now = await lockGroup(trx, name);
    if (!now.joining.some(({ site }) => site === seat.site)) return;
    const acknowledged = await readAcknowledgedByJoining(trx, name);
    const newest = await readNewest(trx, name);
    const lacking = (await readOpenIntents(trx, { group: name })).some(({ kind }) => BY_VOTES.has(kind))
      ? 'a failover or a reseat is under way'
      : lackOf({ group: now, seat, newest, acknowledged, view: detector.view(seat.site) });
    if (lacking !== '')
      throw new AntipodeError('GROUP_BUSY', `site ${seat.site} has not joined yet: ${lacking}`, {
        details: { group: name, site: seat.site },
      });
    await seatJoined(trx, now, seat);
    record({ kind: 'member-joined', group: name, site: seat.site, details: { votes: now.members.length + 1 } });
  });
  await cache.refresh();
  return { type: 'joined' };
}

/** Without the domain key the site waits for ever: whoever added it must settle what keeps the key from it. */
function refuseStuckKey(group: Group, open: readonly Intent[]): void {
  const stuck = open.find(({ kind, status }) => kind === 'domain-key' && status === 'parked');
  if (stuck === undefined || !isErrorCode(stuck.errorCode)) return;
  throw new AntipodeError(
    stuck.errorCode,
    `the domain key does not reach every partition: ${stuck.errorMessage.replace(`[${stuck.errorCode}] `, '')}`,
    { details: { group: group.spec.name, operation: stuck.id } },
  );
}

/** Undefined where the site is not heard. */
function standsBy({ spec }: Group, { serial }: Seat, agent: SiteView | undefined): boolean | undefined {
  if (agent?.status !== 'up' || agent.state === undefined) return undefined;
  return agent.state.members.some(
    (one) => one.group === spec.name && one.serial === serial && one.role === MemberRole.STANDBY,
  );
}

/** Says what a site that joins still waits for, in words for people; empty for nothing. */
export function lackOf({
  group,
  seat,
  newest,
  acknowledged,
  view,
}: {
  group: Group;
  seat: Seat;
  newest: Pick<Acknowledged, 'epoch' | 'number' | 'domainKeyVersion'> | undefined;
  acknowledged: readonly Acknowledged[];
  view: SiteView | undefined;
}): string {
  if (view?.status !== 'up') return `it is ${view?.status ?? 'unknown'}`;
  if (quarantineOf(group, view) !== undefined) return 'it is in quarantine';
  if (standsBy(group, seat, view) !== true) return 'it does not know its seat';
  const held = seatIn(view.state, group.spec.name)?.domainKeyVersion ?? 0;
  if (isVersionDue(group)) return 'a new version of the domain key is not in use yet';
  if (held < group.domainKeyVersion) return `it does not have version ${group.domainKeyVersion} of the domain key`;
  if (newest === undefined || newest.domainKeyVersion < group.domainKeyVersion)
    return 'nothing is captured under the new version of the domain key yet';
  const last = acknowledged.find(({ site }) => site === seat.site);
  return last?.epoch === newest.epoch && last.number === newest.number
    ? ''
    : `it has not acknowledged generation ${newest.number}`;
}
