/** The worker is a real process; its PKCS#11 module is none. The integration tests have real modules. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Log, silentLog, systemClock } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { PartitionConfig } from '../session/session.ts';
import { openPartition } from './worker-provider.ts';

let folder: string;
let config: PartitionConfig;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'antipode-worker-'));
  const module = join(folder, 'module.so');
  writeFileSync(module, 'no library');
  config = { module, tokenLabel: 'a', pinFile: join(folder, 'pin'), stateFolder: join(folder, 'state') };
});

afterAll(() => rmSync(folder, { recursive: true }));

it('passes an error of the worker on with its code and details', async () => {
  expect(await rejection(openPartition(config, { log: silentLog, clock: systemClock }))).toMatchObject({
    code: 'MODULE_UNAVAILABLE',
    details: { module: config.module },
  });
});

it('throws HSM_WORKER_LOST, ends the worker and says so once when a call takes too long', async () => {
  const lines: string[] = [];
  const log = new Log({ level: 'warn', format: 'text', write: (line) => lines.push(line) });
  const error = await rejection(openPartition(config, { log, clock: systemClock, callTimeoutMs: 0 }));
  expect(error).toMatchObject({ code: 'HSM_WORKER_LOST', details: { calls: 'open' } });
  expect(lines).toHaveLength(1);
});
