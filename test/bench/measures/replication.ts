/** One group of two partitions, everything between the ports: capture at the source, restore and proof at the target. */
import { CaptureMemory, ReplicaMemory } from '@antipode/hsm-core';
import { enrolTogether, MemberGroup, MemoryJournal } from '@antipode/hsm-core/testing';
import { systemClock } from '@antipode/runtime';
import type { BenchMember, CallTimes } from '../places/member.ts';

export interface RoundTimes {
  readonly totalMs: number;
  readonly sealMs: number;
  readonly unsealMs: number;
  readonly readBackMs: number;
  readonly sourceCalls: CallTimes;
  readonly targetCalls: CallTimes;
}

export class BenchGroup extends MemberGroup {
  readonly #source: BenchMember;
  readonly #target: BenchMember;
  readonly #captures = new CaptureMemory();
  readonly #replica = new ReplicaMemory();
  readonly #journal = new MemoryJournal();

  private constructor(options: { name: string; source: BenchMember; target: BenchMember }) {
    super(options.name);
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
    const proved = this.newest;
    const startMs = systemClock.monotonicMs();
    const { sealed } = await this.capture(this.#source);
    const sealedMs = systemClock.monotonicMs();
    if (sealed === undefined) throw new Error('the capture found nothing new');
    const previous = proved === undefined ? [] : [proved];
    const replica = { memory: this.#replica, journal: this.#journal, previous };
    const { unproven } = await this.apply(this.#target, sealed, { ...replica, proved });
    const unsealedMs = systemClock.monotonicMs();
    const { contentDigest, proof } = await this.verify(this.#target, sealed, { ...replica, objectIds: unproven });
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
    const { sealed } = await this.capture(this.#source);
    const totalMs = systemClock.monotonicMs() - startMs;
    if (sealed !== undefined) throw new Error('the capture found something new');
    return { totalMs, sourceCalls: this.#source.takeTimes() };
  }

  protected override captureMemory(): CaptureMemory {
    return this.#captures;
  }
}
