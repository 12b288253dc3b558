/** The process of a site agent. Started by `antipode agent run`. */
import { flushCompileCache } from 'node:module';
import { untilCertificateBegins } from '@antipode/protocol';
import { processLog, runProcess, type Send, systemClock, systemPrng } from '@antipode/runtime';
import { agentMetrics, SiteAgent } from './agent.ts';
import { loadAgentConfig } from './config.ts';

/** Runs until SIGINT or SIGTERM. `send` is for the service manager, where one has started this process. */
export async function runAgent(configFile: string, { send }: { send?: Send | undefined } = {}): Promise<void> {
  const config = loadAgentConfig(configFile);
  const { ca: caFile, certificate: certificateFile, key: keyFile } = config.tls;
  const log = processLog({ site: config.site });
  const metrics = agentMetrics({ config, log, clock: systemClock });
  await runProcess({
    serviceName: 'antipode-site-agent',
    log,
    metrics,
    send,
    http: config.http,
    ready: (signal, onWaiting) =>
      untilCertificateBegins({ caFile, certificateFile, keyFile }, { clock: systemClock, log, signal, onWaiting }),
    make: (watch) => SiteAgent.open({ config, log, clock: systemClock, prng: systemPrng, watch, metrics }),
    // For the next start, however this one ends: bin/antipode names a folder for it.
    onStarted: () => flushCompileCache(),
  });
}
