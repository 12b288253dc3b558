/** Seats members and brings a domain key version to them. */
import { AntipodeError } from '@antipode/runtime';
import type { EnrolmentEffect, EnrolmentEvent } from '../machines/enrolment.ts';
import { activeOf, type Group } from '../model.ts';
import { orderVersion, useVersion } from '../store/groups.ts';
import type { Intent } from '../store/intents.ts';
import { type EffectContext, fenceOf, ORDER_TIMEOUT_MS, ROLES, requireActive, WORK_TIMEOUT_MS } from './context.ts';

/** A group without a live standby is not protected by any key (design, section 4). */
const LIVE_MEMBERS_MIN = 2;

export async function enrolment(
  context: EffectContext,
  intent: Intent,
  effect: EnrolmentEffect,
): Promise<EnrolmentEvent> {
  const group = await context.group(intent);
  const name = group.spec.name;
  switch (effect.type) {
    case 'seat-members': {
      // The first active member is seated by order; later ones are promoted.
      const toSeat = group.members.filter(
        ({ role, site }) => !(role === 'active' && group.epoch > 1n) && isWanted(context, group, site),
      );
      await Promise.all(
        toSeat.map(({ site, serial, role }) =>
          context
            .agent(site)
            .setRole({ fence: fenceOf(group, intent), serial, role: ROLES[role] }, { timeoutMs: ORDER_TIMEOUT_MS }),
        ),
      );
      return { type: 'seated' };
    }
    case 'order-version': {
      const version = group.highestVersion + 1;
      await context.write((trx) => orderVersion(trx, name, version));
      return { type: 'version-ordered', version };
    }
    case 'distribute': {
      const active = requireActive(group);
      const members = [...group.members, ...group.spec.scratch].filter(({ site }) => isWanted(context, group, site));
      if (group.domainKeyVersion > 0 && new Set(members.map(({ site }) => site)).size < LIVE_MEMBERS_MIN) {
        throw new AntipodeError('SITE_UNREACHABLE', 'no standby can be reached to share a new domain key with', {
          details: { group: name },
        });
      }
      const { failures } = await context.agent(active.site).distributeDomainKey(
        {
          fence: fenceOf(group, intent),
          version: effect.version,
          members: members.map(({ site, serial }) => ({ site: context.ports.agents.address(site), serial })),
        },
        { timeoutMs: WORK_TIMEOUT_MS },
      );
      if (failures.length === 0) {
        await context.write(async (trx, record) => {
          await useVersion(trx, name, effect.version);
          record({
            kind: 'domain-key-in-use',
            group: name,
            details: { version: effect.version, partitions: members.length },
          });
        });
        await context.ports.cache.refresh();
      }
      return {
        type: 'distributed',
        sites: members.map(({ site }) => site),
        failures: failures.map(({ serial, code, message }) => ({ serial, code, message })),
      };
    }
  }
}

/** A first version goes to everybody. A later one to those that are there: who missed it gets the next one. */
function isWanted({ ports }: EffectContext, group: Group, site: string): boolean {
  return group.domainKeyVersion === 0 || site === activeOf(group)?.site || ports.detector.view(site)?.status === 'up';
}
