/** The agent's own account: from journal and memory only, so that a slow HSM never delays a heartbeat. */
import { type DescribeResponseSchema, roleNumber } from '@antipode/protocol';
import { type ErrorCode, hasCode } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { briefRefOf, type GenerationRefInit } from './generation-ref.ts';
import type { Seat } from './journal.ts';
import type { Site } from './site.ts';

export function describe(site: Site): MessageInitShape<typeof DescribeResponseSchema> {
  const seats = site.journal.seats();
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
      unenforced: [...partition.unenforced],
      errorCode: partition.failure?.code ?? troubleOf(site, seats, partition.serial) ?? '',
    })),
    members: seats.map((seat) => memberState(site, seat)),
  };
}

export function memberState(site: Site, seat: Seat) {
  const { journal, leases } = site;
  const fence = journal.fence(seat.group);
  const [captured, applied] = [headRef(site, seat.group, 'captured'), headRef(site, seat.group, 'applied')];
  const versions = journal.domainKeys(seat.serial).filter(({ group }) => group === seat.group);
  return {
    group: seat.group,
    serial: seat.serial,
    role: roleNumber(seat.role),
    epoch: fence?.epoch ?? 0n,
    epochOwner: fence?.owner ?? '',
    ...(captured.ref === undefined ? {} : { captured: captured.ref }),
    ...(applied.ref === undefined ? {} : { applied: applied.ref }),
    domainKeyVersion: Math.max(0, ...versions.map(({ version }) => version)),
    leaseRemainingMs: BigInt(
      Math.floor(seat.role === 'active' && fence !== undefined ? leases.remainingMs(seat.group, fence.epoch) : 0),
    ),
    unaccountedObjects: seat.unaccounted,
    divergentObjects: seat.divergent,
  };
}

/** A manifest that the disk has changed is told as the partition's trouble: this site must be heard all the same. */
function troubleOf(site: Site, seats: readonly Seat[], serial: string | undefined): ErrorCode | undefined {
  const heads = seats
    .filter((seat) => seat.serial === serial)
    .flatMap(({ group }) => [headRef(site, group, 'captured'), headRef(site, group, 'applied')]);
  return heads.find(({ errorCode }) => errorCode !== undefined)?.errorCode;
}

function headRef(
  { journal, store }: Site,
  group: string,
  kind: 'captured' | 'applied',
): { readonly ref?: GenerationRefInit; readonly errorCode?: ErrorCode } {
  const digest = journal.head(group, kind);
  if (digest === undefined) return {};
  try {
    return { ref: briefRefOf(store.summary(digest)) };
  } catch (thrown) {
    if (!hasCode(thrown, 'MANIFEST_INVALID', 'GENERATION_UNKNOWN')) throw thrown;
    return { errorCode: thrown.code };
  }
}
