/**
 * Moves sealed generations between agents. The destination pulls, since only that direction is fast over a WAN; only what
 * it lacks; in one stream; and every batch is stored as it arrives, so that a broken link costs what was in flight.
 */
import { blobDigests, openSigned, type SealedGeneration } from '@antipode/hsm-core';
import type { PullBlobsRequest, PullManifestRequest } from '@antipode/protocol';
import { AntipodeError, bytesEqual, fromHex, hasCode, hex, type Log, sha256 } from '@antipode/runtime';
import { digestOf } from './generation-ref.ts';
import type { GenerationStore } from './generation-store.ts';
import type { PeerAddress, Peers } from './peers.ts';
import type { Pins } from './pins.ts';

/** One message on the wire: small enough to interleave, large enough to be no burden. */
const PART_BYTES = 256 * 1024;
/** As many digests as one request may name. */
const DIGESTS_MAX = 10_000;
/** A manifest of 100,000 objects has some 60 MB. */
const MANIFEST_BYTES_MAX = 256 * 1024 * 1024;
const PULL_TIMEOUT_MS = 10 * 60_000;

export interface Pulled {
  readonly sealed: SealedGeneration;
  readonly blobs: number;
  readonly bytes: number;
}

export class Transfer {
  readonly #options: {
    store: GenerationStore;
    peers: Peers;
    pins: Pins;
    log: Log;
    isOwnIdentity: (sha256: string) => boolean;
  };

  constructor(options: {
    store: GenerationStore;
    peers: Peers;
    pins: Pins;
    log: Log;
    isOwnIdentity: (sha256: string) => boolean;
  }) {
    this.#options = options;
  }

  // --- serving ---

  async *manifest(request: PullManifestRequest): AsyncIterable<{ part: Uint8Array }> {
    const signed = this.#options.store.signed(digestOf(request.generation));
    for (let start = 0; start < signed.length; start += PART_BYTES)
      yield { part: signed.subarray(start, start + PART_BYTES) };
  }

  async *blobs({ sha256: digests }: PullBlobsRequest): AsyncIterable<{ blobs: Uint8Array[] }> {
    if (digests.length > DIGESTS_MAX)
      throw new AntipodeError('REQUEST_INVALID', `at most ${DIGESTS_MAX} digests a call`, {
        details: { field: 'sha256' },
      });
    let batch: Uint8Array[] = [];
    let bytes = 0;
    for (const digest of digests) {
      const blob = this.#options.store.blob(hex(digest));
      batch.push(blob);
      bytes += blob.length;
      if (bytes < PART_BYTES) continue;
      yield { blobs: batch };
      [batch, bytes] = [[], 0];
    }
    if (batch.length > 0) yield { blobs: batch };
  }

  // --- pulling ---

  /**
   * Makes a generation present here, from the first source that has it.
   * @throws MANIFEST_INVALID, PEER_NOT_PINNED, BLOB_INVALID (then nothing of it is visible), SITE_UNREACHABLE, GENERATION_UNKNOWN
   */
  async pull({
    group,
    digest,
    sources,
  }: {
    group: string;
    digest: string;
    sources: readonly PeerAddress[];
  }): Promise<Pulled> {
    const { store, log } = this.#options;
    if (store.has(digest)) return { sealed: this.#verify(store.signed(digest), { group, digest }), blobs: 0, bytes: 0 };
    let last: AntipodeError | undefined;
    for (const source of sources) {
      try {
        return await this.#pullFrom(source, { group, digest });
      } catch (thrown) {
        if (!hasCode(thrown, 'SITE_UNREACHABLE', 'TIMED_OUT', 'GENERATION_UNKNOWN')) throw thrown;
        log.debug('source cannot serve the generation', { site: source.site, error: thrown });
        last = thrown;
      }
    }
    throw (
      last ??
      new AntipodeError('GENERATION_UNKNOWN', 'no source was named for the generation', {
        details: { generation: digest },
      })
    );
  }

  async #pullFrom(source: PeerAddress, { group, digest }: { group: string; digest: string }): Promise<Pulled> {
    const { store, peers } = this.#options;
    const peer = peers.client(source);
    const parts: Uint8Array[] = [];
    let size = 0;
    for await (const { part } of peer.pullManifest(
      { group, generation: { manifestDigest: fromHex(digest) } },
      { timeoutMs: PULL_TIMEOUT_MS },
    )) {
      size += part.length;
      if (size > MANIFEST_BYTES_MAX)
        throw new AntipodeError('MANIFEST_INVALID', `the manifest is larger than ${MANIFEST_BYTES_MAX} bytes`, {
          details: { digest },
        });
      parts.push(Buffer.from(part));
    }
    const sealed = this.#verify(Buffer.concat(parts), { group, digest });
    const lacking = store.lacking(blobDigests(sealed.generation));
    let bytes = 0;
    for (let start = 0; start < lacking.length; start += DIGESTS_MAX) {
      const page = lacking.slice(start, start + DIGESTS_MAX);
      let next = 0;
      for await (const { blobs } of peer.pullBlobs(
        { group, sha256: page.map(fromHex) },
        { timeoutMs: PULL_TIMEOUT_MS },
      )) {
        for (const blob of blobs) {
          const expected = page[next];
          if (expected === undefined || !bytesEqual(sha256(blob), fromHex(expected))) {
            throw new AntipodeError(
              'BLOB_INVALID',
              `site ${source.site} sent a sealed object with another digest than the manifest gives`,
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
    store.put(sealed);
    return { sealed, blobs: lacking.length, bytes };
  }

  /** Against our own pins, each time: one that was taken away counts at once. */
  #verify(signed: Uint8Array, { group, digest }: { group: string; digest: string }): SealedGeneration {
    const { pins, isOwnIdentity } = this.#options;
    return openSigned(signed, {
      group,
      isPinned: (identity) => isOwnIdentity(identity) || pins.isPinned(group, identity),
      expectedDigest: digest,
    });
  }
}
