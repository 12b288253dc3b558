/** The agent's partitions over real workers: when a worker is kept, and when it is another one. */
import { join } from 'node:path';
import { initialiseIdentity, openPartition } from '@antipode/hsm-core';
import { Log, silentLog, systemPrng } from '@antipode/runtime';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Journal } from '../../services/site-agent/src/journal.ts';
import { Partitions, type RecyclePolicy } from '../../services/site-agent/src/partitions.ts';
import { makeToken, type TestToken } from '../support/tokens.ts';

const MIB = 1024 ** 2;

let token: TestToken;
let journal: Journal;
let partitions: Partitions | undefined;
const lines: string[] = [];

beforeEach(async () => {
  token = makeToken('main');
  journal = new Journal(join(token.folder, 'data'));
  lines.length = 0;
  const provider = await openPartition(token.config, { log: silentLog });
  const announce = (serial: string, ckaId: Uint8Array): void => journal.announceKey(serial, ckaId);
  journal.addIdentity('main', await initialiseIdentity({ provider, prng: systemPrng, announce }));
  await provider.close();
});

afterEach(async () => {
  await partitions?.close();
  journal.close();
  token.remove();
});

/** Which provider, and so which worker, each of some turns had. */
async function providersOf(turns: number, recycle: RecyclePolicy): Promise<object[]> {
  const { module, tokenLabel, pinFile, environment = {} } = token.config;
  const log = new Log({ level: 'info', format: 'text', write: (line) => lines.push(line) });
  const settings = [{ name: 'main', module, tokenLabel, pinFile, environment, role: 'member' as const }];
  partitions = new Partitions({
    settings,
    journal,
    dataFolder: join(token.folder, 'data'),
    log,
    recycle,
  });
  const seen: object[] = [];
  for (let turn = 0; turn < turns; turn += 1)
    await partitions.all[0]!.use(async ({ provider }) => {
      await provider.inventory();
      seen.push(provider);
    });
  return seen;
}

it('keep their worker, which takes less than half a gigabyte', async () => {
  const providers = await providersOf(3, { residentBytesMax: 512 * MIB, turnsMin: 1 });
  expect(new Set(providers).size).toBe(1);
  expect(lines.join()).not.toContain('recycled');
});

it('begin anew with a worker that has grown too big, after some turns at least', async () => {
  const providers = await providersOf(4, { residentBytesMax: 20 * MIB, turnsMin: 2 });
  expect(providers.map((provider) => providers.indexOf(provider))).toEqual([0, 0, 2, 2]);
  expect(lines.filter((line) => line.includes('HSM worker recycled'))).toHaveLength(2);
});
