/**
 * Destroys domain key versions that nothing needs any more, and says why it keeps the others (ADR 0026).
 *
 * A destroyed version cannot be brought back. Everything that only it opens is lost with it, so two parties must agree.
 * The coordinator sees that every member has come as far as the newest generation. This site reads every signed
 * manifest in its own store. A manifest that cannot be read, and work that is under way, are reasons to keep a version.
 */
import type { DomainKeyEnd, DomainKeyRecord } from '@antipode/hsm-core';
import {
  digestOf,
  fenceOf,
  type HeldDomainKey,
  isNewer,
  type RetireDomainKeysRequest,
  type RetireDomainKeysResponseSchema,
} from '@antipode/protocol';
import { AntipodeError, bytesEqual, inSpan } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { inTenure, type OpenPartition } from '../partition/partition.ts';
import type { Site } from '../site.ts';
import type { GenerationSummary } from '../storage/generation-store.ts';
import type { HeadKind } from '../storage/journal/heads.ts';

const KINDS = ['captured', 'applied', 'staged'] as const satisfies readonly HeadKind[];

type Held = Pick<HeldDomainKey, 'group' | 'version' | 'neededFor'>;

/** Every version in a partition, from journal and memory only: what {@link readOneMore} has not read yet is needed. */
export function heldDomainKeys(site: Site, serial: string): Held[] {
  const groups = Map.groupBy(site.journal.domainKeys.of(serial), ({ group }) => group);
  return [...groups].flatMap(([group, held]) => {
    const neededFor = needs(site, { serial, group, held });
    return held.map((record) => ({ group, version: record.version, neededFor: neededFor(record) }));
  });
}

/** Opens one manifest that decides on older versions and has not been opened in the life of this process. */
export async function readOneMore(site: Site): Promise<void> {
  const { journal, store, partitions } = site;
  for (const { serial } of partitions.all) {
    const held = serial === undefined ? [] : journal.domainKeys.of(serial);
    for (const [group, versions] of Map.groupBy(held, (record) => record.group)) {
      if (versions.length < 2) continue;
      const unread = store.list(group).find(({ digest }) => store.knownSummary(digest) === undefined);
      if (unread === undefined) continue;
      await store.isSound(unread.digest);
      return;
    }
  }
}

/** @throws EPOCH_STALE, SITE_QUARANTINED, NOT_FOUND, PEER_NOT_PINNED, PEER_REFUSED, DOMAIN_KEY_MISSING */
export async function retireDomainKeys(
  site: Site,
  request: RetireDomainKeysRequest,
  signal?: AbortSignal,
): Promise<MessageInitShape<typeof RetireDomainKeysResponseSchema>> {
  const fence = fenceOf(request);
  const { group, epoch } = fence;
  const { serial, sources } = request;
  const { journal, partitions, store, transfer, trust } = site;
  const partition = partitions.bySerial(serial);
  const digest = digestOf(request.generation);
  const mayAct = (): void => site.authority.asSite(fence);
  mayAct();
  // A member has it, or has not come as far. A site with nothing but a scratch partition gets it as for a drill.
  if (journal.tenure.seat(group) === undefined) await transfer.pull({ group, digest, sources, signal });
  return partition.use(
    inTenure(fence, (open) =>
      inSpan('retire domain keys', { 'antipode.group': group, 'antipode.epoch': epoch.toString() }, async () => {
        mayAct();
        for (const one of store.list(group)) await store.isSound(one.digest);
        const newest = await store.open(digest, { group });
        trust.checkSource(newest);
        requireNewerKey(open, newest.generation);
        const destroyed: number[] = [];
        const isOlder = (record: DomainKeyRecord): boolean =>
          record.group === group && record.version < newest.generation.domainKeyVersion;
        for (const record of journal.domainKeys.of(serial).filter(isOlder)) {
          // Ask again for each version: the token takes its time, and a delete or a drill may have begun meanwhile.
          const held = journal.domainKeys.of(serial).filter((one) => one.group === group);
          if (newestOf(site, group)?.digest !== digest) break;
          if (needs(site, { serial, group, held })(record) !== '') continue;
          mayAct();
          if (await destroyOne(site, open, { serial, record, requestId: request.fence?.requestId ?? '', mayAct }))
            destroyed.push(record.version);
        }
        await destroyAgain(site, open, { group, serial });
        await open.refreshKeyring();
        const kept = heldDomainKeys(site, serial).filter((one) => one.group === group);
        return { destroyed, kept };
      }),
    ),
    signal,
  );
}

