/** Which other sites this agent reaches. It tries them every few seconds, and each heartbeat reports the outcome. */
import type { PeerObservationSchema } from '@antipode/protocol';
import { type Clock, elapsedMs } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';

interface Observation {
  readonly reached: boolean;
  readonly lastMs: number;
  /** Since when all attempts have ended like the last one. */
  readonly sinceMs: number;
}

export class Observations {
  readonly #clock: Clock;
  #observed = new Map<string, Observation>();

  constructor({ clock }: { clock: Clock }) {
    this.#clock = clock;
  }

  /** An attempt to reach a site has ended. */
  note(site: string, reached: boolean): void {
    const lastMs = elapsedMs(this.#clock);
    const before = this.#observed.get(site);
    this.#observed.set(site, { reached, lastMs, sinceMs: before?.reached === reached ? before.sinceMs : lastMs });
  }

  /** Sites that are not in the groups of this one any more are nobody's concern here. */
  keepOnly(sites: readonly string[]): void {
    this.#observed = new Map([...this.#observed].filter(([site]) => sites.includes(site)));
  }

  get all(): MessageInitShape<typeof PeerObservationSchema>[] {
    const nowMs = elapsedMs(this.#clock);
    const ago = (atMs: number): bigint => BigInt(Math.max(0, Math.round(nowMs - atMs)));
    return [...this.#observed]
      .sort(([one], [other]) => (one < other ? -1 : 1))
      .map(([site, { reached, lastMs, sinceMs }]) => ({ site, reached, ageMs: ago(lastMs), sinceMs: ago(sinceMs) }));
  }
}
