/**
 * The agent's own account of itself. It reads journal, store and memory only, so that a slow HSM never delays a
 * heartbeat. The manifests of the heads are opened first. The rest is read in one piece, so that all facts about a
 * group are of the same moment.
 */
import { FORMAT_HIGHEST } from '@antipode/hsm-core';
import { certificateInfo, type DescribeResponseSchema, roleNumber } from '@antipode/protocol';
import { AntipodeError, fromHex } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { weightiestFirst } from '../partition/not-carried.ts';
import type { Partition } from '../partition/partition.ts';
import type { Site } from '../site.ts';
import type { Seat } from '../storage/journal/tenure.ts';
import { toldVaults } from '../vaults/orders/told.ts';
import { heldDomainKeys, readOneMore } from './domain-key-retirement.ts';
import { briefRefOf } from './generation-ref.ts';

/** The heads that a member goes by. A `staged` generation becomes one of them when it has been read back. */
export const HEADS = ['captured', 'applied'] as const;

/** A heartbeat carries them: the coordinator has recorded the earlier ones. */
const APPROVAL_USES_SHOWN = 16;

/** Work pauses for moments, to write or to fetch something. A heartbeat that told of each would be longer for nothing. */
const STALLED_TOLD_MS = 1_000;

export async function describe(site: Site): Promise<MessageInitShape<typeof DescribeResponseSchema>> {
  await readOneMore(site);
  await countAndOpen(site);
  const seats = site.journal.tenure.seats();
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
      isDistributor: partition.settings.role === 'distributor',
      identitySha256: partition.identitySha256 ?? '',
      unenforced: [...partition.unenforced, ...(lacksReceivingKey(partition) ? ['receiving-key'] : [])],
      silentSlots: [...partition.silentSlots],
      cloningDomain: fromHex(partition.cloningDomain ?? ''),
      unansweredMs: Math.round(partition.unansweredMs),
      stalledMs: partition.stalledMs < STALLED_TOLD_MS ? 0 : Math.round(partition.stalledMs),
      ordersWaiting: partition.ordersWaiting,
      domainKeys: partition.serial === undefined ? [] : heldDomainKeys(site, partition.serial),
      ...trustOf(site, partition.serial),
      ...problemOf(partition.failure ?? site.journal.fault ?? troubleOf(site, seats, partition.serial)),
    })),
    journalErrorCode: site.journal.fault?.code ?? '',
    journalErrorMessage: messageOf(site.journal.fault),
    ...(site.certificate === undefined ? {} : { certificate: certificateInfo(site.certificate()) }),
    ...(site.revocations === undefined ? {} : { revocations: site.revocations() }),
    members: seats.map((seat) => memberState(site, seat)),
    witnessed: site.journal.tenure.witnessed(),
    vaults: toldVaults(site),
    highestTerm: site.terms.highest?.term ?? 0n,
    manifestFormat: FORMAT_HIGHEST,
    journal: {
      ...site.journal.account,
      runs: [...site.journal.account.runs],
      quarantined: site.journal.tenure.quarantined(),
    },
    approvalRules: site.approvalRules.listed.map(({ group, policy: { required, breakGlass, operators } }) => ({
      group,
      required,
      breakGlass,
      operators: operators.map(({ name }) => name),
    })),
    approvalUses: site.journal.approvals.latest(APPROVAL_USES_SHOWN).map(({ operation, usedMs, ...use }) => ({
      digest: use.digest,
      group: use.group,
      action: use.action,
      operationId: operation,
      requestedBy: use.requestedBy,
      approvedBy: [...use.approvedBy],
      usedMs: BigInt(usedMs),
    })),
  };
}

/** More often than one order changes the journal while a manifest is opened. */
const COUNTS_MAX = 4;

/**
 * Opens the heads and counts what is set aside, again if an order has changed the journal meanwhile. An object that has
 * just left the token would otherwise be in neither count.
 */
async function countAndOpen(site: Site): Promise<void> {
  for (let count = 0; count < COUNTS_MAX; count += 1) {
    await openHeads(site);
    await site.setAside.refresh();
    if (site.setAside.isCurrent()) return;
  }
}

/** A distributor receives nothing. */
const lacksReceivingKey = ({ settings, hasReceivingKey }: Partition): boolean =>
  settings.role !== 'distributor' && !hasReceivingKey;

/** Trusted keys in the token, and delivered ones that the security officer has yet to bring into it. */
function trustOf({ journal, partitions }: Site, serial = '') {
  const trusted = partitions.all.find((partition) => partition.serial === serial)?.trusted ?? [];
  const refs = (keys: readonly { group: string; version: number }[]) =>
    keys.map(({ group, version }) => ({ group, version }));
  return { trusted: refs(trusted), awaitingOfficer: refs(journal.domainKeys.delivered(serial)) };
}

function problemOf(error: AntipodeError | undefined): { errorCode: string; errorMessage: string; returnValue: string } {
  const returnValue = error?.details['returnValue'];
  return {
    errorCode: error?.code ?? '',
    errorMessage: messageOf(error),
    returnValue: typeof returnValue === 'string' ? returnValue : '',
  };
}

