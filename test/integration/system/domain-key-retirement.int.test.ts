/**
 * Domain key versions that nothing needs leave the tokens, and no key is lost. A coordinator, three agents and real
 * tokens, examined with pkcs11-tool.
 */

import { domainKeyTable } from '@antipode/cli/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { GROUP, TestSystem } from '../../support/system.ts';
import type { TestToken } from '../../support/tokens.ts';

const ROUNDS = 2;
let system: TestSystem;
beforeAll(async () => {
  system = await TestSystem.start({ processes: ['coordinator'] });
  await system.makeKey('a', '01');
  await replicated(['b', 'c']);
  await rotated();
  await replicated(['b', 'c']);
}, 180_000);
afterAll(() => system?.close());

const replicated = (sites: readonly string[]) =>
  system.insistent(`${sites.join(' and ')} have it`, () => system.replicate(sites));
const rotated = () =>
  system.insistent('there is a new version', async () =>
    system.ended((await system.operator.rotateDomainKey({ group: GROUP })).operationId),
  );

const stateOf = async () => (await system.operator.getGroup({ group: GROUP })).group!;
const versionsIn = async (token: TestToken): Promise<string[]> =>
  [...(await token.toolAsync('--list-objects', '--type', 'secrkey')).matchAll(/antipode domain key payments (\d+)/g)]
    .map(([, version]) => version!)
    .sort();
const tokens = async () => ({
  a: await versionsIn(system.site('a').token),
  b: await versionsIn(system.site('b').token),
  c: await versionsIn(system.site('c').token),
  scratch: await versionsIn(system.site('c').scratch!),
});

/** As the retention of a store does when so many generations have followed (retention.ts, collector.ts). */
async function forgetOld(name: string): Promise<void> {
  const { store } = system.agent(name).site;
  for (const { digest } of store.list(GROUP)) if ((await store.summary(digest)).versions?.has(1)) store.retire(digest);
}

it('stays at every member while one is away, and status says why', async () => {
  await system.stopAgent('c');
  for (let round = 0; round < ROUNDS; round += 1) {
    await system.makeKey('a', `10${round.toString(16).padStart(2, '0')}`);
    await replicated(['b']);
  }
  for (const name of ['a', 'b']) await forgetOld(name);
  const state = await system.until('nothing at a and b needs version 1', async () => {
    const found = await stateOf();
    const old = found.domainKeys.filter(({ site, version }) => version === 1 && site !== 'c');
    const isSeenAway = /^site c is/.test(found.olderKeysNeededFor);
    return isSeenAway && old.length === 2 && old.every(({ neededFor }) => neededFor === '') && found;
  });
  expect(state.olderKeysNeededFor).toMatch(/^site c is (suspect|down)$/);
  expect(domainKeyTable(state)).toContain('stay at every member, because site c is');
  // Its last report is shown with its age.
  expect(state.domainKeys.filter(({ site, version }) => site === 'c' && version === 1)).toHaveLength(2);
  for (const versions of Object.values(await tokens())) expect(versions).toEqual(expect.arrayContaining(['1', '2']));
});

it('goes at each site whose own generations do not name it, once every member has the newest generation', async () => {
  await system.startAgent('c');
  await system.until('a and b have destroyed version 1', async () => {
    const { a, b } = await tokens();
    return [a, b].every((versions) => !versions.includes('1'));
  });
  // The store of c still has what is sealed under it; its own report says so.
  await system.until('c reports for both of its partitions what it needs version 1 for', async () => {
    const { domainKeys } = await stateOf();
    const atC = domainKeys.filter(({ site, version }) => site === 'c' && version === 1);
    const isNeeded = /^generation \d+ of epoch 1 is sealed under it$/;
    return atC.length === 2 && atC.every(({ neededFor }) => isNeeded.test(neededFor));
  });
  for (const versions of [(await tokens()).c, (await tokens()).scratch]) expect(versions).toContain('1');
  await forgetOld('c');
  await system.until('c has destroyed version 1, also in its scratch partition', async () => {
    const { c, scratch } = await tokens();
    return !c.includes('1') && !scratch.includes('1');
  });
  // The key leaves the token first; the coordinator hears of it later.
  const done = await system.until('the coordinator has recorded it of each site', async () => {
    const { operations } = await system.operator.listOperations({ group: GROUP, limit: 100 });
    const ended = operations.filter(({ kind, status }) => kind === 'key-retirement' && status === 'done');
    return new Set(ended.map(({ site }) => site)).size === system.sites.size && ended;
  });
  // A repeated order finds nothing left to destroy.
  const atA = done.filter(({ site }) => site === 'a').map(({ result }) => result);
  expect(atA.join('\n')).toContain('"versions":[1]');
});

it('leaves everything that it must: a drill passes, the role moves, and captures go on', async () => {
  const drill = await system.insistent('a drill has passed', async () =>
    system.ended((await system.operator.runDrill({ group: GROUP, site: '' })).operationId),
  );
  expect(drill.status).toBe('done');
  await system.moveTo('b');
  await system.makeKey('b', '02');
  await replicated(['a', 'c']);
  await rotated();
  await system.makeKey('b', '03');
  const { state } = await replicated(['a', 'c']);
  expect(state.newest?.domainKeyVersion).toBeGreaterThanOrEqual(3);
  expect(state.newest?.objectCount).toBe(ROUNDS + 3);
  expect((await tokens()).a).toContain('2');
});
