/** The process of a site agent: log, telemetry, signals. Started by `antipode agent run`. */
import { flushCompileCache } from 'node:module';
import { crashOnDefect, processLog, startTelemetry, stopSignal } from '@antipode/runtime';
import { SiteAgent } from './agent.ts';
import { loadAgentConfig } from './config.ts';

/** Runs until SIGINT or SIGTERM. */
export async function runAgent(configFile: string): Promise<void> {
  const config = loadAgentConfig(configFile);
  const log = processLog({ site: config.site });
  crashOnDefect(log);
  const telemetry = await startTelemetry({ serviceName: 'antipode-site-agent' });
  try {
    const agent = new SiteAgent({ config, log });
    const stopped = stopSignal();
    await agent.start();
    // For the next start, however this one ends: bin/antipode names a folder for it.
    flushCompileCache();
    log.info('stopping', { signal: await stopped });
    await agent.close();
  } finally {
    await telemetry.close();
  }
}
