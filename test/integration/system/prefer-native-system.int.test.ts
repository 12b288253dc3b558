/**
 * A group that prefers clones, with coordinator, agents and real tokens: declared, told, drilled, and failed over to the
 * member that has rebuilt the keys and to the one that has cloned them.
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
  system = await TestSystem.start({ createGroup: false });
  const { tool } = system.site('a').token;
  tool('--keygen', '--key-type', 'AES:32', '--sensitive', '--extractable', '--id', '01', '--label', 'aes');
  tool('--keypairgen', '--key-type', 'rsa:2048', '--extractable', '--id', '02', '--label', 'rsa');
  domain = new CloningDomain(paired(system.site('a').token));
});
afterAll(() => system?.close());

/** Its tokens get the token key of site a, and its agent the cloner. */
async function configured(name: string, partitions = ['main', 'scratch']): Promise<void> {
  await system.stopAgent(name);
  const { configFile, token, scratch } = system.site(name);
  const text = readFileSync(configFile, 'utf8');
  writeFileSync(
    configFile,
    text.replace(/^( *)- name: (.*)$/gm, (line, indent, which) =>
      partitions.includes(which) ? `${line}\n${indent}  native: { kind: softhsm }` : line,
    ),
  );
  const tokens = { main: name === 'a' ? undefined : token, scratch };
  for (const [which, one] of Object.entries(tokens))
    if (one !== undefined && partitions.includes(which)) await domain.join(paired(one));
  await system.startAgent(name);
}

/** Whether each of the two keys of a site counts as made in a token. Site keys of Antipode always do. */
const isLocal = (name: string): boolean[] =>
  [
    ['secrkey', 'aes'],
    ['privkey', 'rsa'],
  ].map(([type, label]) => {
    const listed = system.site(name).token.tool('--list-objects', '--type', type!);
    const keys = listed.split(/^(?=\w.* Key Object)/m).filter((one) => one.includes(`label:      ${label}\n`));
    expect([name, label, keys.length]).toEqual([name, label, 1]);
    return /Access:.*\blocal\b/.test(keys[0]!);
  });

/** The same use of both keys by pkcs11-tool. */
function usedAt(name: string): string[] {
  const { folder, tool } = system.site(name).token;
  const [input, output] = [join(folder, 'input'), join(folder, 'output')];
  writeFileSync(input, Buffer.alloc(32, 7));
  return [
    ['--encrypt', '-m', 'AES-ECB', '--id', '01'],
    ['--sign', '-m', 'RSA-PKCS', '--id', '02'],
  ].map((use) => {
    tool(...use, '-i', input, '-o', output);
    return readFileSync(output, 'hex');
  });
}

it('is declared, where one site of three is outside of the cloning domain', async () => {
  // Site c has a scratch partition inside of it.
  await Promise.all([configured('a'), configured('b'), configured('c', ['scratch'])]);
  await system.createGroup(FailoverPolicy.MANUAL, { rpoSeconds: 3_600, movement: Movement.PREFER_NATIVE });
  const { group } = await system.operator.getGroup({ group: GROUP });
  expect(group?.spec?.movement).toBe(Movement.PREFER_NATIVE);
});

it('is protected with clones at one member and rebuilt keys at the other', async () => {
  await system.replicate();
  await system.untilProtection('protected');
  expect([isLocal('a'), isLocal('b'), isLocal('c')]).toEqual([
    [true, true],
    [true, true],
    [false, false],
  ]);
  const made = usedAt('a');
  expect([usedAt('b'), usedAt('c')]).toEqual([made, made]);
});

it('is drilled in both forms', async () => {
  const { operationId } = await system.operator.runDrill({ group: GROUP });
  await system.ended(operationId);
  const { drills } = await system.operator.listDrills({ group: GROUP, limit: 1 });
  expect(drills[0]).toMatchObject({ passed: true, proof: { failed: 0, proved: 3 } });
});

it('serves at each member and comes back, and no key changes its form', async () => {
  const made = usedAt('a');
  for (const name of ['c', 'b', 'a']) {
    await system.moveTo(name);
    const { state } = await system.replicate(['a', 'b', 'c'].filter((one) => one !== name));
    expect([name, state.newest?.uncaptured, usedAt(name)]).toEqual([name, [], made]);
  }
  await system.untilProtection('protected');
  expect([isLocal('a'), isLocal('b'), isLocal('c')]).toEqual([
    [true, true],
    [true, true],
    [false, false],
  ]);
});
