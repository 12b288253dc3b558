/** A key that storage damaged at the active member is brought back by a person, and what else bears its names stays. */
import { rmSync } from 'node:fs';
import { CKA, CKM, CKO, mechanism } from '@antipode/cryptoki';
import { FailoverPolicy } from '@antipode/protocol';
import { silentLog } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { listDeleted, loadAgentConfig, restoreDeleted } from '@antipode/site-agent';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openRawToken } from '../../attacks/support/raw-token.ts';
import { label } from '../../attacks/support/templates.ts';
import { damageValue, filesOf } from '../../support/raw-token.ts';
import { GROUP, TestSystem } from '../../support/system.ts';

let system: TestSystem;
beforeAll(async () => {
  // The active site is stopped for as long as the machine takes to start it again.
  system = await TestSystem.start({ failoverPolicy: FailoverPolicy.MANUAL });
});
afterAll(() => system?.close());

const at = () => ({ config: loadAgentConfig(system.site('a').configFile), group: GROUP });
const BLOCK = Buffer.alloc(16, 7);

/** The output of each key with this label for one block. */
async function encrypted(site: string): Promise<string[]> {
  const token = await openRawToken(system.site(site).token);
  try {
    const keys = await token.find([[CKA.CLASS, CKO.SECRET_KEY], ...label('key 01')]);
    const blocks = await Promise.all(keys.map((key) => token.encrypt(mechanism(CKM.AES_ECB), key, BLOCK)));
    return blocks.map((block) => Buffer.from(block).toString('hex')).sort();
  } finally {
    await token.close();
  }
}

it('a damaged key is sound again, and a second key of its names is still there', async () => {
  const { token } = system.site('a');
  const before = filesOf(token);
  await system.makeKey('a', '01');
  const file = [...filesOf(token)].find((path) => !before.has(path))!;
  await system.makeKey('a', '01');
  await system.replicate();
  const sound = await encrypted('a');
  expect(sound).toHaveLength(2);
  await system.stopAgent('a');
  damageValue(file);
  await system.startAgent('a');
  await system.until('it is active again', () => system.replicate());
  const isKnown = filesOf(token);
  const changed = (await listDeleted(at())).filter(({ state }) => state === 'changed');
  expect([changed.length, changed[0]?.isRestorable, (await encrypted('a')).join() === sound.join()]).toEqual([
    1,
    true,
    false,
  ]);

  const restore = () => restoreDeleted({ ...at(), objectIds: [changed[0]!.objectId], log: silentLog });
  // Nobody can tell which of two that no generation has is the damaged one.
  await system.makeKey('a', '01');
  const made = [...filesOf(token)].find((path) => !isKnown.has(path))!;
  expect((await rejection(restore())).code).toBe('ALREADY_EXISTS');
  expect(await encrypted('a')).toHaveLength(3);
  rmSync(made);

  await restore();
  expect(await encrypted('a')).toEqual(sound);
  await system.replicate();
  expect((await listDeleted(at())).filter(({ state }) => state === 'changed')).toEqual([]);
  for (const name of ['b', 'c']) expect(await encrypted(name)).toEqual(sound);
});
