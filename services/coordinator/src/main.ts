/** The process of a coordinator: log, telemetry, signals. Started by `antipode coordinator run`. */
import { crashOnDefect, processLog, startTelemetry, stopSignal } from '@antipode/runtime';
import { loadCoordinatorConfig } from './config.ts';
import { Coordinator } from './coordinator.ts';

/** Runs until SIGINT or SIGTERM. */
export async function runCoordinator(configFile: string): Promise<void> {
  const config = loadCoordinatorConfig(configFile);
  const log = processLog({ coordinator: config.id });
  crashOnDefect(log);
  const telemetry = await startTelemetry({ serviceName: 'antipode-coordinator' });
  const coordinator = new Coordinator({ config, log });
  const stopped = stopSignal();
  await coordinator.start();
  log.info('stopping', { signal: await stopped });
  await coordinator.close();
  await telemetry.close();
}
