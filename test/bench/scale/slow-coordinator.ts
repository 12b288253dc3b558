/**
 * The parts of a coordinator process under a clock that runs slower than the machine's. So a machine that is busy with
 * other things can carry a fleet that it could not carry in time, and what is measured is processor time in a second of
 * that clock. Connections keep their own time-outs: what they cost while nothing happens counts more often than it should.
 */
import { join } from 'node:path';
import { loadCoordinatorConfig } from '@antipode/coordinator';
import {
  BullWakeUps,
  buildCoordinator,
  type CoordinatorGraph,
  dialOverTls,
  EmbeddedRedis,
  PostgresStore,
  Timeline,
} from '@antipode/coordinator/testing';
import { CoordinatorService, OperatorService, RpcServer, Tls } from '@antipode/protocol';
import { crashOnDefect, measureLoopDelay, processLog, systemClock, systemPrng } from '@antipode/runtime';
import { RatedClock } from '@antipode/runtime/testing';

const [file, pace] = process.argv.slice(2) as [string, string];
const config = loadCoordinatorConfig(file);
const { id, timings, databaseUrl, listen } = config;
const log = processLog({ coordinator: id });
crashOnDefect(log);
const clock = new RatedClock(systemClock);
clock.rate = Number(pace);
const timeline = new Timeline({ clock, log, boot: () => undefined });
const { ca: caFile, certificate: certificateFile, key: keyFile } = config.tls;
const tls = new Tls({ caFile, certificateFile, keyFile }, { clock: systemClock, log });
const redis = new EmbeddedRedis({ dataFolder: join(config.dataFolder), clock: systemClock, prng: systemPrng, log });
const store = new PostgresStore({ connection: { connectionString: databaseUrl! }, clock: timeline, log });
const renewals = store.apart({});
await store.found();
const loopDelay = measureLoopDelay();
const wakeUps = new BullWakeUps({
  connection: await redis.start(),
  clock: timeline,
  log,
  run: (intent) => graph.run(intent),
  onDefect: (error) => {
    throw error;
  },
});
const graph: CoordinatorGraph = buildCoordinator({
  id,
  timings,
  clock,
  timeline,
  prng: systemPrng,
  log,
  store,
  renewals,
  dial: dialOverTls(tls),
  wakeUps,
  loopDelayMs: () => loopDelay.maxMs() * Number(pace),
});
await wakeUps.start();
await graph.takePart();
const server = new RpcServer({ tls, log });
server.add(CoordinatorService, graph.handlers.coordinator);
server.add(OperatorService, graph.handlers.operator);
await server.listen(listen);
graph.start();
process.once('SIGTERM', async () => {
  await graph.stopLooking();
  await server.close(0);
  await graph.close();
  await store.close();
  await redis.close();
  process.exit(0);
});
