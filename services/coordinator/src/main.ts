/** The process of a coordinator: log, telemetry, signals. Started by `antipode coordinator run`. */
import { untilCertificateBegins } from '@antipode/protocol';
import {
  closeInTime,
  crashOnDefect,
  DelayedService,
  LoopWatch,
  Metrics,
  processLog,
  runUntilStopped,
  type Send,
  Supervisor,
  startTelemetry,
  systemClock,
} from '@antipode/runtime';
import { loadCoordinatorConfig } from './config.ts';
import { Coordinator } from './coordinator.ts';

/** The last traces may leave; nobody waits for a collector that is away. */
const TELEMETRY_MS_MAX = 500;

/** Passes of the watched loops are statements and calls with time limits of seconds, also in a fleet of a thousand groups. */
const PASS_MS_MAX = 120_000;

/** Runs until SIGINT or SIGTERM. `send` is for the service manager, where one has started this process. */
export async function runCoordinator(configFile: string, { send }: { send?: Send | undefined } = {}): Promise<void> {
  const config = loadCoordinatorConfig(configFile);
  const log = processLog({ coordinator: config.id });
  crashOnDefect(log);
  const watch = new LoopWatch({ clock: systemClock, passMsMax: PASS_MS_MAX });
  const supervisor = Supervisor.take(process.env, { send, clock: systemClock, log, watch });
  const metrics = new Metrics({ role: 'coordinator', name: config.id, log });
  const telemetry = await startTelemetry({ serviceName: 'antipode-coordinator', metrics });
  try {
    const { ca: caFile, certificate: certificateFile, key: keyFile } = config.tls;
    const service = new DelayedService({
      ready: (signal, onWaiting) =>
        untilCertificateBegins(
          { caFile, certificateFile, keyFile },
          {
            clock: systemClock,
            log,
            signal,
            onWaiting: (why) => {
              onWaiting(why);
              supervisor?.waiting(why);
            },
          },
        ),
      make: () => new Coordinator({ config, log, watch, metrics }),
      http: config.http,
    });
    await runUntilStopped(service, { log, supervisor });
  } finally {
    await closeInTime(telemetry, { log, timeoutMs: TELEMETRY_MS_MAX });
  }
}
