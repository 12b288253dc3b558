/** The agent's own account: from journal and memory only, so that a slow HSM never delays a heartbeat. */
import { type DescribeResponseSchema, MemberRole } from '@antipode/protocol';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { refOf } from './generation-ref.ts';
import type { Role, Seat } from './journal.ts';
import { headOf, type Site } from './site.ts';

const ROLES: Record<Role, MemberRole> = {
  active: MemberRole.ACTIVE,
  standby: MemberRole.STANDBY,
  fenced: MemberRole.FENCED,
};

export function roleFrom(role: MemberRole): Role | undefined {
  return (Object.keys(ROLES) as Role[]).find((name) => ROLES[name] === role);
}

export function describe(site: Site): MessageInitShape<typeof DescribeResponseSchema> {
  return {
    site: site.name,
    instance: site.instance,
    version: site.version,
    partitions: site.partitions.all.map((partition) => ({
      name: partition.settings.name,
      serial: partition.serial ?? '',
      tokenLabel: partition.settings.tokenLabel,
      module: partition.settings.module,
      isScratch: partition.settings.role === 'scratch',
      identitySha256: partition.identitySha256 ?? '',
      errorCode: partition.failure?.code ?? '',
    })),
    members: site.journal.seats().map((seat) => memberState(site, seat)),
  };
}

export function memberState(site: Site, seat: Seat) {
  const { journal, leases } = site;
  const fence = journal.fence(seat.group);
  const [captured, applied] = [headOf(site, seat.group, 'captured'), headOf(site, seat.group, 'applied')];
  const versions = journal.domainKeys(seat.serial).filter(({ group }) => group === seat.group);
  return {
    group: seat.group,
    serial: seat.serial,
    role: ROLES[seat.role],
    epoch: fence?.epoch ?? 0n,
    epochOwner: fence?.owner ?? '',
    ...(captured === undefined ? {} : { captured: refOf(captured) }),
    ...(applied === undefined ? {} : { applied: refOf(applied) }),
    domainKeyVersion: Math.max(0, ...versions.map(({ version }) => version)),
    leaseRemainingMs: BigInt(
      Math.floor(seat.role === 'active' && fence !== undefined ? leases.remainingMs(seat.group, fence.epoch) : 0),
    ),
    unaccountedObjects: seat.unaccounted,
    divergentObjects: seat.divergent,
  };
}
