/**
 * Moves sealed generations between agents. The destination pulls, since only that direction is fast over a WAN. In one
 * stream it pulls only what it does not have, or what its own disk has changed. Every batch is stored as it arrives, so
 * that a broken link costs only what was in flight. A caller that asks in the name of a group gets generations of that
 * group and nothing else.
 */
import { blobsNamed, openingSigned, type SealedGeneration } from '@antipode/hsm-core';
import {
  digestOf,
  isUnreachable,
  type PullBlobsRequest,
  type PullManifestRequest,
  type PullManifestResponse,
} from '@antipode/protocol';
import {
  AntipodeError,
  bytesEqual,
  type Clock,
  fromHex,
  hasCode,
  hex,
  type Log,
  runInSlices,
  sha256,
} from '@antipode/runtime';

import { checkCaller } from '../partition/turns.ts';
import type { GenerationStore } from '../storage/generation-store.ts';
import type { Peer, PeerAddress, Peers } from './peers.ts';
import type { Trust } from './trust.ts';

/** One message on the wire: small enough to interleave, large enough to be no burden. */
const PART_BYTES = 256 * 1024;
/** As many blobs, however small: a few milliseconds of work at either end, and one commit at this. */
const BLOBS_A_PART = 1_000;
/** As many digests as one request may name. */
const DIGESTS_MAX = 10_000;
/** A manifest of 100,000 objects has some 60 MB. */
const MANIFEST_BYTES_MAX = 256 * 1024 * 1024;
const PULL_TIMEOUT_MS = 10 * 60_000;

interface Wanted {
  readonly group: string;
  readonly digest: string;
  readonly signal?: AbortSignal | undefined;
}

export interface Pulled {
  readonly sealed: SealedGeneration;
  readonly blobs: number;
  readonly bytes: number;
}

export interface TransferPorts {
  readonly store: GenerationStore;
  readonly peers: Pick<Peers, 'client'>;
  readonly trust: Trust;
  readonly log: Log;
  readonly clock: Clock;
}

export class Transfer {
  readonly #options: TransferPorts;

  constructor(options: TransferPorts) {
    this.#options = options;
  }

  // --- serving ---

  /**
   * `caller` is the site that asks. It gets nothing unless one of its partitions is pinned. The generation is opened,
   * since its blobs will be asked for next. So there is one copy of it here, however many sites pull.
   * @throws PEER_REFUSED
   */
  async *manifest(
    { generation, group }: PullManifestRequest,
    caller: string,
  ): AsyncIterable<{ part: Uint8Array; size?: bigint }> {
    this.#checkCaller(group, caller);
    const { signed, digest } = await this.#options.store.open(digestOf(generation), { group });
    this.#isServed(digest);
    for (let start = 0; start < signed.length; start += PART_BYTES) {
      const part = signed.subarray(start, start + PART_BYTES);
      yield start === 0 ? { part, size: BigInt(signed.length) } : { part };
    }
  }

  /** @throws PEER_REFUSED, REQUEST_INVALID, GENERATION_UNKNOWN */
  async *blobs(
    { group, sha256: digests, generation }: PullBlobsRequest,
    caller: string,
  ): AsyncIterable<{ blobs: Uint8Array[] }> {
    this.#checkCaller(group, caller);
    if (digests.length > DIGESTS_MAX)
      throw new AntipodeError('REQUEST_INVALID', `at most ${DIGESTS_MAX} digests a call`, {
        details: { field: 'sha256' },
      });
    const listed = await this.#options.store.blobsOf(digestOf(generation), { group });
    this.#isServed(digestOf(generation));
    const foreign = digests.find((digest) => !listed.has(hex(digest)));
    if (foreign !== undefined)
      throw new AntipodeError('REQUEST_INVALID', 'sha256 names a sealed object that the generation does not have', {
        details: { field: 'sha256', blob: hex(foreign) },
      });
    let batch: Uint8Array[] = [];
    let bytes = 0;
    for (const digest of digests) {
      const blob = this.#options.store.blob(hex(digest));
      batch.push(blob);
      bytes += blob.length;
      if (bytes < PART_BYTES && batch.length < BLOBS_A_PART) continue;
      yield { blobs: batch };
      [batch, bytes] = [[], 0];
    }
    if (batch.length > 0) yield { blobs: batch };
  }

