/**
 * A group whose tools make unextractable keys, from sealed to native: planned, told, cloned, drilled, moved and moved
 * back, with coordinator, agents and real tokens.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FailoverPolicy, Movement } from '@antipode/protocol';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { CloningDomain, paired } from '../../support/softhsm-pair.ts';
import { GROUP, TestSystem } from '../../support/system.ts';

let system: TestSystem;
let domain: CloningDomain;

beforeAll(async () => {
  // Captures come by order only.
  system = await TestSystem.start({ createGroup: false });
  const { tool } = system.site('a').token;
  tool('--keypairgen', '--key-type', 'EC:prime256v1', '--id', '01', '--label', 'ec');
  tool('--keygen', '--key-type', 'AES:32', '--sensitive', '--id', '02', '--label', 'aes');
  await system.makeKey('a', '03');
  domain = new CloningDomain(paired(system.site('a').token));
  for (const name of ['a', 'b']) await configured(name);
  await system.createGroup(FailoverPolicy.MANUAL, { rpoSeconds: 3_600 });
});
afterAll(() => system?.close());

/** Its tokens get the token key of site a, and its agent the cloner. */
async function configured(name: string): Promise<void> {
  await system.stopAgent(name);
  const { configFile, token, scratch } = system.site(name);
  const text = readFileSync(configFile, 'utf8');
  writeFileSync(configFile, text.replace(/^( *)- name: (main|scratch)$/gm, '$&\n$1  native: { kind: softhsm }'));
  for (const one of name === 'a' ? [] : [token, scratch]) if (one !== undefined) await domain.join(paired(one));
  await system.startAgent(name);
}

const group = async () => (await system.operator.getGroup({ group: GROUP })).group!;
const domainsOf = async (name: string): Promise<string[]> => {
  const { sites } = await system.operator.getStatus({});
  const partitions = sites.find(({ site }) => site === name)?.partitions ?? [];
  return partitions.map(({ cloningDomain }) => Buffer.from(cloningDomain).toString('hex'));
};

/** A use of the unextractable AES key by pkcs11-tool. */
function encryptedAt(name: string): string {
  const { folder, tool } = system.site(name).token;
  const [input, output] = [join(folder, 'input'), join(folder, 'output')];
  writeFileSync(input, Buffer.alloc(32, 7));
  tool('--encrypt', '-m', 'AES-ECB', '--id', '02', '-i', input, '-o', output);
  return readFileSync(output, 'hex');
}

it('reports keys that no token wraps while the group is sealed', async () => {
  const { state } = await system.replicate();
  expect(state.newest?.uncaptured.map(({ reason }) => reason)).toEqual(['unextractable', 'unextractable']);
  await system.untilProtection('partially-protected');
});

it('says in the plan of the change which site does not take them, and moves them to the others', async () => {
  await system.until('each site tells its cloning domain', async () => {
    const [[a], [b], [c]] = [await domainsOf('a'), await domainsOf('b'), await domainsOf('c')];
    return a !== undefined && a !== '' && a === b && c === '';
  });
  const change = { kind: { case: 'settings', value: { movement: Movement.NATIVE } } } as const;
  const plan = await system.operator.planGroupChange({ group: GROUP, change });
  expect(plan.changes).toEqual(['movement: sealed -> native']);
  expect(plan.consequences.filter((line) => line.includes('clones nothing'))).toEqual([
    expect.stringContaining('of site c clones nothing'),
    expect.stringContaining('of site c clones nothing'),
  ]);
  await system.operator.changeGroup({ group: GROUP, change, revision: plan.revision });
  const { state } = await system.replicate();
  expect(state.newest?.uncaptured).toEqual([]);
  const refused = await system.until('c tells what it does not take', async () => {
    const members = (await group()).members.filter(({ refusedObjects }) => refusedObjects > 0);
    return members.length > 0 && members;
  });
  expect(refused.map(({ site, refused: some }) => [site, some.map(({ code }) => code)])).toEqual([
    ['c', ['NATIVE_UNAVAILABLE', 'NATIVE_UNAVAILABLE']],
  ]);
  expect((await group()).protection).not.toBe('protected');
  expect(encryptedAt('b')).toBe(encryptedAt('a'));
});

it('is protected once every site takes them, and drills them', async () => {
  await configured('c');
  await system.untilProtection('protected');
  expect(encryptedAt('c')).toBe(encryptedAt('a'));
  const { operationId } = await system.operator.runDrill({ group: GROUP });
  await system.ended(operationId);
  const { drills } = await system.operator.listDrills({ group: GROUP, limit: 1 });
  expect(drills[0]).toMatchObject({ passed: true, proof: { failed: 0, proved: 4 } });
});

it('serves at another site and back with the same keys, and reports none', async () => {
  const before = encryptedAt('a');
  for (const name of ['b', 'a']) {
    await system.moveTo(name);
    const others = ['a', 'b', 'c'].filter((one) => one !== name);
    const { state } = await system.replicate(others);
    expect([name, state.newest?.uncaptured]).toEqual([name, []]);
    expect(encryptedAt(name)).toBe(before);
  }
  await system.untilProtection('protected');
});
