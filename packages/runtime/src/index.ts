/** The needs of every process. Imports nothing of ours. */
export { ADDRESS_EXPECTED, isAddress, parseAddress } from './address.ts';
export { bytesEqual, fromHex, hex, sha256, sha256Hex, short } from './bytes.ts';
export { type Clock, systemClock } from './clock.ts';
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
export { makeFile, makeFolder, syncFolder, writeFileDurably } from './files/files.ts';
export { lockFolder } from './files/folder-lock.ts';
export { temporaryBase } from './files/temporary-base.ts';
export { Log, type LogFields, type LogLevel, processLog, silentLog } from './log.ts';
export { every, type LoopOptions } from './loop.ts';
export { type LoopDelay, measureLoopDelay } from './loop-delay.ts';
export { type Prng, seededPrng, systemPrng, uuidFrom } from './prng.ts';
export { type Boot, readBoot } from './process/boot.ts';
export { DelayedService, type DelayedServiceOptions } from './process/delayed-service.ts';
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
export { type Backoff, backoffMs } from './retry.ts';
export { readPinFile, Secret } from './secret.ts';
export { SerialQueue } from './serial-queue.ts';
export { Pace, runInSlices, runToEnd } from './slices.ts';
export { continuedTrace, currentTrace, inSpan, inTrace, startTelemetry, type Telemetry } from './telemetry.ts';
export { within } from './timeout.ts';
export { VERSION } from './version.ts';
