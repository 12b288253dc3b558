/**
 * Counts the calls of PKCS#11 in a worker, by function and return value, until the worker tells its agent. Names of
 * functions and values of the standard only: what a vendor's module answers beside them is one value.
 */
import { type AnsweredCall, CKR_OK, returnValueName } from '@antipode/cryptoki';
import { bucketOf, METRICS } from '@antipode/runtime';

export const VENDOR_DEFINED = 'vendor-defined';
const { buckets: BOUNDS } = METRICS.antipode_hsm_call_duration_seconds;

/** Calls of one function. */
export interface CallCount {
  readonly function: string;
  /** How often it returned what. */
  readonly returned: readonly (readonly [returnValue: string, calls: number])[];
  /** How long the calls took, by the buckets of the metric; seconds. */
  readonly counts: readonly number[];
  readonly sum: number;
}

function returnValueOf(returned: number): string {
  if (returned === CKR_OK) return 'CKR_OK';
  const name = returnValueName(returned);
  return name.startsWith('CKR_0x') ? VENDOR_DEFINED : name;
}

interface Counted {
  readonly returned: Map<string, number>;
  readonly counts: number[];
  sum: number;
}

export class CallTally {
  #counted = new Map<string, Counted>();

  add({ name, returned, tookMs }: AnsweredCall): void {
    const counted = this.#counted.get(name) ?? {
      returned: new Map<string, number>(),
      counts: new Array<number>(BOUNDS.length + 1).fill(0),
      sum: 0,
    };
    this.#counted.set(name, counted);
    const value = returnValueOf(returned);
    counted.returned.set(value, (counted.returned.get(value) ?? 0) + 1);
    const seconds = tookMs / 1_000;
    const at = bucketOf(BOUNDS, seconds);
    counted.counts[at] = counted.counts[at]! + 1;
    counted.sum += seconds;
  }

  /** The calls since the last time; undefined for none. */
  take(): readonly CallCount[] | undefined {
    if (this.#counted.size === 0) return undefined;
    const taken = [...this.#counted].map(([name, { returned, counts, sum }]) => ({
      function: name,
      returned: [...returned],
      counts,
      sum,
    }));
    this.#counted = new Map();
    return taken;
  }
}
