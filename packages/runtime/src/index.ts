/** What every process needs. Imports nothing of ours. */
export { bytesEqual, fromHex, hex, sha256, sha256Hex, short } from './bytes.ts';
export { systemClock, type Clock } from './clock.ts';
export { loadConfig, parseConfig } from './config.ts';
export { AntipodeError, CATALOGUE, hasCode, invariant, isErrorCode, type Disposition, type ErrorCode, type ErrorDetails } from './errors.ts';
export { syncFolder, writeFileDurably } from './files.ts';
export { closeAll, crashOnDefect, stopSignal, type Closeable } from './lifecycle.ts';
export { Serial, within } from './limits.ts';
export { Log, processLog, silentLog, type LogFields, type LogLevel } from './log.ts';
export { every, type LoopOptions } from './loop.ts';
export { seededPrng, systemPrng, type Prng } from './prng.ts';
export { backoffMs, type Backoff } from './retry.ts';
export { readPinFile, Secret } from './secret.ts';
export { continuedTrace, currentTrace, inSpan, inTrace, startTelemetry, type Telemetry } from './telemetry.ts';
export { HealthServer, type Health } from './health.ts';
export { type LoopDelay, measureLoopDelay } from './loop-delay.ts';
export { VERSION } from './version.ts';
