/**
 * The state of every group as numbers, for metrics and notices. In a fleet of a thousand groups a reading takes seconds.
 * So it is not repeated before ten times that long, whoever asks.
 */

import type { RpcPorts } from '../ports.ts';
import { GroupReader, type MeasuredGroup } from './group-reader.ts';

/** Readings take a tenth of one connection at most. */
const REST = 10;

export interface GroupReading {
  readonly groups: readonly MeasuredGroup[];
  readonly unreadable: readonly string[];
  /** Of the leader that read. */
  readonly epoch: bigint;
  /** Monotonic, when the reading began: no age may be too low. */
  readonly atMs: number;
  readonly tookMs: number;
}

export class GroupReadings {
  readonly #ports: Pick<RpcPorts, 'clock'>;
  readonly #reader: Pick<GroupReader, 'measured'>;
  #last: GroupReading | undefined;
  #reading: Promise<GroupReading> | undefined;

  constructor(ports: RpcPorts) {
    this.#ports = ports;
    this.#reader = new GroupReader(ports);
  }

  forget(): void {
    this.#last = undefined;
  }

  /** `waitMs`: after so long the earlier reading is the answer, if there is one. Without it, nobody gives up waiting. */
  async current(epoch: bigint, { waitMs }: { waitMs?: number } = {}): Promise<GroupReading> {
    const { clock } = this.#ports;
    const last = this.#last?.epoch === epoch ? this.#last : undefined;
    if (last !== undefined && clock.monotonicMs() - last.atMs < last.tookMs * REST) return last;
    this.#reading ??= this.#measure(epoch).finally(() => {
      this.#reading = undefined;
    });
    const reading = this.#reading;
    if (last === undefined || waitMs === undefined) return reading;
    const waited = new AbortController();
    try {
      return await Promise.race([reading, clock.sleep(waitMs, waited.signal).then(() => last)]);
    } finally {
      waited.abort();
      reading.catch(() => 'the next one who asks reads again');
    }
  }

  async #measure(epoch: bigint): Promise<GroupReading> {
    const { clock } = this.#ports;
    const atMs = clock.monotonicMs();
    const { groups, unreadable } = await this.#reader.measured();
    const reading = { groups, unreadable, epoch, atMs, tookMs: clock.monotonicMs() - atMs };
    this.#last = reading;
    return reading;
  }
}
