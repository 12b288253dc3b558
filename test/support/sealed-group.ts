/** A group of real partitions without agents: captures, applies and reads back, with blobs and journal in memory. */
import {
  applyGeneration,
  bury,
  CaptureMemory,
  type CaptureResult,
  captureGeneration,
  type HsmProvider,
  type Keyring,
  ReplicaMemory,
  readBack,
  type SealedGeneration,
} from '@antipode/hsm-core';
import { MemoryJournal, NO_FILTER } from '@antipode/hsm-core/testing';
import { sha256Hex, systemClock, systemPrng } from '@antipode/runtime';

/** All that sealing needs of a member. */
interface Member {
  readonly provider: HsmProvider;
  readonly keyring: Keyring;
}

export class SealedGroup {
  readonly name = 'payments';
  readonly captures = new CaptureMemory();
  readonly blobs = new Map<string, Uint8Array>();
  newest: SealedGeneration | undefined;

  async capture(
    member: Member,
    options: Partial<Parameters<typeof captureGeneration>[0]> = {},
  ): Promise<CaptureResult> {
    const { provider, keyring } = member;
    const result = await captureGeneration({
      provider,
      keyring,
      clock: systemClock,
      prng: systemPrng,
      memory: this.captures,
      group: this.name,
      epoch: 1n,
      number: (this.newest?.generation.number ?? 0n) + 1n,
      domainKeyVersion: 1,
      previous: this.newest,
      filter: NO_FILTER,
      checkFence: () => {},
      ...options,
    });
    for (const [digest, blob] of result.blobs) this.blobs.set(digest, blob);
    this.newest = result.sealed ?? this.newest;
    return result;
  }

  /** The generation of a capture that must find something new. */
  async captured(
    member: Member,
    options: Partial<Parameters<typeof captureGeneration>[0]> = {},
  ): Promise<SealedGeneration> {
    const { sealed, held } = await this.capture(member, options);
    if (sealed === undefined)
      throw new Error(held === undefined ? 'the capture found nothing new' : `${held.losses.length} losses are held`);
    return sealed;
  }

  apply(member: Member, target: SealedGeneration, options: Partial<Parameters<typeof applyGeneration>[0]> = {}) {
    return applyGeneration({
      ...this.#replica(member, target),
      proved: undefined,
      blobOf: (digest) => this.blobs.get(digest)!,
      ...options,
    });
  }

  /** As an agent does: what reads back well has what it deletes taken out of the token. */
  async verify(member: Member, target: SealedGeneration, options: Partial<Parameters<typeof readBack>[0]> = {}) {
    const replica = { ...this.#replica(member, target), objectIds: 'everything' as const, ...options };
    const result = await readBack(replica);
    if (result.contentDigest === target.contentDigest && result.proof.failed === 0)
      await bury(this.#withStore(replica));
    return result;
  }

  #withStore<T>(replica: T) {
    return {
      ...replica,
      hasBlob: (digest: string) => this.blobs.has(digest),
      putBlobs: (blobs: readonly Uint8Array[]) => {
        for (const blob of blobs) this.blobs.set(sha256Hex(blob), blob);
      },
    };
  }

  #replica({ provider, keyring }: Member, target: SealedGeneration) {
    return {
      provider,
      keyring,
      memory: new ReplicaMemory(),
      target,
      previous: [],
      journal: new MemoryJournal(),
      checkFence: () => {},
    };
  }
}

/** The provider with some of its methods replaced: a fault where a test wants it. */
export function faulty(provider: HsmProvider, faults: Partial<HsmProvider>): HsmProvider {
  return new Proxy(provider, { get: (target, name: keyof HsmProvider) => faults[name] ?? target[name] });
}
