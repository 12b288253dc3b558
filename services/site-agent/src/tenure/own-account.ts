/**
 * The account that this site gives of itself to an operator, while no coordinator answers. It is the site's own word.
 * Nobody has compared it with that of others. Read from journal and memory only.
 */
import { type OwnAccountResponseSchema, roleNumber } from '@antipode/protocol';
import { elapsedMs } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Site } from '../site.ts';

export type OwnAccountPorts = Pick<
  Site,
  'name' | 'version' | 'clock' | 'journal' | 'leases' | 'vouched' | 'partitions' | 'mender'
>;

export function ownAccount(site: OwnAccountPorts): MessageInitShape<typeof OwnAccountResponseSchema> {
  const { name, version, journal, leases, vouched, partitions, mender, clock } = site;
  const seats = journal.tenure.seats();
  const peers = new Map(seats.flatMap(({ group }) => mender.peersOf(group)).map((peer) => [peer.site, peer.address]));
  const nowMs = elapsedMs(clock);
  return {
    site: name,
    version,
    partitions: partitions.all.map((partition) => ({
      name: partition.settings.name,
      serial: partition.serial ?? '',
      errorCode: (partition.failure ?? journal.fault)?.code ?? '',
    })),
    seats: seats.map(({ group, serial, role }) => {
      const { epoch = 0n, owner = '' } = journal.tenure.fence(group) ?? {};
      const round = vouched.of(group);
      const missing = round?.missing.map((one) => one.site) ?? [];
      return {
        group,
        serial,
        role: roleNumber(role),
        epoch,
        epochOwner: owner,
        leaseRemainingMs: BigInt(role === 'active' ? Math.floor(leases.remainingMs(group, epoch)) : 0),
        vouchedBy: (round?.by ?? []).filter((one) => !missing.includes(one)),
        notVouchedBy: missing,
        quarantine: journal.tenure.quarantine(group) ?? '',
      };
    }),
    peers: [...peers].filter(([peer]) => peer !== name).map(([peer, address]) => ({ site: peer, address })),
    ...(vouched.answeredMs === undefined
      ? {}
      : { coordinatorSilenceMs: BigInt(Math.max(0, Math.round(nowMs - vouched.answeredMs))) }),
  };
}
