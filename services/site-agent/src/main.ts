/** The process of a site agent: log, telemetry, signals. Started by `antipode agent run`. */
import { flushCompileCache } from 'node:module';
import { untilCertificateBegins } from '@antipode/protocol';
import {
  closeInTime,
  crashOnDefect,
  DelayedService,
  LoopWatch,
  processLog,
  runUntilStopped,
  type Send,
  Supervisor,
  startTelemetry,
  systemClock,
  systemPrng,
} from '@antipode/runtime';
import { agentMetrics, SiteAgent } from './agent.ts';
import { loadAgentConfig } from './config.ts';

/** The last traces may leave; nobody waits for a collector that is away. */
const TELEMETRY_MS_MAX = 500;

/** Passes of the watched loops are calls with time limits of seconds. Longer than this, none of them ends by itself. */
const PASS_MS_MAX = 120_000;

/** Runs until SIGINT or SIGTERM. `send` is for the service manager, where one has started this process. */
export async function runAgent(configFile: string, { send }: { send?: Send | undefined } = {}): Promise<void> {
  const config = loadAgentConfig(configFile);
  const log = processLog({ site: config.site });
  crashOnDefect(log);
  const watch = new LoopWatch({ clock: systemClock, passMsMax: PASS_MS_MAX });
  const supervisor = Supervisor.take(process.env, { send, clock: systemClock, log, watch });
  const metrics = agentMetrics({ config, log, clock: systemClock });
  const telemetry = await startTelemetry({ serviceName: 'antipode-site-agent', metrics });
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
      make: () => SiteAgent.open({ config, log, clock: systemClock, prng: systemPrng, watch, metrics }),
      http: config.http,
    });
    // For the next start, however this one ends: bin/antipode names a folder for it.
    await runUntilStopped(service, { log, supervisor, onStarted: () => flushCompileCache() });
  } finally {
    await closeInTime(telemetry, { log, timeoutMs: TELEMETRY_MS_MAX });
  }
}
