/** Redis as a child of the coordinator: what it does not start on is wiped, since only time is lost with it (I8). */
import { appendFileSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { EmbeddedRedis } from '@antipode/coordinator/testing';
import { seededPrng, silentLog, systemClock } from '@antipode/runtime';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { temporaryFolder } from '../../support/tokens.ts';

let dataFolder: string;
let redis: EmbeddedRedis;
beforeEach(() => {
  dataFolder = temporaryFolder('redis');
  redis = new EmbeddedRedis({ dataFolder, clock: systemClock, prng: seededPrng('redis'), log: silentLog });
});
afterEach(async () => {
  await redis.close();
  rmSync(dataFolder, { recursive: true, force: true });
});

async function pings(): Promise<string> {
  const client = new Redis({ path: redis.socketPath, retryStrategy: () => null });
  client.on('error', () => {});
  try {
    return await client.ping();
  } finally {
    client.disconnect();
  }
}

it('starts on a folder that was damaged', async () => {
  const folder = join(dataFolder, 'redis', 'appendonlydir');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'appendonly.aof.manifest'), 'not a manifest at all\n');
  await redis.start();
  expect(await pings()).toBe('PONG');
});

it('comes back after a crash that damaged its folder', async () => {
  await redis.start();
  const folder = join(dataFolder, 'redis', 'appendonlydir');
  for (const file of readdirSync(folder))
    if (file.endsWith('.manifest')) appendFileSync(join(folder, file), 'garbage\n');
  const former = redis.pid!;
  process.kill(former, 'SIGKILL');
  for (;;) {
    if (redis.pid !== former && (await pings().catch(() => '')) === 'PONG') break;
    await systemClock.sleep(50);
  }
});
