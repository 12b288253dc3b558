import { type AntipodeError, hasCode, type Log } from '@antipode/runtime';
import type { GenerationStore } from '../storage/generation-store.ts';
import type { HeadKind } from '../storage/journal/heads.ts';
import type { Journal } from '../storage/journal/journal.ts';
import type { Seat } from '../storage/journal/tenure.ts';
import type { PeerAddress } from './peers.ts';
import type { Transfer } from './transfer.ts';

const KINDS = ['captured', 'applied', 'staged'] as const satisfies readonly HeadKind[];

export interface MenderPorts {
  readonly journal: Journal;
  readonly store: GenerationStore;
  readonly transfer: Transfer;
  readonly log: Log;
}

interface Request {
  /** Members that an order names as sources. */
  readonly sources?: readonly PeerAddress[];
  readonly signal?: AbortSignal | undefined;
}

export class Mender {
  readonly #ports: MenderPorts;
  /** The other members of each group, as the coordinator last reported them. */
  readonly #peers = new Map<string, readonly PeerAddress[]>();

  constructor(ports: MenderPorts) {
    this.#ports = ports;
  }

  learn(group: string, peers: readonly PeerAddress[]): void {
    this.#peers.set(
      group,
      peers.map(({ site, address }) => ({ site, address })),
    );
  }

  /** The other members of a group, as the coordinator last reported them. */
  peersOf(group: string): readonly PeerAddress[] {
    return this.#peers.get(group) ?? [];
  }

  /** Where a member of the group is, as the coordinator last reported it; empty where it did not. */
  addressOf(group: string, site: string): string {
    return this.#peers.get(group)?.find((peer) => peer.site === site)?.address ?? '';
  }

  /** Every group of this site; what could not be mended is tried again at the next pass. */
  async mendAll(signal?: AbortSignal): Promise<void> {
    let first: unknown;
    for (const { group } of this.#ports.journal.tenure.seats()) {
      try {
        await this.mend(group, { signal });
      } catch (thrown) {
        first ??= thrown;
      }
    }
    if (first !== undefined) throw first;
  }

  /**
   * Makes the generations by which this member goes readable again: its heads, and those that have the entries of divergent
   * objects. Costs nothing where they are.
   * @throws SITE_UNREACHABLE, GENERATION_UNKNOWN, MANIFEST_INVALID, BLOB_INVALID as {@link Transfer.pull} does
   */
  async mend(group: string, request: Request = {}): Promise<void> {
    const { journal, store } = this.#ports;
    const seat = journal.tenure.seat(group);
    for (const kind of seat === undefined ? [] : KINDS) {
      const digest = journal.heads.of(seat!, kind);
      if (digest !== undefined && !(await store.isSound(digest)))
        await this.#mendHead(seat!, { kind, digest, request });
    }
    for (const digest of journal.findings.divergentDigests(group))
      if (!(await store.isSound(digest))) await this.#fetch(group, digest, request).catch(ignoreAbsent);
    await this.#mendBlobs(group, request);
  }

  async #mendHead(
    seat: Seat,
    { kind, digest, request }: { kind: HeadKind; digest: string; request: Request },
  ): Promise<void> {
    const { group } = seat;
    const { journal, log } = this.#ports;
    try {
      await this.#fetch(group, digest, request);
      log.info('a damaged generation was fetched again', { group, head: kind, generation: digest });
    } catch (thrown) {
      if (!isGoneEverywhere(thrown) || !this.#knowsAll(group, request)) throw thrown;
      const isActive = journal.tenure.seat(group)?.role === 'active';
      const older = isActive && kind === 'captured' ? await this.#newestSound(group) : undefined;
      if (journal.heads.of(seat, kind) !== digest) return;
      if (older !== undefined) journal.heads.set(seat, kind, older);
      // A standby without this head counts as one that has not applied it, and gets the newest generation again.
      else if (!isActive && kind !== 'captured') journal.heads.drop(seat, kind);
      else throw thrown;
      const goesOnFrom = older ?? 'the next one that is applied';
      log.error('no member has this generation', { group, head: kind, lost: digest, goesOnFrom });
    }
  }

  /** Sealed objects that were found to be missing or damaged when somebody asked for them. */
  async #mendBlobs(group: string, request: Request): Promise<void> {
    const { journal, store } = this.#ports;
    if (store.damaged.size === 0) return;
    const seat = journal.tenure.seat(group);
    for (const digest of new Set(seat === undefined ? [] : KINDS.map((kind) => journal.heads.of(seat, kind)))) {
      if (digest === undefined) continue;
      const blobs = await store.blobsOf(digest, { group });
      if (![...store.damaged].some((blob) => blobs.has(blob))) continue;
      // If no member has a sealed object any more, an active member seals it again: see `lost` in capture.ts.
      await this.#fetch(group, digest, request).catch(ignoreAbsent);
    }
  }

  #fetch(group: string, digest: string, { sources = [], signal }: Request): Promise<unknown> {
    const known = this.#peers.get(group) ?? [];
    const named = new Set(sources.map(({ site }) => site));
    const all = [...sources, ...known.filter(({ site }) => !named.has(site))];
    return this.#ports.transfer.pull({ group, digest, sources: all.filter(({ address }) => address !== ''), signal });
  }

  /** Whether every other member could be asked. Without the coordinator's word nobody here knows who they are. */
  #knowsAll(group: string, { sources = [] }: Request): boolean {
    const known = this.#peers.get(group);
    const named = new Set(sources.map(({ site }) => site));
    return known?.every(({ site, address }) => address !== '' || named.has(site)) ?? false;
  }

  async #newestSound(group: string): Promise<string | undefined> {
    for (const { digest } of this.#ports.store.list(group)) if (await this.#ports.store.isSound(digest)) return digest;
    return undefined;
  }
}

/** Everybody was asked, and nobody has it whole. One that could not be asked may have it. */
function isGoneEverywhere(thrown: unknown): thrown is AntipodeError {
  return hasCode(thrown, 'GENERATION_UNKNOWN', 'MANIFEST_INVALID', 'BLOB_INVALID');
}

function ignoreAbsent(thrown: unknown): void {
  if (!isGoneEverywhere(thrown) && !hasCode(thrown, 'SITE_UNREACHABLE')) throw thrown;
}