const GONE: ReadonlySet<DomainKeyEnd> = new Set(['destroyed', 'absent']);

/** Whether it is gone for good now. */
async function destroyOne(
  { journal, log }: Site,
  { provider }: OpenPartition,
  {
    serial,
    record,
    requestId,
    mayAct,
  }: { serial: string; record: DomainKeyRecord; requestId: string; mayAct: () => void },
): Promise<boolean> {
  const { group, version } = record;
  // First: after a crash in between, a key that is not there was destroyed, and is not missing.
  journal.domainKeys.beginRetirement(serial, record);
  // Its trusted key first: without the domain key nothing would tell of it.
  const ofTrusted = record.trusted === undefined ? 'absent' : await provider.destroyDomainKey(record.trusted);
  mayAct();
  const end = GONE.has(ofTrusted) ? await provider.destroyDomainKey(record) : ofTrusted;
  const isGone = GONE.has(end);
  journal.domainKeys.endRetirement(serial, record, end === 'kept' || end === 'unproven' ? end : 'destroyed');
  const details = { serial, group, version, request: requestId };
  if (isGone) log.info('domain key destroyed: nothing needs it', { ...details, end });
  else log.warn('a domain key that nothing needs stays in the token', { ...details, why: end });
  return isGone;
}

/**
 * Destroys versions again that were destroyed before and are in the token all the same. The token is an older copy, or
 * was restored from one.
 */
async function destroyAgain(
  { journal, log }: Site,
  { provider }: OpenPartition,
  { group, serial }: { group: string; serial: string },
): Promise<void> {
  for (const record of journal.domainKeys.retired(serial)) {
    if (record.group !== group || record.state !== 'destroyed') continue;
    const end = await provider.destroyDomainKey(record);
    if (end !== 'absent')
      log.warn('a domain key that was destroyed before was in the token again', {
        serial,
        group,
        version: record.version,
        now: end,
      });
  }
}

/** The older ones go only where the one that takes their place is there, and is the very key of the source. */
function requireNewerKey(
  { keyring }: OpenPartition,
  { group, domainKeyVersion: version, domainKeyCheckTag }: Parameters<Site['trust']['checkSource']>[0]['generation'],
): void {
  if (bytesEqual(keyring.domainKey(group, version).checkTag, domainKeyCheckTag)) return;
  throw new AntipodeError(
    'DOMAIN_KEY_MISSING',
    `domain key version ${version} of group ${group} is a different key here than at the source`,
    { details: { group, version } },
  );
}

/** Why a version stays, in words for people; empty where nothing here needs it. Of this moment: ask again before each. */
function needs(
  site: Site,
  { serial, group, held }: { serial: string; group: string; held: readonly DomainKeyRecord[] },
): (record: DomainKeyRecord) => string {
  const newest = newestOf(site, group);
  if (newest === undefined) return () => 'this site has no readable generation';
  const isOlder = ({ version }: DomainKeyRecord): boolean => version < newest.domainKeyVersion;
  // Most partitions hold one version: then there is nothing to ask.
  const ofStore = held.some(isOlder) ? inStore(site, group) : () => undefined;
  const unfinished = underWay(site, { group, serial });
  const retired = site.journal.domainKeys.retired(serial).filter((one) => one.group === group);
  return (record) => {
    const { version, checkTag } = record;
    if (version > newest.domainKeyVersion) return `it is newer than the newest generation here, ${nameOf(newest)}`;
    if (version === newest.domainKeyVersion) return `it seals the newest generation here, ${nameOf(newest)}`;
    const same = held.find((one) => one.version !== version && bytesEqual(one.checkTag, checkTag));
    if (same !== undefined) return `version ${same.version} is the same key`;
    const state = retired.find((one) => one.version === version)?.state;
    if (state === 'kept') return 'the token refuses to destroy it';
    if (state === 'unproven') return 'the object under its id in the token is not proved to be this key';
    return unfinished ?? ofStore(version) ?? '';
  };
}

