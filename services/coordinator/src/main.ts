/** The process of a coordinator. Started by `antipode coordinator run`. */
import { untilCertificateBegins } from '@antipode/protocol';
import { Metrics, processLog, runProcess, type Send, systemClock } from '@antipode/runtime';
import { loadCoordinatorConfig } from './config.ts';
import { Coordinator } from './coordinator.ts';

/** Runs until SIGINT or SIGTERM. `send` is for the service manager, where one has started this process. */
export async function runCoordinator(configFile: string, { send }: { send?: Send | undefined } = {}): Promise<void> {
  const config = loadCoordinatorConfig(configFile);
  const { ca: caFile, certificate: certificateFile, key: keyFile } = config.tls;
  const log = processLog({ coordinator: config.id });
  const metrics = new Metrics({ role: 'coordinator', name: config.id, log });
  await runProcess({
    serviceName: 'antipode-coordinator',
    log,
    metrics,
    send,
    http: config.http,
    ready: (signal, onWaiting) =>
      untilCertificateBegins({ caFile, certificateFile, keyFile }, { clock: systemClock, log, signal, onWaiting }),
    make: (watch) => new Coordinator({ config, log, watch, metrics }),
  });
}
