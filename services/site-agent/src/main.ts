/** The process of a site agent: log, telemetry, signals. Started by `antipode agent run`. */
import { flushCompileCache } from 'node:module';
import { untilCertificateBegins } from '@antipode/protocol';
import {
  closeInTime,
  crashOnDefect,
  DelayedService,
  processLog,
  runUntilStopped,
  startTelemetry,
  systemClock,
  systemPrng,
} from '@antipode/runtime';
import { SiteAgent } from './agent.ts';
import { loadAgentConfig } from './config.ts';

/** The last traces may leave; nobody waits for a collector that is away. */
const TELEMETRY_MS_MAX = 500;

/** Runs until SIGINT or SIGTERM. */
export async function runAgent(configFile: string): Promise<void> {
  const config = loadAgentConfig(configFile);
  const log = processLog({ site: config.site });
  crashOnDefect(log);
  const telemetry = await startTelemetry({ serviceName: 'antipode-site-agent' });
  try {
    const { ca: caFile, certificate: certificateFile, key: keyFile } = config.tls;
    const service = new DelayedService({
      ready: (signal, onWaiting) =>
        untilCertificateBegins({ caFile, certificateFile, keyFile }, { clock: systemClock, log, signal, onWaiting }),
      make: () => SiteAgent.open({ config, log, clock: systemClock, prng: systemPrng }),
      http: config.http,
    });
    // For the next start, however this one ends: bin/antipode names a folder for it.
    await runUntilStopped(service, { log, onStarted: () => flushCompileCache() });
  } finally {
    await closeInTime(telemetry, { log, timeoutMs: TELEMETRY_MS_MAX });
  }
}
