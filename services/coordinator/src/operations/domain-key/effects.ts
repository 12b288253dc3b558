/** Seats members, and brings a domain key version to them: the first one, or the next at a rotation. */

import { type PartitionState, roleNumber } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import { activeOf, type Group, type Seat } from '../../model.ts';
import { partitionIn, seatIn } from '../../sites/accounts.ts';
import { orderNextVersion, useVersion } from '../../store/tables/groups.ts';
import type { Intent } from '../../store/tables/intents.ts';
import { type EffectContext, fenceOf, ORDER_TIMEOUT_MS, requireActive, WORK_TIMEOUT_MS } from '../context.ts';
import type { DomainKeyEffect, DomainKeyEvent, DomainKeyFailure } from './machine.ts';

/** A group without a live standby is not protected by any key. */
const LIVE_MEMBERS_MIN = 2;

export async function domainKey(
  context: EffectContext,
  intent: Intent,
  effect: DomainKeyEffect,
): Promise<DomainKeyEvent> {
  await untilHeard(context, intent, effect);
  const group = await context.group(intent);
  const name = group.spec.name;
  switch (effect.type) {
    case 'seat-members': {
      // The first active member is seated by order; later ones are promoted.
      const toSeat = group.members.filter(
        ({ role, site }) => !(role === 'active' && group.epoch > group.firstEpoch) && isWanted(context, group, site),
      );
      const fence = await context.guarded(group, intent, fenceOf(group, intent), 'enrol');
      await Promise.all(
        toSeat.map(({ site, serial, role }) =>
          context.agent(site).setRole(
            {
              fence,
              serial,
              role: roleNumber(role),
              founding: group.epoch === group.firstEpoch && group.domainKeyVersion === 0,
            },
            { timeoutMs: ORDER_TIMEOUT_MS },
          ),
        ),
      );
      return { type: 'seated' };
    }
    case 'order-version': {
      // A number is used up for ever: none is, while nobody could bring the key, or receive it.
      bringerOf(context, group);
      receiversOf(context, group);
      return { type: 'version-ordered', version: await context.write((trx) => orderNextVersion(trx, name)) };
    }
    case 'distribute': {
      const bringer = bringerOf(context, group);
      const members = receiversOf(context, group);
      const { failures } = await context.agent(bringer.site).distributeDomainKey(
        {
          fence: await context.guarded(group, intent, fenceOf(group, intent), 'enrol'),
          version: effect.version,
          distributorSerial: bringer.distributorSerial,
          members: members.map(({ site, serial }) => ({ site: context.ports.agents.address(site), serial })),
        },
        { timeoutMs: WORK_TIMEOUT_MS },
      );
      return {
        type: 'distributed',
        sites: members.map(({ site }) => site),
        failures: failures.map(({ serial, code, message }) => ({ serial, code, message })),
      };
    }
    case 'use-version': {
      const { version, sites } = effect;
      const failures = awaitedOfficers(context, group, { version, sites });
      if (failures.length > 0) return { type: 'officers-awaited', failures };
      await context.write(async (trx, record) => {
        await useVersion(trx, name, version);
        record({ kind: 'domain-key-in-use', group: name, details: { version, sites: sites.length } });
      });
      await context.ports.cache.refresh();
      return { type: 'version-used' };
    }
  }
}

/**
 * A new leader has not heard everybody yet. It must not leave out a member that is there, which would need a further
 * version, nor a security officer who has not trusted the version yet.
 */
async function untilHeard(context: EffectContext, intent: Intent, effect: DomainKeyEffect): Promise<void> {
  if (effect.type === 'order-version') return;
  const { domainKeyVersion, members, joining, spec } = await context.group(intent);
  if (domainKeyVersion === 0) return;
  const sites = [...members, ...joining, ...spec.scratch].map(({ site }) => site);
  await context.untilHeard(effect.type === 'use-version' ? effect.sites : sites);
}

/** The partitions that can receive a domain key now. @throws SITE_UNREACHABLE where no copy of it would be at another site */
function receiversOf(context: EffectContext, group: Group): Seat[] {
  const receivers = [...group.members, ...group.joining, ...group.spec.scratch].filter(({ site }) =>
    isWanted(context, group, site),
  );
  const sitesNeeded = Math.min(LIVE_MEMBERS_MIN, group.members.length);
  if (group.domainKeyVersion === 0 || new Set(receivers.map(({ site }) => site)).size >= sitesNeeded) return receivers;
  throw new AntipodeError('SITE_UNREACHABLE', 'no standby can be reached to receive a new domain key', {
    details: { group: group.spec.name },
    hint: `Bring a standby back. If it is lost for good, remove it: \`antipode group remove-member ${group.spec.name} SITE\`. Replication continues under the version in use.`,
  });
}

/** Who makes the domain keys of a group. A distributor that is away holds up nothing else. @throws SITE_UNREACHABLE */
function bringerOf({ ports }: EffectContext, group: Group): { site: string; distributorSerial: string } {
  const active = requireActive(group);
  const { distributor } = group.spec;
  if (distributor === undefined) return { site: active.site, distributorSerial: '' };
  const { site, serial } = distributor;
  if (ports.detector.view(site)?.status === 'up') return { site, distributorSerial: serial };
  throw new AntipodeError(
    'SITE_UNREACHABLE',
    `the distributor of group ${group.spec.name}, at site ${site}, cannot be reached`,
    {
      details: { group: group.spec.name, site },
      hint: `Check the site of the distributor. New domain keys wait for it. Replication and failover continue. If it is lost, run \`antipode peer trust ${group.spec.name} --distributor-peer SITE=SERIAL=SHA256\` for another one at every site, then \`antipode group set-distributor ${group.spec.name} --distributor SITE=SERIAL\`.`,
    },
  );
}

/**
 * The partitions that keep a rotation waiting. Each has received the new version, but its security officer has not
 * trusted it yet, so some keys can only be wrapped under the version in use. Nothing waits if the active member has
 * lost the version in use, because it captures nothing at all then.
 */
function awaitedOfficers(
  { ports }: EffectContext,
  group: Group,
  { version, sites }: { version: number; sites: readonly string[] },
): DomainKeyFailure[] {
  const name = group.spec.name;
  const trusts = (one: PartitionState | undefined, wanted: number): boolean =>
    one?.trusted?.some((key) => key.group === name && key.version === wanted) === true;
  const active = ports.detector.view(activeOf(group)?.site ?? '')?.state;
  const held = seatIn(active, name)?.domainKeyVersion ?? group.domainKeyVersion;
  if (held < group.domainKeyVersion) return [];
  return [...group.members, ...group.joining, ...group.spec.scratch]
    .filter(({ site }) => sites.includes(site))
    .flatMap(({ site, serial }) => {
      const partition = partitionIn(ports.detector.view(site)?.state, serial);
      if (!trusts(partition, group.domainKeyVersion) || trusts(partition, version)) return [];
      const message = `the security officer of site ${site} has not trusted domain key version ${version} yet (antipode partition trust-domain-key ${partition?.name ?? ''}), so version ${group.domainKeyVersion} stays in use`;
      return [{ serial, code: 'DOMAIN_KEY_UNTRUSTED', message }];
    });
}

/** A first version goes to everybody. A later one to those that are there: who missed it gets the next one. */
function isWanted({ ports }: EffectContext, group: Group, site: string): boolean {
  return group.domainKeyVersion === 0 || site === activeOf(group)?.site || ports.detector.view(site)?.status === 'up';
}
