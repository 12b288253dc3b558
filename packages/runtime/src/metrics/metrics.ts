/**
 * The metrics of one process. Counters and histograms count as things happen. Gauges are read when somebody asks, in
 * parts: a part that cannot be read is absent, and says so (I13). The same values leave in the form of Prometheus
 * (exposition.ts) and over OTLP (otlp.ts).
 */
import { AntipodeError } from '../errors.ts';
import type { Log } from '../log.ts';
import { type Clock, systemClock } from '../time/clock.ts';
import { within } from '../time/timeout.ts';
import {
  type CounterName,
  type GaugeName,
  type HistogramName,
  type LabelsOf,
  METRICS,
  type MetricDeclaration,
  type MetricName,
  type ProcessRole,
} from './catalogue.ts';

type Labels = Readonly<Record<string, string>>;

/** The trace of one observation, so that a person finds what took so long. */
export interface Exemplar {
  readonly traceId: string;
  readonly value: number;
  readonly atMs: number;
}

/** `counts` has one more than the bounds: what is above all of them. None is cumulative. */
export interface HistogramValue {
  readonly counts: readonly number[];
  readonly sum: number;
  readonly exemplars: readonly (Exemplar | undefined)[];
}

export interface Sample {
  readonly labels: Labels;
  readonly value: number | HistogramValue;
}

export interface Family {
  readonly name: MetricName;
  readonly declaration: MetricDeclaration;
  readonly samples: readonly Sample[];
}

/** Sets a gauge. An unknown value is absent, and so is one that is not a number. */
export type SetGauge = <Name extends GaugeName>(
  name: Name,
  labels: LabelsOf<Name>,
  value: number | bigint | boolean | undefined,
) => void;

/** Observations of another process, since its last report. */
export interface HistogramDelta {
  readonly counts: readonly number[];
  readonly sum: number;
}

/** A scraper waits for 10 s by default. */
const PART_MS_MAX = 5_000;

interface Kept {
  labels: Labels;
  value: number;
}

interface KeptHistogram {
  labels: Labels;
  counts: number[];
  sum: number;
  exemplars: (Exemplar | undefined)[];
}

export class Metrics {
  readonly role: Exclude<ProcessRole, 'leader'>;
  readonly name: string;
  readonly #clock: Clock;
  readonly #log: Log | undefined;
  readonly #counters = new Map<CounterName, Map<string, Kept>>();
  readonly #histograms = new Map<HistogramName, Map<string, KeptHistogram>>();
  readonly #parts = new Map<string, (set: SetGauge) => void | Promise<void>>();
  readonly #failing = new Set<string>();
  #collecting: Promise<Family[]> | undefined;

  constructor({
    role,
    name,
    clock = systemClock,
    log,
  }: { role: Exclude<ProcessRole, 'leader'>; name: string; clock?: Clock; log?: Log }) {
    this.role = role;
    this.name = name;
    this.#clock = clock;
    this.#log = log;
  }

  /** Counts up. By 0 it only makes the series, so that a first event shows as a rise. */
  count<Name extends CounterName>(name: Name, labels: LabelsOf<Name>, by = 1): void {
    const series = seriesIn(this.#counters, name);
    const key = keyOf(name, labels);
    const kept = series.get(key);
    if (kept === undefined) series.set(key, { labels, value: by });
    else kept.value += by;
  }

  observe<Name extends HistogramName>(
    name: Name,
    labels: LabelsOf<Name>,
    value: number,
    { traceId }: { traceId?: string | undefined } = {},
  ): void {
    if (!Number.isFinite(value)) return;
    const kept = this.#histogram(name, labels);
    const at = bucketOf(METRICS[name].buckets, value);
    kept.counts[at] = kept.counts[at]! + 1;
    kept.sum += value;
    if (traceId !== undefined) kept.exemplars[at] = { traceId, value, atMs: this.#clock.wallMs() };
  }

  /** Adds what was observed elsewhere, with the same bounds. */
  add<Name extends HistogramName>(name: Name, labels: LabelsOf<Name>, { counts, sum }: HistogramDelta): void {
    const kept = this.#histogram(name, labels);
    kept.counts = kept.counts.map((count, at) => count + (counts[at] ?? 0));
    kept.sum += sum;
  }

  /** `read` sets gauges whenever somebody asks. It may fail, or take too long: then its part is absent. */
  part(part: string, read: (set: SetGauge) => void | Promise<void>): void {
    this.#parts.set(part, read);
  }

  /** Everything known now, in the order of the catalogue. Callers at the same time get the same. */
  collect(): Promise<Family[]> {
    this.#collecting ??= this.#collect().finally(() => {
      this.#collecting = undefined;
    });
    return this.#collecting;
  }