  /** A site that asks for a part of a generation will ask for the rest. */
  #isServed(digest: string): void {
    const { store, clock } = this.#options;
    store.inUse.served(digest, clock.monotonicMs());
  }

  #checkCaller(group: string, caller: string): void {
    if (this.#options.trust.knowsSite(group, caller)) return;
    throw new AntipodeError('PEER_REFUSED', `no partition of site ${caller} is pinned for group ${group}`, {
      details: { group, site: caller },
    });
  }

  // --- pulling ---

  /**
   * Makes a generation present here, and sound: from what is here already, and for the rest from the first source that has
   * it whole. A source with something else is passed over.
   * @throws MANIFEST_INVALID, BLOB_INVALID when all sources were asked and none is whole (then nothing of it is visible),
   * SITE_UNREACHABLE, GENERATION_UNKNOWN, PEER_NOT_PINNED, FILE_UNWRITABLE
   */
  async pull(wanted: Wanted & { sources: readonly PeerAddress[] }): Promise<Pulled> {
    const { log } = this.#options;
    const local = await this.#local(wanted);
    if (local.sealed !== undefined && local.fault === undefined) return { sealed: local.sealed, blobs: 0, bytes: 0 };
    if (local.fault !== undefined) log.warn('a generation in the store is damaged and is pulled again', local);
    let rotten = local.fault;
    let unreachable: AntipodeError | undefined;
    let last: AntipodeError | undefined;
    for (const source of wanted.sources) {
      checkCaller(wanted.signal);
      try {
        return await this.#pullFrom(source, { ...wanted, known: local.sealed });
      } catch (thrown) {
        checkCaller(wanted.signal);
        if (!isOfSource(thrown)) throw thrown;
        const isRotten = hasCode(thrown, 'MANIFEST_INVALID', 'BLOB_INVALID');
        log.at(isRotten ? 'warn' : 'debug', 'source cannot serve the generation', { site: source.site, error: thrown });
        if (isRotten) rotten ??= thrown;
        if (isUnreachable(thrown)) unreachable = thrown;
        last = thrown;
      }
    }
    // A source that could not be asked may have the whole generation, so a person is not needed yet.
    throw (
      unreachable ??
      rotten ??
      last ??
      new AntipodeError('GENERATION_UNKNOWN', 'no source was named for the generation', {
        details: { generation: wanted.digest },
      })
    );
  }

  /**
   * The part of a generation that is here: nothing, its manifest with blobs that are missing or changed, or all of it.
   */
  async #local({
    group,
    digest,
  }: Wanted): Promise<{ readonly sealed?: SealedGeneration; readonly fault?: AntipodeError }> {
    const { store } = this.#options;
    if (!store.has(digest)) return {};
    try {
      const sealed = await this.#verify(store.signed(digest), { group, digest });
      for (const page of pagesOf(blobsNamed(sealed.generation))) {
        const [blob] = await store.unsound(page);
        if (blob === undefined) continue;
        const details = { generation: digest, blob };
        return {
          sealed,
          fault: new AntipodeError('BLOB_INVALID', 'a sealed object in the store is damaged', { details }),
        };
      }
      return { sealed };
    } catch (thrown) {
      if (!hasCode(thrown, 'MANIFEST_INVALID')) throw thrown;
      return { fault: thrown };
    }
  }

  async #pullFrom(
    source: PeerAddress,
    { group, digest, signal, known }: Wanted & { known: SealedGeneration | undefined },
  ): Promise<Pulled> {
    const { peers } = this.#options;
    const peer = peers.client(source);
    const options = { timeoutMs: PULL_TIMEOUT_MS, ...(signal === undefined ? {} : { signal }) };
    const generation = { manifestDigest: fromHex(digest) };
    const manifest = async (): Promise<SealedGeneration> =>
      this.#verify(await received(peer.pullManifest({ group, generation }, options)), { group, digest });
    const sealed = known ?? (await manifest());
    const fetching = () => this.#pullBlobs(source, { peer, sealed, options });
    return this.#options.store.inUse.during(sealed, fetching);
  }

  async #pullBlobs(
    source: PeerAddress,
    { peer, sealed, options }: { peer: Peer; sealed: SealedGeneration; options: Parameters<Peer['pullBlobs']>[1] },
  ): Promise<Pulled> {
    const { store } = this.#options;
    const { group } = sealed.generation;
    const generation = { manifestDigest: fromHex(sealed.digest) };
    let [pulled, bytes] = [0, 0];
    for (const named of pagesOf(blobsNamed(sealed.generation))) {
      const page = await store.unsound(named);
      if (page.length === 0) continue;
      pulled += page.length;
      let next = 0;
      for await (const { blobs } of peer.pullBlobs({ group, generation, sha256: page.map(fromHex) }, options)) {
        // Answers without an end that bring nothing: what is lacking is said below.
        if (blobs.length === 0) break;
        for (const blob of blobs) {
          const expected = page[next];
          if (expected === undefined || !bytesEqual(sha256(blob), fromHex(expected))) {
            throw new AntipodeError(
              'BLOB_INVALID',
              `site ${source.site} sent a sealed object that does not match its digest in the manifest`,
              { details: { site: source.site, expected: expected ?? 'none' } },
            );
          }
          next += 1;
          bytes += blob.length;
        }
        store.putBlobs(blobs);
      }
      if (next < page.length)
        throw new AntipodeError(
          'GENERATION_UNKNOWN',
          `site ${source.site} sent ${next} of ${page.length} sealed objects`,
          { details: { site: source.site } },
        );
    }
    await store.put(sealed);
    return { sealed, blobs: pulled, bytes };
  }

  /** Against our own pins, each time: one that was taken away counts at once. */
  async #verify(signed: Uint8Array, { group, digest }: { group: string; digest: string }): Promise<SealedGeneration> {
    const { trust, clock } = this.#options;
    const sealed = await runInSlices(
      openingSigned(signed, {
        group,
        isPinned: (identity) => trust.find(group, identity) !== undefined,
        expectedDigest: digest,
      }),
      clock,
    );
    trust.checkSource(sealed);
    return sealed;
  }
}

