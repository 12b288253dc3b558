/** Seats a member as a standby again. */
import { MemberRole } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import { quarantineOf } from '../../groups/contradiction.ts';
import { setRole } from '../../store/tables/groups.ts';
import type { Intent } from '../../store/tables/intents.ts';
import { type EffectContext, fenceOf, ORDER_TIMEOUT_MS } from '../context.ts';
import type { RejoinEvent } from './machine.ts';

export async function rejoin(context: EffectContext, intent: Intent): Promise<RejoinEvent> {
  const group = await context.group(intent);
  const name = group.spec.name;
  const member = group.members.find(({ site }) => site === intent.site);
  if (member === undefined)
    throw new AntipodeError('NOT_FOUND', `site ${intent.site} has no seat in group ${name}`, {
      details: { group: name, site: intent.site },
    });
  if (member.role === 'active')
    throw new AntipodeError('ROLE_REFUSED', `site ${intent.site} is active in group ${name}`, {
      details: { group: name, site: intent.site },
    });
  // A new leader knows of a quarantine only when it has heard the site.
  await context.untilHeard([intent.site]);
  const quarantine = quarantineOf(group, context.ports.detector.view(intent.site));
  if (quarantine !== undefined)
    throw new AntipodeError('SITE_QUARANTINED', `site ${intent.site} is in quarantine: ${quarantine}`, {
      details: { group: name, site: intent.site },
    });
  await context
    .agent(intent.site)
    .setRole(
      { fence: fenceOf(group, intent), serial: member.serial, role: MemberRole.STANDBY },
      { timeoutMs: ORDER_TIMEOUT_MS },
    );
  // The answer can be late. A move may have made this member the active one since.
  await context.writeUnder({ group: name, epoch: group.epoch }, async (trx, record) => {
    await setRole(trx, name, intent.site, 'standby');
    record({ kind: 'member-rejoined', group: name, site: intent.site, details: { epoch: group.epoch } });
  });
  await context.ports.cache.refresh();
  return { type: 'rejoined' };
}
