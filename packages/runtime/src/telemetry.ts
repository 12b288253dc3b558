/**
 * Traces, and the export of metrics. Exporters, endpoint and off-switch follow the OpenTelemetry environment variables
 * (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_SDK_DISABLED`, ...); without an endpoint nothing is exported.
 * Span attributes are ids, epochs and counts: never a label, a PIN or a blob (I5).
 */
import {
  type Attributes,
  type Context,
  context,
  propagation,
  type Span,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import type { NodeSDKConfiguration } from '@opentelemetry/sdk-node';
import { AntipodeError } from './errors.ts';
import type { Metrics } from './metrics/metrics.ts';
import { isExportingMetrics, metricReaders } from './metrics/otlp.ts';

export interface Telemetry {
  /** Sends what is still held and ends. Idempotent. */
  close(): Promise<void>;
}

type SpanProcessors = NonNullable<NodeSDKConfiguration['spanProcessors']>;

/** Starts exporting. The SDK is loaded only here, since most processes (CLI, HSM worker) never need it. */
export async function startTelemetry(options: {
  serviceName: string;
  spanProcessors?: SpanProcessors;
  /** Of this process; absent for one without metrics. */
  metrics?: Metrics;
}): Promise<Telemetry> {
  const exported = isExportingMetrics() ? options.metrics : undefined;
  const isTracing =
    process.env['OTEL_EXPORTER_OTLP_ENDPOINT'] !== undefined ||
    process.env['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'] !== undefined;
  if (
    process.env['OTEL_SDK_DISABLED'] === 'true' ||
    !(isTracing || exported !== undefined || options.spanProcessors !== undefined)
  ) {
    return { close: async () => {} };
  }
  // Where only metrics have an endpoint, traces would be sent to the default one.
  if (!isTracing && options.spanProcessors === undefined) process.env['OTEL_TRACES_EXPORTER'] ??= 'none';
  process.env['OTEL_LOGS_EXPORTER'] ??= 'none';
  const { NodeSDK } = await import('@opentelemetry/sdk-node');
  const sdk = new NodeSDK({
    serviceName: process.env['OTEL_SERVICE_NAME'] ?? options.serviceName,
    instrumentations: [],
    metricReaders: exported === undefined ? [] : await metricReaders(exported),
    ...(options.spanProcessors === undefined ? {} : { spanProcessors: options.spanProcessors }),
  });
  sdk.start();
  let closed: Promise<void> | undefined;
  return { close: () => (closed ??= sdk.shutdown().catch(() => undefined)) };
}

/** Runs `work` in a span; a thrown error marks the span with its code and goes on. */
export async function inSpan<T>(
  name: string,
  attributes: Attributes,
  work: (span: Span) => Promise<T>,
  parent: Context = context.active(),
): Promise<T> {
  return trace.getTracer('antipode').startActiveSpan(name, { attributes }, parent, async (span) => {
    try {
      return await work(span);
    } catch (thrown) {
      const error = AntipodeError.from(thrown);
      span.setAttribute('antipode.error.code', error.code);
      span.setStatus({ code: SpanStatusCode.ERROR, message: error.code });
      throw thrown;
    } finally {
      span.end();
    }
  });
}

/** The id of a trace from its carrier; undefined where there is none. */
export function traceIdOf({ traceparent = '' }: Readonly<Record<string, string>>): string | undefined {
  return /^[0-9a-f]{2}-([0-9a-f]{32})-/.exec(traceparent)?.[1];
}

/** The W3C trace context of the current span as a carrier (`traceparent`, ...): for job rows and gRPC metadata. */
export function currentTrace(): Record<string, string> {
  const carrier: Record<string, string> = {};
  propagation.inject(context.active(), carrier);
  return carrier;
}

/** The context that continues the trace in `carrier`. */
export function continuedTrace(carrier: Readonly<Record<string, string>>): Context {
  return propagation.extract(context.active(), carrier);
}

/** Runs `work` with the trace in `carrier` as its parent. */
export function inTrace<T>(carrier: Readonly<Record<string, string>>, work: () => T): T {
  return context.with(continuedTrace(carrier), work);
}
