/**
 * Says whether all members of a group are past the older versions of its domain key (ADR 0026). Pure. The views must
 * have been taken before the group was read.
 *
 * A member that is away, behind, fenced or in quarantine may still need something that only an older version opens.
 * While there is such a member, no older version is destroyed at any member. In addition, each site checks its own
 * store.
 */

import { MemberRole } from '@antipode/protocol';
import { hex } from '@antipode/runtime';
import { type Contradiction, quarantineOf, type Views } from '../../groups/contradiction.ts';
import { troubleOf } from '../../groups/member-trouble.ts';
import { activeOf, type Generation, type Group, type IntentKind, isSettled, type Member } from '../../model.ts';
import { partitionIn, seatIn } from '../../sites/accounts.ts';
import type { Acknowledged } from '../../store/tables/generations.ts';
import type { Intent } from '../../store/tables/intents.ts';

export interface OlderKeysFacts {
  readonly group: Group;
  readonly newest: Generation | undefined;
  readonly acknowledged: readonly Acknowledged[];
  readonly open: readonly Pick<Intent, 'kind'>[];
  readonly contradiction: Contradiction | undefined;
  readonly view: Views;
}

/** They move a member, bring a version, or read a generation that may be an older one. */
const UNSETTLED: ReadonlySet<IntentKind> = new Set([
  'domain-key',
  'failover',
  'rejoin',
  'reseat',
  'drill',
  'member-join',
]);

/** Why no older version is destroyed anywhere, in words for people; empty where every member is past them. */
export function olderKeysNeededFor(facts: OlderKeysFacts): string {
  const { group, newest, open, contradiction } = facts;
  if (contradiction !== undefined) return contradiction.message;
  if (!isSettled(group)) return 'a failover has not ended';
  const unsettled = open.find(({ kind }) => UNSETTLED.has(kind));
  if (unsettled !== undefined) return `an operation has not ended (${unsettled.kind})`;
  if (newest === undefined || activeOf(group) === undefined) return 'the group has no generation yet';
  if (newest.epoch !== group.epoch) return `nothing has been captured in epoch ${group.epoch} yet`;
  if (newest.domainKeyVersion !== group.domainKeyVersion)
    return `the newest generation is sealed under version ${newest.domainKeyVersion}, and ${group.domainKeyVersion} is in use`;
  for (const member of group.members) {
    const why = behind(member, facts, newest);
    if (why !== undefined) return `site ${member.site} ${why}`;
  }
  return '';
}

/** The reason why a member has not reached the newest generation; undefined if it has. */
function behind(
  { site, serial, role }: Member,
  { group, acknowledged, view }: OlderKeysFacts,
  newest: Generation,
): string | undefined {
  const agent = view(site);
  if (agent?.status !== 'up' || agent.state === undefined) return `is ${agent?.status ?? 'unknown'}`;
  const quarantine = quarantineOf(group, agent);
  if (quarantine !== undefined) return `is in quarantine: ${quarantine}`;
  if (role === 'fenced') return 'is fenced';
  const trouble = troubleOf(agent, { serial });
  if (trouble !== '') return `cannot use its partition (${trouble})`;
  const seat = seatIn(agent.state, group.spec.name);
  const expected = role === 'active' ? MemberRole.ACTIVE : MemberRole.STANDBY;
  if (seat?.role !== expected || seat.serial !== serial || seat.epoch !== group.epoch)
    return `does not know its seat as ${role} in epoch ${group.epoch}`;
  if (seat.domainKeyVersion < group.domainKeyVersion) return `does not have version ${group.domainKeyVersion}`;
  if (seat.heldObjects > 0) return 'has a held capture that waits for an operator';
  const heads = role === 'active' ? [seat.captured, seat.applied] : [seat.applied];
  if (!heads.some((head) => head !== undefined && hex(head.manifestDigest) === newest.manifestDigest))
    return `does not have generation ${newest.number} of epoch ${newest.epoch} yet`;
  if (role === 'active') return undefined;
  const last = acknowledged.find((one) => one.site === site);
  return last?.manifestDigest === newest.manifestDigest
    ? undefined
    : `has not acknowledged generation ${newest.number} of epoch ${newest.epoch}`;
}

/** The seats of a group in which versions are that nothing needs at their sites, below the one in use. */
export function seatsWithOlderKeys({ group, view }: Pick<OlderKeysFacts, 'group' | 'view'>) {
  const name = group.spec.name;
  return [...group.members, ...group.spec.scratch].filter(({ site, serial }) => {
    const agent = view(site);
    const partition = partitionIn(agent?.state, serial);
    return (
      agent?.status === 'up' &&
      partition?.errorCode === '' &&
      partition.domainKeys?.some(
        (key) => key.group === name && key.version < group.domainKeyVersion && key.neededFor === '',
      )
    );
  });
}
