/** A group of members without agents: captures, applies and reads back, with blobs and journal in memory. */
import { type Clock, type Prng, sha256Hex, systemClock, systemPrng } from '@antipode/runtime';
import { type CaptureResult, captureGeneration } from '../capture/capture.ts';
import type { CaptureOptions } from '../capture/capture-context.ts';
import { CaptureMemory } from '../capture/capture-memory.ts';
import type { Keyring } from '../domain-key/keyring.ts';
import type { SealedGeneration } from '../model/generation.ts';
import type { HsmProvider } from '../provider/provider.ts';
import { type ApplyOptions, type ApplyResult, applyGeneration } from '../replica/apply.ts';
import { type BuryResult, bury } from '../replica/bury.ts';
import { readBack } from '../replica/read-back.ts';
import { type Replica, ReplicaMemory } from '../replica/replica.ts';
import { enrolTogether, type Member } from './member.ts';
import { MemoryJournal } from './memory-journal.ts';

export const NO_FILTER = { excludeIds: [], excludeLabels: [], excludeClasses: [] };

type ReadBackOptions = Parameters<typeof readBack>[0];

/** All that a group needs of a member. */
export interface SealingMember {
  readonly provider: HsmProvider;
  readonly keyring: Keyring;
  readonly clock?: Clock;
  readonly prng?: Prng;
}

export class MemberGroup {
  readonly name: string;
  readonly blobs = new Map<string, Uint8Array>();
  newest: SealedGeneration | undefined;
  domainKeyVersion = 1;

  constructor(name = 'payments') {
    this.name = name;
  }

  /** The memory of a capture: nothing of the capture before, unless a kind of group says otherwise. */
  protected captureMemory(): CaptureMemory {
    return new CaptureMemory();
  }

  /** Brings the next domain key version to members. Nothing is sealed under it yet. */
  async rotate(members: readonly Member[], version = this.domainKeyVersion): Promise<void> {
    await enrolTogether(members, { group: this.name, version });
    this.domainKeyVersion = version;
  }

  async capture(member: SealingMember, options: Partial<CaptureOptions> = {}): Promise<CaptureResult> {
    const { provider, keyring, clock = systemClock, prng = systemPrng } = member;
    const result = await captureGeneration({
      provider,
      keyring,
      clock,
      prng,
      memory: this.captureMemory(),
      group: this.name,
      epoch: 1n,
      number: (this.newest?.generation.number ?? 0n) + 1n,
      domainKeyVersion: this.domainKeyVersion,
      previous: this.newest,
      filter: NO_FILTER,
      checkFence: () => {},
      ...options,
    });
    for (const [digest, blob] of result.blobs) this.blobs.set(digest, blob);
    this.newest = result.sealed ?? this.newest;
    return result;
  }

  /** Captures, and expects a new generation. */
  async captured(member: SealingMember, options: Partial<CaptureOptions> = {}): Promise<SealedGeneration> {
    const { sealed, held } = await this.capture(member, options);
    if (sealed === undefined)
      throw new Error(held === undefined ? 'the capture found nothing new' : `${held.losses.length} losses are held`);
    return sealed;
  }

  apply(member: SealingMember, target: SealedGeneration, options: Partial<ApplyOptions> = {}): Promise<ApplyResult> {
    const blobOf = (digest: string): Uint8Array => this.blobs.get(digest)!;
    return applyGeneration({ ...this.replica(member, target), proved: undefined, blobOf, ...options });
  }

  verify(
    member: SealingMember,
    target: SealedGeneration,
    options: Partial<ReadBackOptions> = {},
  ): ReturnType<typeof readBack> {
    return readBack({ ...this.replica(member, target), objectIds: 'everything', ...options });
  }

  /** Does what follows when a generation has been read back. */
  bury(
    member: SealingMember,
    target: SealedGeneration,
    options: Partial<Parameters<typeof bury>[0]> = {},
  ): Promise<BuryResult> {
    return bury({
      ...this.replica(member, target),
      hasBlob: (digest) => this.blobs.has(digest),
      putBlobs: (blobs) => {
        for (const blob of blobs) this.blobs.set(sha256Hex(blob), blob);
      },
      ...options,
    });
  }

  protected replica({ provider, keyring, clock = systemClock }: SealingMember, target: SealedGeneration): Replica {
    return {
      provider,
      keyring,
      clock,
      memory: new ReplicaMemory(),
      target,
      previous: [],
      journal: new MemoryJournal(),
      checkFence: () => {},
    };
  }
}

/** A group as one agent has it: captures go on from one another, and a deletion that reads back well leaves the token. */
export class SealedGroup extends MemberGroup {
  readonly captures = new CaptureMemory();

  protected override captureMemory(): CaptureMemory {
    return this.captures;
  }

  override async verify(
    member: SealingMember,
    target: SealedGeneration,
    options: Partial<ReadBackOptions> = {},
  ): ReturnType<typeof readBack> {
    // Both look at the objects that the first of them has found.
    const replica = { ...this.replica(member, target), ...options };
    const result = await super.verify(member, target, replica);
    if (result.contentDigest === target.contentDigest && result.proof.failed === 0)
      await this.bury(member, target, replica);
    return result;
  }
}
