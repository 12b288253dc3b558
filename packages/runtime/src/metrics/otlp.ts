/**
 * Sends the metrics of the process over OTLP, where `OTEL_EXPORTER_OTLP_ENDPOINT` (or its variable for metrics) says so.
 * Protocol, headers and the other settings are those of the OpenTelemetry environment variables. The values are those that
 * a scrape would find.
 */
import { type HrTime, ValueType } from '@opentelemetry/api';
import type { CollectionResult, MetricData, PushMetricExporter } from '@opentelemetry/sdk-metrics';
import type { NodeSDKConfiguration } from '@opentelemetry/sdk-node';
import { AntipodeError } from '../errors.ts';
import { type Clock, systemClock } from '../time/clock.ts';
import type { Family, HistogramValue, Metrics } from './metrics.ts';

export type MetricReaders = NonNullable<NodeSDKConfiguration['metricReaders']>;

const INTERVAL_MS_DEFAULT = 60_000;
const PROTOCOLS = ['grpc', 'http/protobuf', 'http/json'] as const;
type Protocol = (typeof PROTOCOLS)[number];

/** Whether the environment asks for metrics over OTLP. */
export function isExportingMetrics(environment: NodeJS.ProcessEnv = process.env): boolean {
  const { OTEL_METRICS_EXPORTER: exporter = 'otlp' } = environment;
  const endpoint = environment['OTEL_EXPORTER_OTLP_METRICS_ENDPOINT'] ?? environment['OTEL_EXPORTER_OTLP_ENDPOINT'];
  return endpoint !== undefined && exporter.split(',').includes('otlp');
}

/** @throws CONFIG_INVALID for a protocol that is none of OTLP */
export async function metricReaders(
  metrics: Metrics,
  { clock = systemClock, environment = process.env }: { clock?: Clock; environment?: NodeJS.ProcessEnv } = {},
): Promise<MetricReaders> {
  const { AggregationTemporality, DataPointType, PeriodicExportingMetricReader } = await import(
    '@opentelemetry/sdk-metrics'
  );
  const startTime = hrTime(clock.wallMs());
  /** Cumulative, as a scrape is. */
  const dataOf = ({ name, declaration: { type, unit, help, buckets = [] }, samples }: Family): MetricData => {
    const endTime = hrTime(clock.wallMs());
    const common = {
      descriptor: {
        name,
        description: help,
        unit: UNITS[unit] ?? (unit === '' ? '1' : `{${unit}}`),
        valueType: ValueType.DOUBLE,
      },
      aggregationTemporality: AggregationTemporality.CUMULATIVE,
    };
    const points = samples.map(({ labels, value }) => ({ attributes: { ...labels }, startTime, endTime, value }));
    const numbers = points.filter(
      (point): point is (typeof points)[number] & { value: number } => typeof point.value === 'number',
    );
    if (type === 'gauge') return { ...common, dataPointType: DataPointType.GAUGE, dataPoints: numbers };
    if (type === 'counter')
      return { ...common, dataPointType: DataPointType.SUM, isMonotonic: true, dataPoints: numbers };
    return {
      ...common,
      dataPointType: DataPointType.HISTOGRAM,
      dataPoints: points.flatMap(({ value, ...point }) =>
        typeof value === 'number' ? [] : [{ ...point, value: histogramOf(value, buckets) }],
      ),
    };
  };
  const producer = {
    collect: async (): Promise<CollectionResult> => {
      const scope = { name: 'antipode' };
      return {
        resourceMetrics: {
          resource: NOT_READ,
          scopeMetrics: [{ scope, metrics: (await metrics.collect()).map(dataOf) }],
        },
        errors: [],
      };
    },
  };
  const exportIntervalMillis = Number(environment['OTEL_METRIC_EXPORT_INTERVAL'] ?? INTERVAL_MS_DEFAULT);
  return [
    new PeriodicExportingMetricReader({
      exporter: await exporterFor(protocolOf(environment)),
      exportIntervalMillis,
      exportTimeoutMillis: Math.min(exportIntervalMillis, EXPORT_MS_MAX),
      metricProducers: [producer],
    }),
  ];
}

/** The reader takes the resource of the SDK, and none of a producer. */
const NOT_READ = {} as CollectionResult['resourceMetrics']['resource'];
const EXPORT_MS_MAX = 30_000;
/** As UCUM writes them. */
const UNITS: Readonly<Record<string, string>> = { seconds: 's', bytes: 'By', ratio: '1' };

function protocolOf(environment: NodeJS.ProcessEnv): Protocol {
  const asked =
    environment['OTEL_EXPORTER_OTLP_METRICS_PROTOCOL'] ?? environment['OTEL_EXPORTER_OTLP_PROTOCOL'] ?? 'http/protobuf';
  const protocol = PROTOCOLS.find((one) => one === asked);
  if (protocol !== undefined) return protocol;
  throw new AntipodeError(
    'CONFIG_INVALID',
    `OTEL_EXPORTER_OTLP_PROTOCOL is "${asked}", expected ${PROTOCOLS.join(', ')}`,
  );
}

async function exporterFor(protocol: Protocol): Promise<PushMetricExporter> {
  if (protocol === 'grpc') return new (await import('@opentelemetry/exporter-metrics-otlp-grpc')).OTLPMetricExporter();
  if (protocol === 'http/json')
    return new (await import('@opentelemetry/exporter-metrics-otlp-http')).OTLPMetricExporter();
  return new (await import('@opentelemetry/exporter-metrics-otlp-proto')).OTLPMetricExporter();
}

const histogramOf = ({ counts, sum }: HistogramValue, buckets: readonly number[]) => ({
  buckets: { boundaries: [...buckets], counts: [...counts] },
  sum,
  count: counts.reduce((all, count) => all + count, 0),
});

const hrTime = (ms: number): HrTime => [Math.floor(ms / 1_000), Math.round((ms % 1_000) * 1e6)];