/** Work that is not finished here, and may need any version. */
function underWay({ journal }: Site, { group, serial }: { group: string; serial: string }): string | undefined {
  if (journal.tenure.quarantine(group) !== undefined) return 'this site is in quarantine';
  const seat = journal.tenure.seat(group);
  if (seat !== undefined) {
    if (seat.role === 'fenced') return 'this member is fenced';
    const [staged, applied] = [journal.heads.of(seat, 'staged'), journal.heads.of(seat, 'applied')];
    if (staged !== undefined && staged !== applied && seat.role === 'standby')
      return 'a generation has been restored and not read back';
    if (journal.heads.hasLeft(seat)) return 'the partition has come back to the group, and is not proved yet';
    if (journal.intents.open(seat).length > 0) return 'an apply was cut short';
    if (journal.decisions.held(seat).length > 0) return 'a capture is held until an operator decides';
  }
  return journal.drills.open(serial) === undefined ? undefined : 'a drill has not ended';
}

/** Why manifests in the store need a version. A manifest that is missing or cannot be read may name any version. */
function inStore({ journal, store }: Site, group: string): (version: number) => string | undefined {
  const all = (why: string) => (): string => why;
  const seat = journal.tenure.seat(group);
  const named = [
    ...(seat === undefined ? [] : KINDS.flatMap((kind) => journal.heads.of(seat, kind) ?? [])),
    ...(seat === undefined ? [] : journal.findings.divergent(seat).map(({ digest }) => digest)),
    ...journal.decisions.asides(group),
  ];
  if (named.some((digest) => !store.has(digest))) return all('a generation in use by this member is not in its store');
  const by = new Map<number, string>();
  for (const { digest } of store.list(group)) {
    const summary = store.knownSummary(digest);
    if (summary === undefined) return all('the generations in the store have not all been read yet');
    if (summary instanceof Error) return all('a generation in the store cannot be read');
    if (summary.versions === undefined)
      return all(`a deletion in ${nameOf(summary)} does not say which version opens it`);
    for (const version of summary.versions)
      if (!by.has(version))
        by.set(
          version,
          version === summary.domainKeyVersion
            ? `${nameOf(summary)} is sealed under it`
            : `it opens deleted objects of ${nameOf(summary)}`,
        );
  }
  // A deleted object stays sealed for as long as this site keeps it, even if no manifest names it any more
  // (collector.ts).
  for (const { version, blobs } of journal.collection.buried(group)) {
    if (!blobs.some((blob) => store.hasBlob(blob))) continue;
    if (version === undefined) return all('a deletion does not say which version opens it');
    if (!by.has(version)) by.set(version, 'it opens deleted objects that are still sealed here');
  }
  return (version) => by.get(version);
}

/** Objects that were set aside are in a generation with number 0 (set-aside.ts). */
const nameOf = ({ epoch, number }: Pick<GenerationSummary, 'epoch' | 'number'>): string =>
  number === 0n ? 'what was set aside here' : `generation ${number} of epoch ${epoch}`;

/**
 * The generation that this member goes by; if the site has no member, the newest in the store. Undefined if it is not
 * known to be whole.
 */
function newestOf({ journal, store }: Site, group: string): GenerationSummary | undefined {
  const seat = journal.tenure.seat(group);
  const digests =
    seat === undefined
      ? store
          .list(group)
          .slice(0, 1)
          .map(({ digest }) => digest)
      : [journal.heads.of(seat, 'captured'), journal.heads.of(seat, 'applied')].filter(
          (digest) => digest !== undefined,
        );
  const summaries = digests.map((digest) => store.knownSummary(digest));
  let newest: GenerationSummary | undefined;
  for (const summary of summaries) {
    if (summary === undefined || summary instanceof Error) return undefined;
    if (newest === undefined || isNewer(summary, newest)) newest = summary;
  }
  return newest;
}
