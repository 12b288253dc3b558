/** What every process needs. Imports nothing of ours. */
export { ADDRESS_EXPECTED, isAddress, parseAddress } from './address.ts';
export { type Boot, readBoot } from './boot.ts';
export { bytesEqual, fromHex, hex, sha256, sha256Hex, short } from './bytes.ts';
export { type Clock, systemClock } from './clock.ts';
export { loadConfig, parseConfig } from './config.ts';
export { DelayedService, type DelayedServiceOptions } from './delayed-service.ts';
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
export { makeFile, makeFolder, syncFolder, writeFileDurably } from './files.ts';
export { lockFolder } from './folder-lock.ts';
export { type Health, HealthServer } from './health.ts';
export {
  type Closeable,
  closeAll,
  closeInTime,
  crashOnDefect,
  runUntilStopped,
  type Service,
  stopSignal,
} from './lifecycle.ts';
export { Serial, within } from './limits.ts';
export { Log, type LogFields, type LogLevel, processLog, silentLog } from './log.ts';
export { every, type LoopOptions } from './loop.ts';
export { type LoopDelay, measureLoopDelay } from './loop-delay.ts';
export { type Prng, seededPrng, systemPrng } from './prng.ts';
export { requireProgram } from './programs.ts';
export { type Backoff, backoffMs } from './retry.ts';
export { readPinFile, Secret } from './secret.ts';
export { atOnce, inSlices, Pace } from './slices.ts';
export { continuedTrace, currentTrace, inSpan, inTrace, startTelemetry, type Telemetry } from './telemetry.ts';
export { temporaryBase } from './temporary-base.ts';
export { VERSION } from './version.ts';