/** Without its code, which stands beside it. */
const messageOf = (error: AntipodeError | undefined): string => error?.message.replace(`[${error.code}] `, '') ?? '';

/** After a start, nothing is known of the heads but their digests. */
export async function openHeads({ journal, store }: Site): Promise<void> {
  for (const seat of journal.tenure.seats()) {
    for (const kind of HEADS) {
      const digest = journal.heads.of(seat, kind);
      if (digest !== undefined) await store.isSound(digest);
    }
  }
}

/** The heads of the group have been opened, by a capture, an apply or {@link openHeads}. */
export function memberState(site: Site, seat: Seat) {
  const { journal, leases } = site;
  const fence = journal.tenure.fence(seat.group);
  const [captured, applied] = [headRef(site, seat, 'captured'), headRef(site, seat, 'applied')];
  const unproved = journal.heads.hasLeft(seat);
  const versions = journal.domainKeys.of(seat.serial).filter(({ group }) => group === seat.group);
  return {
    group: seat.group,
    serial: seat.serial,
    role: roleNumber(seat.role),
    epoch: fence?.epoch ?? 0n,
    epochOwner: fence?.owner ?? '',
    ...(captured.ref === undefined ? {} : { captured: captured.ref }),
    // After it has left the group and come back, it has nothing until that is proved again.
    ...(applied.ref === undefined || unproved ? {} : { applied: applied.ref }),
    unproved,
    domainKeyVersion: Math.max(0, ...versions.map(({ version }) => version)),
    leaseRemainingMs: BigInt(
      Math.floor(seat.role === 'active' && fence !== undefined ? leases.remainingMs(seat.group, fence.epoch) : 0),
    ),
    unaccountedObjects: seat.unaccounted,
    divergentObjects: seat.divergent,
    keptObjects: journal.findings.kept(seat).size,
    setAsideObjects: site.setAside.of(seat.group).waiting,
    keptAsideObjects: site.setAside.of(seat.group).kept,
    namesakeObjects: seat.role === 'standby' ? journal.findings.namesakes(seat) : 0,
    ...sharedNames(site, seat),
    heldObjects: seat.role === 'active' ? journal.decisions.held(seat).length : 0,
    ...refusedObjects(site, seat),
    ...(seat.role === 'active' ? notCarriedObjects(site, seat) : {}),
  };
}

/** In the newest generation here: every member that has it reports the same. */
function sharedNames({ journal, store }: Site, seat: Seat) {
  const [newest] = HEADS.flatMap((kind) => {
    const digest = journal.heads.of(seat, kind);
    const known = digest === undefined ? undefined : store.knownSummary(digest);
    return known === undefined || known instanceof AntipodeError ? [] : [known];
  }).sort((a, b) => Number(b.epoch - a.epoch) || Number(b.number - a.number));
  if (newest === undefined) return {};
  const { id, label, pair } = newest.sharedNames;
  return { sharedIdObjects: id, sharedLabelObjects: label, strayHalfObjects: pair };
}

function notCarriedObjects({ journal }: Site, seat: Seat) {
  const objects = journal.findings.notCarried(seat);
  const { first, weighty } = weightiestFirst(objects);
  return {
    notCarried: first
      .slice(0, REFUSED_TOLD_MAX)
      .map(({ objectId, kind, attributes }) => ({ objectId, kind, attributes: [...attributes] })),
    notCarriedObjects: objects.length,
    notCarriedWeighty: weighty,
  };
}

function refusedObjects({ journal, refusedRetries }: Site, seat: Seat) {
  const refused = journal.findings.refused(seat);
  return {
    refused: refused.slice(0, REFUSED_TOLD_MAX),
    refusedObjects: refused.length,
    refusedRetryDue: seat.role === 'standby' && refused.length > 0 && refusedRetries.isDue(seat),
  };
}

/** A list for people, in every heartbeat; the count beside it is whole. */
const REFUSED_TOLD_MAX = 100;

/**
 * A manifest that was damaged on disk is reported as the partition's trouble. It does not stop the heartbeat: the
 * coordinator must hear this site all the same.
 */
function troubleOf(site: Site, seats: readonly Seat[], serial: string | undefined): AntipodeError | undefined {
  const heads = seats
    .filter((seat) => seat.serial === serial)
    .flatMap((seat) => HEADS.map((kind) => headRef(site, seat, kind)));
  return heads.find(({ error }) => error !== undefined)?.error;
}

function headRef(
  { journal, store }: Site,
  seat: Seat,
  kind: (typeof HEADS)[number],
): { readonly ref?: ReturnType<typeof briefRefOf>; readonly error?: AntipodeError } {
  const digest = journal.heads.of(seat, kind);
  const known = digest === undefined ? undefined : store.knownSummary(digest);
  if (known === undefined) return {};
  return known instanceof AntipodeError ? { error: known } : { ref: briefRefOf(known) };
}