  async #collect(): Promise<Family[]> {
    const gauges = new Map<GaugeName, Map<string, Kept>>();
    await Promise.all([...this.#parts].map(([part, read]) => this.#read(part, { read, gauges })));
    return (Object.keys(METRICS) as MetricName[]).flatMap((name) => {
      const samples: Sample[] = [
        ...(gauges.get(name as GaugeName)?.values() ?? []),
        ...(this.#counters.get(name as CounterName)?.values() ?? []).map(({ labels, value }) => ({ labels, value })),
        ...(this.#histograms.get(name as HistogramName)?.values() ?? []).map(({ labels, counts, sum, exemplars }) => ({
          labels,
          value: { counts: [...counts], sum, exemplars: [...exemplars] },
        })),
      ];
      return samples.length === 0 ? [] : [{ name, declaration: METRICS[name], samples }];
    });
  }

  async #read(
    part: string,
    { read, gauges }: { read: (set: SetGauge) => void | Promise<void>; gauges: Map<GaugeName, Map<string, Kept>> },
  ): Promise<void> {
    const own: [GaugeName, Labels, number][] = [];
    const set: SetGauge = (name, labels, value) => {
      const number = Number(value ?? Number.NaN);
      if (Number.isFinite(number)) own.push([name, labels, number]);
    };
    let isKnown = true;
    try {
      const limits = { clock: this.#clock, timeoutMs: PART_MS_MAX, what: `reading the metrics of ${part}` };
      await within(limits, async () => read(set));
      if (this.#failing.delete(part)) this.#log?.info('metrics are read again', { part });
    } catch (thrown) {
      isKnown = false;
      if (!this.#failing.has(part))
        this.#log?.warn('metrics cannot be read and are absent', { part, error: AntipodeError.from(thrown) });
      this.#failing.add(part);
    }
    // Of a part that failed half way, nothing: a sum over half of the groups would look like all of them.
    const taken = isKnown ? [...own] : [];
    taken.push(['antipode_metrics_known', { role: this.role, name: this.name, part }, isKnown ? 1 : 0]);
    for (const [name, labels, value] of taken) seriesIn(gauges, name).set(keyOf(name, labels), { labels, value });
  }

  #histogram<Name extends HistogramName>(name: Name, labels: LabelsOf<Name>): KeptHistogram {
    const series = seriesIn(this.#histograms, name);
    const key = keyOf(name, labels);
    const length = METRICS[name].buckets.length + 1;
    const kept = series.get(key) ?? {
      labels,
      counts: new Array<number>(length).fill(0),
      sum: 0,
      exemplars: new Array<undefined>(length).fill(undefined),
    };
    series.set(key, kept);
    return kept;
  }
}

/** The first bucket whose upper bound is not below the value. The last bucket is without a bound. */
export function bucketOf(bounds: readonly number[], value: number): number {
  const at = bounds.findIndex((bound) => value <= bound);
  return at < 0 ? bounds.length : at;
}

/** Of the declared labels, in their order: whatever order a caller has, one series is one series. */
const keyOf = (name: MetricName, labels: Labels): string =>
  METRICS[name].labels.map((label) => labels[label] ?? '').join('\0');

function seriesIn<Name, Series>(families: Map<Name, Map<string, Series>>, name: Name): Map<string, Series> {
  const series = families.get(name) ?? new Map<string, Series>();
  families.set(name, series);
  return series;
}
