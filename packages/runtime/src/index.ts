/** The needs of every process. Imports nothing of ours. */
export { ADDRESS_EXPECTED, isAddress, parseAddress } from './address.ts';
export { bytesEqual, fromHex, hex, sha256, sha256Hex, short } from './bytes.ts';
export { canonicalJson } from './canonical-json.ts';
export { loadConfig, parseConfig } from './config.ts';
export {
  AntipodeError,
  CATALOGUE,
  type Disposition,
  type ErrorCode,
  type ErrorDetails,
  hasCode,
  invariant,
  isErrorCode,
} from './errors.ts';
export { makeFile, makeFolder, stagingOf, syncFolder, writeFileDurably } from './files/files.ts';
export { type FolderLock, lockFolder } from './files/folder-lock.ts';
export { placeFileOnce, requireNoFile, writeFileOnce, writeNewFile } from './files/new-file.ts';
export { temporaryBase } from './files/temporary-base.ts';
export { readTextFile } from './files/text-file.ts';
export { Log, type LogFields, type LogLevel, processLog, silentLog } from './log.ts';
export {
  METRIC_LABELS,
  METRIC_REASONS,
  METRICS,
  type MetricDeclaration,
  type MetricLabel,
  type MetricName,
  PROTECTION_STATES,
  SITE_STATES,
} from './metrics/catalogue.ts';
export { bucketOf, type HistogramDelta, Metrics, type SetGauge } from './metrics/metrics.ts';
export { addProcessMetrics } from './metrics/process-metrics.ts';
export { printable, printableBytes, printableLines } from './printable.ts';
export { type Prng, seededPrng, systemPrng, uuidFrom } from './prng.ts';
export { type Boot, readBoot } from './process/boot.ts';
export { type Health, HealthServer } from './process/health.ts';
export {
  type Closeable,
  closeAll,
  closeInTime,
  crashOnDefect,
  runUntilStopped,
  type Service,
  stopSignal,
} from './process/lifecycle.ts';
export { requireProgram } from './process/programs.ts';
export { type ProcessOptions, runProcess } from './process/run-process.ts';
export type { Send } from './process/supervisor.ts';
export { readPinFile, Secret } from './secret.ts';
export { SerialQueue } from './serial-queue.ts';
export {
  continuedTrace,
  currentTrace,
  inSpan,
  inTrace,
  startTelemetry,
  type Telemetry,
  traceIdOf,
} from './telemetry.ts';
export { type Clock, elapsedMs, systemClock } from './time/clock.ts';
export { every, type LoopOptions } from './time/loop.ts';
export { type LoopDelay, measureLoopDelay } from './time/loop-delay.ts';
export { LoopWatch } from './time/loop-watch.ts';
export { type Backoff, backoffMs } from './time/retry.ts';
export { Pace, runInSlices, runToEnd } from './time/slices.ts';
export { within } from './time/timeout.ts';
export { VERSION } from './version.ts';
