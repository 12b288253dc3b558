/** A group whose security officers have to act: first enrolment and rotation, with coordinator, agents and real tokens. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CKA, CKM, mechanism } from '@antipode/cryptoki';
import { ATTRIBUTES } from '@antipode/hsm-core/testing';
import type { GetStatusResponse } from '@antipode/protocol';
import { silentLog } from '@antipode/runtime';
import { loadAgentConfig, trustDomainKeys } from '@antipode/site-agent';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { onToken } from '../../support/raw-token.ts';
import { GROUP, TestSystem } from '../../support/system.ts';
import { OFFICER_PIN } from '../../support/tokens.ts';

let system: TestSystem;
beforeAll(async () => {
  system = await TestSystem.start({ officerKeys: true });
});
afterAll(() => system?.close());

/** The agents run meanwhile. */
async function trust(site: string, partition = 'main') {
  const officerPinFile = join(system.folder, 'officer.pin');
  writeFileSync(officerPinFile, `${OFFICER_PIN}\n`, { mode: 0o600 });
  const config = loadAgentConfig(system.site(site).configFile);
  return trustDomainKeys({ config, name: partition, officerPinFile, log: silentLog });
}

function makeGuarded(id: string): void {
  onToken(system.site('a').token, (cryptoki, session) => {
    const names = (['private', 'sensitive', 'extractable', 'wrapWithTrusted', 'encrypt', 'decrypt'] as const).map(
      (name) => [ATTRIBUTES[name].type, true] as const,
    );
    const named = [
      [ATTRIBUTES.id.type, Buffer.from(id, 'hex')],
      [ATTRIBUTES.label.type, Buffer.from(`guarded ${id}`)],
    ] as const;
    const template = [[CKA.VALUE_LEN, 32] as const, [CKA.TOKEN, true] as const, ...names, ...named];
    cryptoki.generateKey(session, mechanism(CKM.AES_KEY_GEN), template);
  });
}

const awaited = ({ sites }: GetStatusResponse): string[] =>
  sites.flatMap(({ site, partitions }) =>
    partitions.flatMap(({ name, awaitingOfficer }) =>
      awaitingOfficer.map(({ version }) => `${site} ${name} ${version}`),
    ),
  );
const group = async () => (await system.operator.getGroup({ group: GROUP })).group!;

it('protects guarded keys once the officers have acted, and says until then who has to', async () => {
  makeGuarded('01');
  await system.makeKey('a', '02');
  const { state } = await system.replicate();
  expect(state.newest?.uncaptured).toMatchObject([{ reason: 'wrap-with-trusted' }]);
  await system.untilProtection('partially-protected');
  await system.until('each officer is awaited', async () => {
    const found = awaited(await system.operator.getStatus({}));
    return found.join() === 'a main 1,b main 1,c main 1,c scratch 1';
  });
  expect(await trust('a')).toEqual([{ group: GROUP, version: 1 }]);
  await trust('b');
  const round = await system.replicate();
  expect(round.state.newest?.uncaptured).toEqual([]);
  const refused = await system.until('c tells what it does not restore', async () => {
    const members = (await group()).members.filter(({ refusedObjects }) => refusedObjects > 0);
    return members.length > 0 && members;
  });
  expect(refused).toMatchObject([{ site: 'c', refused: [{ code: 'DOMAIN_KEY_UNTRUSTED' }] }]);
  expect(refused).toHaveLength(1);
  // Nothing else changes: its officer's step alone has it restore what it lacked.
  await trust('c');
  await trust('c', 'scratch');
  await system.untilProtection('protected');
  expect(await trust('c')).toEqual([]);
  expect(
    await system.until('nobody is awaited', async () => awaited(await system.operator.getStatus({})).length === 0),
  ).toBe(true);
  expect(system.logLines.join('')).not.toContain(OFFICER_PIN);
});

it('takes a new version up only when the officers have trusted it, and protects all keys meanwhile', async () => {
  const { operationId } = await system.operator.rotateDomainKey({ group: GROUP });
  const parked = await system.until('the rotation waits', async () => {
    const { operation } = await system.operator.getOperation({ operationId });
    return operation?.status === 'parked' && operation;
  });
  expect(parked).toMatchObject({ phase: 'awaiting-officers', errorCode: 'DOMAIN_KEY_UNTRUSTED' });
  expect(parked.errorMessage).toContain('site a');
  makeGuarded('03');
  const { state } = await system.replicate();
  expect(state).toMatchObject({ domainKeyVersion: 1, newest: { uncaptured: [] } });
  await system.untilProtection('protected');
  for (const site of ['a', 'b', 'c']) await trust(site);
  await trust('c', 'scratch');
  await system.until('the version is used', async () => (await group()).domainKeyVersion === 2);
  await system.until('all is sealed under it', async () => {
    const { protection, newest } = await group();
    return newest?.domainKeyVersion === 2 && protection === 'protected';
  });
  const { newest } = await group();
  expect([newest?.uncaptured, newest?.objectCount]).toEqual([[], 3]);
});