/** Collects the parts into a buffer of the announced size. A manifest of any other size then fails the digest check. */
async function received(parts: AsyncIterable<PullManifestResponse>): Promise<Uint8Array> {
  let signed: Uint8Array | undefined;
  let length = 0;
  for await (const { part, size } of parts) {
    signed ??= new Uint8Array(size <= MANIFEST_BYTES_MAX ? Number(size) : 0);
    // More than was announced, or parts without an end that bring nothing.
    if (length + part.length > signed.length || part.length === 0) break;
    signed.set(part, length);
    length += part.length;
  }
  return signed ?? new Uint8Array();
}

/** As many as one request may name. A blob that repeats in a later page has been pulled by then. */
function* pagesOf(digests: Iterable<string>): Iterable<string[]> {
  let page: string[] = [];
  for (const digest of digests) {
    page.push(digest);
    if (page.length < DIGESTS_MAX) continue;
    yield page;
    page = [];
  }
  if (page.length > 0) yield page;
}

/**
 * Whether another source may do better: the fault is the source's own, or on the way to it. Our pins and our disk are
 * the same for all sources.
 */
function isOfSource(thrown: unknown): thrown is AntipodeError {
  return (
    hasCode(thrown, 'MANIFEST_INVALID', 'BLOB_INVALID', 'GENERATION_UNKNOWN') ||
    isUnreachable(thrown) ||
    (thrown instanceof AntipodeError && 'answeredBy' in thrown.details)
  );
}
