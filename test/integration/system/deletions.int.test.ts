/**
 * Deletions in a whole system. After a token was emptied, captures are held until a person decides. Deleted keys are
 * listed and can be restored at the site. Until then the group is never reported as protected.
 */

import { silentLog } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { acceptDeleted, listDeleted, loadAgentConfig, restoreDeleted } from '@antipode/site-agent';
import { Journal } from '@antipode/site-agent/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { GROUP, TestSystem } from '../../support/system.ts';

let system: TestSystem;

beforeAll(async () => {
  // No capture of the coordinator's own may see half of what happens to the token.
  system = await TestSystem.start({ rpoSeconds: 86_400 });
});
afterAll(() => system?.close());

const IDS = ['01', '02', '03', '04', '05', '06'];
const at = (name: string) => ({ config: loadAgentConfig(system.site(name).configFile), group: GROUP });
const destroy = (id: string): Promise<void> => system.deleteKey('a', id);
const all = IDS.map((id) => `key ${id}`);

it('a token that was emptied by mistake holds the capture, and is filled again from what is sealed at its site', async () => {
  for (const id of IDS) await system.makeKey('a', id);
  await system.replicate();
  for (const id of IDS) await destroy(id);
  expect((await rejection(system.replicate())).code).toBe('CAPTURE_HELD');
  const held = await system.untilProtection('held');
  expect(held.members.map(({ site, heldObjects }) => [site, heldObjects])).toContainEqual(['a', 6]);
  for (const name of ['b', 'c']) expect(await system.keysAt(name)).toEqual(all);

  const objects = await listDeleted(at('a'));
  expect(objects.map(({ state, label }) => [state, label]).sort()).toEqual(all.map((label) => ['held', label]));
  const log = silentLog;
  await restoreDeleted({ ...at('a'), objectIds: objects.map(({ objectId }) => objectId), log });
  expect(await system.keysAt('a')).toEqual(all);
  await system.replicate();
  await system.untilProtection('protected');
  for (const name of ['b', 'c']) expect(await system.keysAt(name)).toEqual(all);
});

it('a loss that is accepted goes on; what is deleted is listed by name at every site, and comes back at the active one', async () => {
  for (const id of IDS) await destroy(id);
  expect((await rejection(system.replicate())).code).toBe('CAPTURE_HELD');
  expect((await rejection(acceptDeleted({ ...at('b'), objectIds: [] }))).code).toBe('ROLE_REFUSED');
  expect(await acceptDeleted({ ...at('a'), objectIds: [] })).toHaveLength(6);
  await system.replicate();
  // One capture uses it up: should the same objects come back, a later loss of them is held again.
  const journal = Journal.open(at('a').config.dataFolder);
  expect(journal.decisions.accepted(journal.tenure.seat(GROUP)!).size).toBe(0);
  journal.close();
  await system.untilProtection('protected');
  for (const name of ['b', 'c']) expect(await system.keysAt(name)).toEqual([]);

  const atStandby = await listDeleted(at('b'));
  expect(atStandby.map(({ state, label, isRestorable }) => [state, label, isRestorable]).sort()).toEqual(
    all.map((label) => ['deleted', label, true]),
  );
  const [one] = atStandby;
  const restore = (name: string) => restoreDeleted({ ...at(name), objectIds: [one!.objectId], log: silentLog });
  expect((await rejection(restore('b'))).code).toBe('ROLE_REFUSED');
  await restore('a');
  await system.replicate();
  for (const name of ['a', 'b', 'c']) expect(await system.keysAt(name)).toEqual([one!.label]);
  expect((await listDeleted(at('a'))).map(({ objectId }) => objectId)).not.toContain(one!.objectId);

  // Not beside another key that has its names by now.
  const [other] = (await listDeleted(at('a'))).filter(({ state }) => state === 'deleted');
  await system.makeKey('a', other!.ckaId);
  await system.replicate();
  const restoring = restoreDeleted({ ...at('a'), objectIds: [other!.objectId], log: silentLog });
  expect((await rejection(restoring)).code).toBe('ALREADY_EXISTS');
});

