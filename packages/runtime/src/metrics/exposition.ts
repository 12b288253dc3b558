/**
 * Metrics as text: the format of Prometheus 0.0.4, or OpenMetrics 1.0 for a scraper that asks for it. Only OpenMetrics has
 * exemplars: the trace of one observation of each bucket.
 */
import type { Exemplar, Family, HistogramValue } from './metrics.ts';

export type Exposition = 'prometheus' | 'openmetrics';

export const CONTENT_TYPES: Readonly<Record<Exposition, string>> = {
  prometheus: 'text/plain; version=0.0.4; charset=utf-8',
  openmetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
};

/** The form that the `Accept` header of a scraper asks for. */
export const expositionFor = (accept = ''): Exposition =>
  accept.includes('application/openmetrics-text') ? 'openmetrics' : 'prometheus';

export function exposed(families: readonly Family[], form: Exposition): string {
  const lines = families.flatMap((family) => [...headerOf(family, form), ...samplesOf(family, form)]);
  return [...lines, ...(form === 'openmetrics' ? ['# EOF'] : []), ''].join('\n');
}

function headerOf({ name, declaration: { type, unit, help } }: Family, form: Exposition): string[] {
  // In OpenMetrics the family of a counter has no suffix, and its samples do.
  const family = form === 'openmetrics' ? name.replace(/_total$/, '') : name;
  const hasUnit = form === 'openmetrics' && unit !== '' && family.endsWith(`_${unit}`);
  return [
    `# TYPE ${family} ${type}`,
    ...(hasUnit ? [`# UNIT ${family} ${unit}`] : []),
    `# HELP ${family} ${escaped(help)}`,
  ];
}

function samplesOf({ name, declaration: { buckets = [] }, samples }: Family, form: Exposition): string[] {
  return samples.flatMap(({ labels, value }) =>
    typeof value === 'number'
      ? [`${name}${labelled(labels)} ${value}`]
      : histogramLines(name, { labels, value, buckets, form }),
  );
}

function histogramLines(
  name: string,
  {
    labels,
    value: { counts, sum, exemplars },
    buckets,
    form,
  }: {
    labels: Readonly<Record<string, string>>;
    value: HistogramValue;
    buckets: readonly number[];
    form: Exposition;
  },
): string[] {
  let below = 0;
  const lines = counts.map((count, at) => {
    below += count;
    const bound = buckets[at];
    const le = bound === undefined ? '+Inf' : String(bound);
    const exemplar = form === 'openmetrics' ? exemplarOf(exemplars[at]) : '';
    return `${name}_bucket${labelled({ ...labels, le })} ${below}${exemplar}`;
  });
  return [...lines, `${name}_sum${labelled(labels)} ${sum}`, `${name}_count${labelled(labels)} ${below}`];
}

const exemplarOf = (exemplar: Exemplar | undefined): string =>
  exemplar === undefined
    ? ''
    : ` # {trace_id="${escaped(exemplar.traceId)}"} ${exemplar.value} ${(exemplar.atMs / 1_000).toFixed(3)}`;

const labelled = (labels: Readonly<Record<string, string>>): string =>
  `{${Object.entries(labels)
    .map(([label, value]) => `${label}="${escaped(value)}"`)
    .join(',')}}`;

const escaped = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"');
