/** The process around a service: defects, the service manager, telemetry, signals. */
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { startTelemetry } from '../telemetry.ts';
import { systemClock } from '../time/clock.ts';
import { LoopWatch } from '../time/loop-watch.ts';
import { DelayedService, type DelayedServiceOptions } from './delayed-service.ts';
import { closeInTime, crashOnDefect, runUntilStopped, type Service } from './lifecycle.ts';
import { type Send, Supervisor } from './supervisor.ts';

/** The last traces may leave; nobody waits for a collector that is away. */
const TELEMETRY_MS_MAX = 500;

/** Passes of the watched loops are statements and calls with time limits of seconds. A longer pass never ends by itself. */
const PASS_MS_MAX = 120_000;

export interface ProcessOptions extends Pick<DelayedServiceOptions, 'ready' | 'http'> {
  /** As traces name it. */
  readonly serviceName: string;
  readonly log: Log;
  readonly metrics: Metrics;
  /** For the service manager, where one has started this process. */
  readonly send: Send | undefined;
  readonly make: (watch: LoopWatch) => Service;
  readonly onStarted?: () => void;
}

/** Runs until SIGINT or SIGTERM. @throws what the start or the close threw */
export async function runProcess({
  serviceName,
  log,
  metrics,
  send,
  ready,
  make,
  http,
  onStarted = () => {},
}: ProcessOptions): Promise<void> {
  crashOnDefect(log);
  const watch = new LoopWatch({ clock: systemClock, passMsMax: PASS_MS_MAX });
  const supervisor = Supervisor.take(process.env, { send, clock: systemClock, log, watch });
  const telemetry = await startTelemetry({ serviceName, metrics });
  try {
    const service = new DelayedService({
      ready: (signal, onWaiting) =>
        ready(signal, (why) => {
          onWaiting(why);
          supervisor?.waiting(why);
        }),
      make: () => make(watch),
      http,
    });
    await runUntilStopped(service, { log, supervisor, onStarted });
  } finally {
    await closeInTime(telemetry, { log, timeoutMs: TELEMETRY_MS_MAX });
  }
}