it('what was deleted does not come back beside a key of its name that no generation has', async () => {
  const gone = async () => (await listDeleted(at('a'))).filter(({ state }) => state === 'deleted');
  const restore = async (objectIds: readonly string[]) =>
    (await rejection(restoreDeleted({ ...at('a'), objectIds, log: silentLog }))).code;
  const { toolAsync } = system.site('a').token;
  const live = new Set(await system.keysAt('a'));
  const [uncaptured, fresh] = (await gone()).filter(({ label }) => !live.has(label));
  // One that its token does not give out, and one that was made since the last capture.
  await toolAsync(
    '--keygen',
    '--key-type',
    'AES:32',
    '--label',
    uncaptured!.label,
    '--id',
    uncaptured!.ckaId,
    '--sensitive',
  );
  await system.replicate();
  await system.makeKey('a', fresh!.ckaId);
  for (const one of [uncaptured, fresh]) expect(await restore([one!.objectId])).toBe('ALREADY_EXISTS');
  const beside = await system.keysAt('a');
  expect(beside.filter((label) => label === uncaptured!.label || label === fresh!.label)).toHaveLength(2);
  for (const one of [uncaptured, fresh]) await destroy(one!.ckaId);
  await system.replicate();

  // Two that bore one name, one after the other.
  const again = (await gone()).find(({ label }) => live.has(label))!;
  await destroy(again.ckaId);
  await system.replicate();
  const namesakes = (await gone()).filter(({ label }) => label === again.label);
  expect(namesakes).toHaveLength(2);
  expect(await restore(namesakes.map(({ objectId }) => objectId))).toBe('ALREADY_EXISTS');
});

it('a token that was emptied is left for a standby by order of a person, and filled again when it has rejoined', async () => {
  const there = await system.keysAt('a');
  for (const id of IDS.filter((id) => !there.includes(`key ${id}`))) await system.makeKey('a', id);
  await system.replicate();
  for (const id of IDS) await destroy(id);
  expect((await rejection(system.replicate())).code).toBe('CAPTURE_HELD');
  await system.moveTo('b');
  await system.untilActive('b');
  expect(await system.keysAt('b')).toEqual(all);
  await system.until('site a has nothing held any more', async () =>
    (await listDeleted(at('a'))).every(({ state }) => state !== 'held'),
  );
  await system.until('site a has its keys again', async () => (await system.keysAt('a')).length === all.length);
  await system.untilProtection('protected');
});

it('what one active member deleted comes back at the next one, and goes everywhere from there', async () => {
  await system.deleteKey('b', '03');
  await system.replicate(['a', 'c']);
  const moveTo = async (site: string): Promise<void> => {
    await system.moveTo(site);
    await system.untilActive(site);
  };
  await moveTo('c');
  await system.replicate(['a', 'b']);
  for (const name of ['a', 'b', 'c']) expect(await system.keysAt(name)).not.toContain('key 03');
  const gone = (await listDeleted(at('c'))).filter(({ label, state }) => state === 'deleted' && label === 'key 03');
  const [last] = gone.sort((one, other) => (other.deletedMs ?? 0) - (one.deletedMs ?? 0));
  await restoreDeleted({ ...at('c'), objectIds: [last!.objectId], log: silentLog });
  await system.replicate(['a', 'b']);
  for (const name of ['a', 'b', 'c']) expect(await system.keysAt(name)).toContain('key 03');
  await moveTo('a');
  await system.replicate(['b', 'c']);
  for (const name of ['a', 'b', 'c']) expect(await system.keysAt(name)).toContain('key 03');
});

it('keys that were replaced under their own names, many at once, wait for a person; the standbys keep those that were captured', async () => {
  const ids = ['61', '62', '63', '64', '65', '66'];
  for (const id of ids) await system.makeKey('a', id);
  await system.replicate();
  for (const id of ids) {
    await destroy(id);
    await system.makeKey('a', id);
  }
  const error = await rejection(system.replicate());
  expect(error.code).toBe('CAPTURE_HELD');
  expect(error.message).toContain('6 of ');
  expect(error.message).toContain('replaced by other keys under their own names');
  expect(error.hint).toContain('renewed');
  const held = (await listDeleted(at('a'))).filter(({ state }) => state === 'replaced');
  expect(held.map(({ label }) => label).sort()).toEqual(ids.map((id) => `key ${id}`));
  // Nothing comes back beside the key that has its names now.
  const restore = restoreDeleted({ ...at('a'), objectIds: [held[0]!.objectId], log: silentLog });
  expect((await rejection(restore)).code).toBe('ALREADY_EXISTS');
  expect(await acceptDeleted({ ...at('a'), objectIds: [] })).toHaveLength(6);
  await system.replicate();
  const after = await listDeleted(at('b'));
  for (const { objectId } of held) expect(after.find((one) => one.objectId === objectId)?.state).toBe('deleted');
  await system.untilProtection('protected');
});
