/** A group of members in memory, its store of blobs, and the journal that makes an apply repeatable. */
import { type AntipodeError, invariant, sha256Hex } from '@antipode/runtime';
import { type CaptureResult, captureGeneration } from '../capture/capture.ts';
import type { CaptureOptions } from '../capture/capture-context.ts';
import { CaptureMemory } from '../capture/capture-memory.ts';
import type { SealedGeneration } from '../model/generation.ts';
import type { ObjectId } from '../model/object.ts';
import { type ApplyOptions, type ApplyResult, applyGeneration } from '../replica/apply.ts';
import { type BuryResult, bury } from '../replica/bury.ts';
import { readBack } from '../replica/read-back.ts';
import { type ApplyIntent, type ApplyJournal, type Replica, ReplicaMemory } from '../replica/replica.ts';
import { enrolTogether, SimulatedMember } from './simulated-member.ts';

export const NO_FILTER = { excludeIds: [], excludeLabels: [], excludeClasses: [] };

/** Its records survive a simulated crash. */
export class MemoryJournal implements ApplyJournal {
  #open: ApplyIntent[] = [];
  readonly #interrupt: () => (step: string) => void;

  constructor(interrupt: () => (step: string) => void = () => () => {}) {
    this.#interrupt = interrupt;
  }

  openIntents(): readonly ApplyIntent[] {
    return this.#open;
  }

  begin(intents: readonly ApplyIntent[]): void {
    this.#interrupt()('begin');
    this.#open = [...this.#open, ...intents];
    this.#interrupt()('begun');
  }

  commit(_digest: string, objectIds: readonly ObjectId[]): void {
    this.#interrupt()('commit');
    this.#open = this.#open.filter(({ objectId }) => !objectIds.includes(objectId));
    this.#interrupt()('committed');
  }
}

export class SimulatedGroup {
  readonly name = 'payments';
  readonly blobs = new Map<string, Uint8Array>();
  newest: SealedGeneration | undefined;
  domainKeyVersion = 1;

  /** Makes members that hold one domain key. */
  static async make(...serials: string[]): Promise<{ group: SimulatedGroup; members: SimulatedMember[] }> {
    const group = new SimulatedGroup();
    const members = await Promise.all(serials.map((serial) => SimulatedMember.make(serial)));
    await group.rotate(members);
    return { group, members };
  }

  /** Brings the next domain key version to members. Nothing is sealed under it yet. */
  async rotate(members: readonly SimulatedMember[], version = this.domainKeyVersion): Promise<void> {
    const [first, ...others] = members;
    invariant(first !== undefined, 'a group has members');
    await enrolTogether([first, ...others], { group: this.name, version });
    this.domainKeyVersion = version;
  }

  async capture(member: SimulatedMember, options: Partial<CaptureOptions> = {}): Promise<CaptureResult> {
    const result = await captureGeneration({
      ...member,
      memory: new CaptureMemory(),
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
  async captured(member: SimulatedMember, options: Partial<CaptureOptions> = {}): Promise<SealedGeneration> {
    const { sealed } = await this.capture(member, options);
    invariant(sealed !== undefined, 'the capture found nothing new');
    return sealed;
  }

  apply(member: SimulatedMember, target: SealedGeneration, options: Partial<ApplyOptions> = {}): Promise<ApplyResult> {
    const blobOf = (digest: string): Uint8Array => this.blobs.get(digest)!;
    return applyGeneration({ ...this.#replica(member, target), proved: undefined, blobOf, ...options });
  }

  verify(
    member: SimulatedMember,
    target: SealedGeneration,
    options: Partial<Parameters<typeof readBack>[0]> = {},
  ): ReturnType<typeof readBack> {
    return readBack({ ...this.#replica(member, target), objectIds: 'everything', ...options });
  }

  /** Does what follows when a generation has been read back. */
  bury(
    member: SimulatedMember,
    target: SealedGeneration,
    options: Partial<Parameters<typeof bury>[0]> = {},
  ): Promise<BuryResult> {
    return bury({
      ...this.#replica(member, target),
      hasBlob: (digest) => this.blobs.has(digest),
      putBlobs: (blobs) => {
        for (const blob of blobs) this.blobs.set(sha256Hex(blob), blob);
      },
      ...options,
    });
  }

  #replica(member: SimulatedMember, target: SealedGeneration): Replica {
    return {
      ...member,
      memory: new ReplicaMemory(),
      target,
      previous: [],
      journal: new MemoryJournal(),
      checkFence: () => {},
    };
  }
}

/**
 * Throws `failure` at the step with this number, counted from 0, and at every later step. Nothing happens after a
 * crash.
 */
export function crashAt(number: number, failure: Error | AntipodeError): (step: string) => void {
  let steps = 0;
  return () => {
    if (steps++ >= number) throw failure;
  };
}
