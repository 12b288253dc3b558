/** A store that loses or damages what other members have, on a whole system: nothing ends for good, at no member. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { FailoverPolicy } from '@antipode/protocol';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { GROUP, TestSystem } from '../../support/system.ts';

let system: TestSystem;
beforeAll(async () => {
  // The active site is stopped for as long as the machine takes to start it again.
  system = await TestSystem.start({ failoverPolicy: FailoverPolicy.MANUAL });
});
afterAll(() => system?.close());

/** One bit of every manifest, and one sealed object lost, while the agent is stopped. */
async function damage(site: string): Promise<void> {
  await system.stopAgent(site);
  const path = join(system.site(site).folder, 'data', 'generations.db');
  expect(readFileSync(path).length).toBeGreaterThan(0);
  const database = new DatabaseSync(path);
  for (const row of database.prepare('SELECT digest, signed FROM manifest').all()) {
    const signed = Buffer.from(row['signed'] as Uint8Array);
    signed[60]! ^= 1;
    database.prepare('UPDATE manifest SET signed = ? WHERE digest = ?').run(signed, row['digest'] as Uint8Array);
  }
  database.exec('DELETE FROM blob WHERE sha256 = (SELECT min(sha256) FROM blob)');
  database.close();
  await system.startAgent(site);
}

it.each(['a', 'b'])('a generation reaches every standby after the store of %s was damaged', async (site) => {
  await system.makeKey('a', site === 'a' ? '01' : '03');
  await system.replicate();
  await damage(site);
  await system.makeKey('a', site === 'a' ? '02' : '04');
  await system.insistent('it is replicated', () => system.replicate());
  expect(await system.untilProtection('protected')).toMatchObject({ activeSite: 'a' });
  await system.until('no partition reports a fault', async () => {
    const { sites } = await system.operator.getStatus({});
    return sites.every(({ partitions }) => partitions.every(({ errorCode }) => errorCode === ''));
  });
  expect((await system.operator.resolve({ group: GROUP })).site).toBe('a');
});
