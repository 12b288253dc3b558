/** One group of two partitions, everything between the ports: capture at the source, restore and proof at the target. */
import {
  applyGeneration,
  CaptureMemory,
  type CaptureResult,
  captureGeneration,
  ReplicaMemory,
  readBack,
  type SealedGeneration,
} from '@antipode/hsm-core';
import { MemoryJournal, NO_FILTER } from '@antipode/hsm-core/testing';
import { systemClock, systemPrng } from '@antipode/runtime';
import { enrolTogether } from '../../support/members.ts';
import type { BenchMember, CallTimes } from '../places/member.ts';

export interface RoundTimes {
  readonly totalMs: number;
  readonly sealMs: number;
  readonly unsealMs: number;
  readonly readBackMs: number;
  readonly sourceCalls: CallTimes;
  readonly targetCalls: CallTimes;
}

export class BenchGroup {
  readonly #name: string;
  readonly #source: BenchMember;
  readonly #target: BenchMember;
  readonly #captures = new CaptureMemory();
  readonly #replica = new ReplicaMemory();
  readonly #journal = new MemoryJournal();
  readonly #blobs = new Map<string, Uint8Array>();
  #newest: SealedGeneration | undefined;

  private constructor(options: { name: string; source: BenchMember; target: BenchMember }) {
    this.#name = options.name;
    this.#source = options.source;
    this.#target = options.target;
  }

  static async enrol(options: { name: string; source: BenchMember; target: BenchMember }): Promise<BenchGroup> {
    const { name, source, target } = options;
    await enrolTogether([source, target], { group: name, version: 1 });
    source.takeTimes();
    target.takeTimes();
    return new BenchGroup(options);
  }

  /** A round that must find something new: captured, restored, read back and used, and found equal. */
  async replicate(): Promise<RoundTimes> {
    const proved = this.#newest;
    const startMs = systemClock.monotonicMs();
    const { sealed } = await this.#capture();
    const sealedMs = systemClock.monotonicMs();
    if (sealed === undefined) throw new Error('the capture found nothing new');
    const previous = proved === undefined ? [] : [proved];
    const replica = { ...this.#ports(this.#target), memory: this.#replica, target: sealed, journal: this.#journal };
    const { unproven } = await applyGeneration({
      ...replica,
      previous,
      proved,
      blobOf: (sha256) => this.#blobs.get(sha256)!,
    });
    const unsealedMs = systemClock.monotonicMs();
    const { contentDigest, proof } = await readBack({ ...replica, previous, objectIds: unproven });
    const endMs = systemClock.monotonicMs();
    if (contentDigest !== sealed.contentDigest || proof.failed > 0) throw new Error('the replica is not equal');
    return {
      totalMs: endMs - startMs,
      sealMs: sealedMs - startMs,
      unsealMs: unsealedMs - sealedMs,
      readBackMs: endMs - unsealedMs,
      sourceCalls: this.#source.takeTimes(),
      targetCalls: this.#target.takeTimes(),
    };
  }

  /** A round that must find nothing new. */
  async unchanged(): Promise<{ totalMs: number; sourceCalls: CallTimes }> {
    const startMs = systemClock.monotonicMs();
    const { sealed } = await this.#capture();
    const totalMs = systemClock.monotonicMs() - startMs;
    if (sealed !== undefined) throw new Error('the capture found something new');
    return { totalMs, sourceCalls: this.#source.takeTimes() };
  }

  async #capture(): Promise<CaptureResult> {
    const result = await captureGeneration({
      ...this.#ports(this.#source),
      clock: systemClock,
      prng: systemPrng,
      memory: this.#captures,
      group: this.#name,
      epoch: 1n,
      number: (this.#newest?.generation.number ?? 0n) + 1n,
      domainKeyVersion: 1,
      previous: this.#newest,
      filter: NO_FILTER,
    });
    for (const [digest, blob] of result.blobs) this.#blobs.set(digest, blob);
    this.#newest = result.sealed ?? this.#newest;
    return result;
  }

  #ports({ provider, keyring }: BenchMember) {
    return { provider, keyring, checkFence: () => {} };
  }
}
