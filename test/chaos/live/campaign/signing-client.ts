/**
 * An application that signs, again and again, with one key: it asks `resolve` where the key is, and pkcs11-tool signs
 * there. OpenSSL's library verifies each signature. The client knows nothing of a loss but that it cannot sign.
 */
import { systemClock } from '@antipode/runtime';
import { GROUP, type TestSystem } from '../../../support/system.ts';
import type { TokenJudge, Value } from '../../soak/token-judge.ts';

const PAUSE_MS = 50;
const RESOLVE_MS_MAX = 1_000;

export interface Signed {
  readonly site: string;
  readonly atMs: number;
  /** Since the last signature at another site. */
  readonly afterMs: number;
}

export class SigningClient {
  readonly #system: TestSystem;
  readonly #judges: ReadonlyMap<string, TokenJudge>;
  readonly #key: { readonly id: string; readonly label: string; readonly value: Value };
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;
  #last: Omit<Signed, 'afterMs'> | undefined;
  /** The first signature at the site of the last. */
  #first: Signed | undefined;
  #longestGapMs = 0;
  count = 0;

  constructor(options: {
    system: TestSystem;
    judges: ReadonlyMap<string, TokenJudge>;
    key: { id: string; label: string; value: Value };
  }) {
    this.#system = options.system;
    this.#judges = options.judges;
    this.#key = options.key;
  }

  /** Where it signed last; undefined for nowhere yet. */
  get signsAt(): string | undefined {
    return this.#last?.site;
  }

  /** The longest time between two signatures, since `forgetGaps`. */
  get longestGapMs(): number {
    return Math.round(this.#longestGapMs);
  }

  forgetGaps(): void {
    this.#longestGapMs = 0;
  }

  start(): void {
    this.#running = this.#work();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  /** The first signature at another site than `former`. */
  async signsElsewhere(former: string, patienceMs: number): Promise<Signed | undefined> {
    const endMs = systemClock.monotonicMs() + patienceMs;
    while (systemClock.monotonicMs() < endMs) {
      if (this.#first !== undefined && this.#first.site !== former) return this.#first;
      await systemClock.sleep(PAUSE_MS);
    }
    return undefined;
  }

  /** Until it has signed once more. @returns whether it has */
  async signsNow(patienceMs: number): Promise<boolean> {
    const before = this.count;
    const endMs = systemClock.monotonicMs() + patienceMs;
    while (this.count === before && systemClock.monotonicMs() < endMs) await systemClock.sleep(PAUSE_MS);
    if (this.count === before) this.#last = undefined;
    return this.count > before;
  }

  async signs(): Promise<void> {
    await this.#system.until('the client signs', async () => this.#first !== undefined);
  }

  async #work(): Promise<void> {
    const { id, label, value } = this.#key;
    while (!this.#stop.signal.aborted) {
      const place = await this.#system.operator
        .resolve({ group: GROUP }, { timeoutMs: RESOLVE_MS_MAX })
        .catch(() => undefined);
      const found = place && (await this.#judges.get(place.site)!.answers('id', { id, label, candidates: [value] }));
      if (place !== undefined && found === value) {
        const signed = { site: place.site, atMs: systemClock.monotonicMs() };
        const afterMs = signed.atMs - (this.#last?.atMs ?? signed.atMs);
        if (signed.site !== this.#last?.site) this.#first = { ...signed, afterMs };
        this.#longestGapMs = Math.max(this.#longestGapMs, afterMs);
        this.#last = signed;
        this.count += 1;
      }
      await systemClock.sleep(PAUSE_MS, this.#stop.signal);
    }
  }
}
