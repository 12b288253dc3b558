import {
  METRIC_LABELS,
  METRICS,
  type MetricDeclaration,
  type MetricLabel,
  type MetricName,
  type ProcessRole,
} from '../packages/runtime/src/metrics/catalogue.ts';
import { wrap } from './wrap.ts';

const SECTIONS: readonly { title: string; intro: string; has: (from: readonly ProcessRole[]) => boolean }[] = [
  {
    title: 'Every process',
    intro: 'Coordinators, agents and witnesses export these.',
    has: (from) => from.includes('coordinator') && from.includes('agent'),
  },
  {
    title: 'Every coordinator',
    intro: 'Counters and histograms count what this process has seen. They begin at 0 with each start.',
    has: (from) => from.includes('coordinator') && !from.includes('agent'),
  },
  {
    title: 'The coordinator that leads',
    intro: 'A coordinator that stands by does not know these, and exports none of them.',
    has: (from) => from.includes('leader'),
  },
  {
    title: 'Agents and witnesses',
    intro: 'Each site tells these of itself, whether a coordinator hears it or not.',
    has: (from) => from.includes('witness') && !from.includes('coordinator'),
  },
  {
    title: 'Agents only',
    intro: 'A witness has no partitions and holds no lease.',
    has: (from) => from.includes('agent') && !from.includes('witness'),
  },
];

/** `docs/metrics.md`: the catalogue for people, by the process that exports it. */
export function metricsDocs(): string {
  const labels = (Object.entries(METRIC_LABELS) as [MetricLabel, string][]).map(([label, bound]) =>
    wrap(`- \`${label}\`: ${bound}`).replaceAll('\n', '\n  '),
  );
  return `<!-- Generated from packages/runtime/src/metrics/catalogue.ts by \`npm run generate\`. Do not edit. -->

# Metrics

Each process serves its metrics at \`/metrics\` of its \`http\` address, and sends them over OTLP where the environment
names an endpoint. [How to set it up](howto/monitoring.md) has the alerts and dashboards too.

A value that is not known is absent, and never 0. Where a whole part cannot be read, \`antipode_metrics_known\` is 0.
Times are seconds, ages count up, and a name ends with its unit.

## Labels

No label has an object id, a key label, an address or a message.

${labels.join('\n')}

${SECTIONS.map(section).join('\n\n')}
`;
}

function section({ title, intro, has }: (typeof SECTIONS)[number]): string {
  const entries = (Object.entries(METRICS) as [MetricName, MetricDeclaration][])
    .filter(([, { from }]) => has(from))
    .map(([name, metric]) => entry(name, metric));
  return [`## ${title}`, wrap(intro), ...entries].join('\n\n');
}

function entry(name: string, { type, unit, labels, help, meaning, buckets }: MetricDeclaration): string {
  const facts = [
    `- type: ${type}${unit === '' ? '' : `, in ${unit}`}`,
    `- labels: ${labels.map((label) => `\`${label}\``).join(', ')}`,
    ...(buckets === undefined ? [] : [wrap(`- buckets: ${buckets.join(', ')}`).replaceAll('\n', '\n  ')]),
  ];
  return [`### ${name}`, wrap(help), facts.join('\n'), wrap(meaning)].join('\n\n');
}
