/** The process of a coordinator: log, telemetry, signals. Started by `antipode coordinator run`. */
import { untilCertificateBegins } from '@antipode/protocol';
import {
  closeInTime,
  crashOnDefect,
  DelayedService,
  processLog,
  runUntilStopped,
  startTelemetry,
  systemClock,
} from '@antipode/runtime';
import { loadCoordinatorConfig } from './config.ts';
import { Coordinator } from './coordinator.ts';

/** The last traces may leave; nobody waits for a collector that is away. */
const TELEMETRY_MS_MAX = 500;

/** Runs until SIGINT or SIGTERM. */
export async function runCoordinator(configFile: string): Promise<void> {
  const config = loadCoordinatorConfig(configFile);
  const log = processLog({ coordinator: config.id });
  crashOnDefect(log);
  const telemetry = await startTelemetry({ serviceName: 'antipode-coordinator' });
  try {
    const { ca: caFile, certificate: certificateFile, key: keyFile } = config.tls;
    const service = new DelayedService({
      ready: (signal, onWaiting) =>
        untilCertificateBegins({ caFile, certificateFile, keyFile }, { clock: systemClock, log, signal, onWaiting }),
      make: () => new Coordinator({ config, log }),
      http: config.http,
    });
    await runUntilStopped(service, { log });
  } finally {
    await closeInTime(telemetry, { log, timeoutMs: TELEMETRY_MS_MAX });
  }
}
