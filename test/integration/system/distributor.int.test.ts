/** A group whose domain keys come from a partition that is not a member, with coordinator, agents and real tokens. */
import { rejection } from '@antipode/runtime/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { GROUP, TestSystem } from '../../support/system.ts';

let system: TestSystem;
beforeAll(async () => {
  system = await TestSystem.start({ distributor: true });
});
afterAll(() => system?.close());

const group = async () => (await system.operator.getGroup({ group: GROUP })).group!;
/** Secret keys in the token of a site. */
const secretKeysAt = (name: string): Promise<number> =>
  system
    .agent(name)
    .site.partitions.all[0]!.use(
      async ({ provider }) =>
        (await provider.inventory()).filter(({ objectClass }) => objectClass === 'secret-key').length,
    );
const startRotation = async () => (await system.operator.rotateDomainKey({ group: GROUP })).operationId;
/** Until a rotation that has not ended says what it waits for. */
const untilRotationWaitsFor = async (errorCode: string) => {
  const operationId = await startRotation();
  await system.until(`the rotation waits for ${errorCode}`, async () => {
    const { operation } = await system.operator.getOperation({ operationId });
    return operation?.errorCode === errorCode;
  });
};

it('brings domain keys to members and scratch partitions, and holds none itself', async () => {
  await system.until('nothing is wrong with the distributor', async () => (await group()).distributorErrorCode === '');
  expect(await group()).toMatchObject({ domainKeyVersion: 1, spec: { distributor: { site: 'd' } } });
  expect([await secretKeysAt('a'), await secretKeysAt('b'), await secretKeysAt('d')]).toEqual([1, 1, 0]);
  await system.makeKey('a', '01');
  await system.replicate();
  await system.untilProtection('protected');
  await system.ended(await startRotation());
  expect((await group()).domainKeyVersion).toBe(2);
  expect(await secretKeysAt('d')).toBe(0);
  await system.makeKey('a', '02');
  expect((await system.replicate()).state).toMatchObject({ newest: { domainKeyVersion: 2 } });
  await system.untilProtection('protected');
});

it('holds up rotations alone when it is lost: keys replicate, and another member takes over', async () => {
  await system.stopAgent('d');
  await system.until('its loss shows', async () => (await group()).distributorErrorCode === 'SITE_UNREACHABLE');
  await untilRotationWaitsFor('SITE_UNREACHABLE');
  await system.makeKey('a', '03');
  expect((await system.replicate()).state).toMatchObject({ domainKeyVersion: 2 });
  await system.untilProtection('protected');
  await system.moveTo('b');
  await system.makeKey('b', '04');
  await system.replicate(['a', 'c']);
  await system.untilProtection('protected');
  await system.startAgent('d');
  // The rotation goes on by itself, under the tenure of b.
  await system.until('the new version is in use', async () => (await group()).domainKeyVersion > 2);
  expect(await secretKeysAt('d')).toBe(0);
});

it('is what the pins of the sites say, whatever is declared', async () => {
  const name = (site: string, serial: string) =>
    system.operator.setDistributor({ group: GROUP, distributor: { site, serial } });
  expect((await rejection(name('a', system.site('a').serial))).code).toBe('REQUEST_INVALID');
  expect((await rejection(name('d', 'x'))).code).toBe('NOT_FOUND');
  const { group: without } = await system.operator.setDistributor({ group: GROUP });
  expect(without?.spec?.distributor).toBeUndefined();
  await untilRotationWaitsFor('ROLE_REFUSED');
  const before = (await group()).domainKeyVersion;
  const { group: again } = await name('d', system.site('d').serial);
  expect(again?.spec?.distributor).toMatchObject({ site: 'd', serial: system.site('d').serial });
  await system.until('the rotation goes on', async () => (await group()).domainKeyVersion > before);
});
