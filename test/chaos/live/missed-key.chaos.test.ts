/**
 * A member that missed the domain key version in use becomes active. It gets the next version by itself (C_GenerateKey
 * in its own token, exchange with pinned peers). It is captured, and its captures reach the others. Real tokens.
 */

import { FailoverPolicy } from '@antipode/protocol';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { GROUP, TestSystem } from '../../support/system.ts';

let system: TestSystem;
beforeAll(async () => {
  system = await TestSystem.start({ createGroup: false });
  const members = ['a', 'b', 'c'].map((site) => ({ site, serial: system.site(site).serial }));
  // A person chooses the target here.
  await system.insistent('the group has its domain key', async () => {
    const { operationId } = await system.operator.createGroup({
      spec: { name: GROUP, members, failoverPolicy: FailoverPolicy.MANUAL },
    });
    if (operationId !== '') await system.ended(operationId);
  });
  await system.makeKey('a', '01');
  await system.replicate();
});
afterAll(() => system?.close());

const stateOf = async () => (await system.operator.getGroup({ group: GROUP })).group!;

it('a promoted member that missed a domain key version gets the next one, and its keys are protected again', async () => {
  await system.stopAgent('c');
  await system.until('c is not up', async () => (await stateOf()).members[2]?.siteState !== 'up');
  const { operationId } = await system.operator.rotateDomainKey({ group: GROUP });
  await system.ended(operationId);
  expect((await system.replicate(['b'])).state.newest?.domainKeyVersion).toBe(2);
  await system.stopAgent('a');
  await system.startAgent('c');
  const plan = await system.until('c can be promoted', async () => {
    const found = await system.operator.planFailover({ group: GROUP, toSite: 'c' });
    return found.obstacle === '' && found;
  });
  const order = { group: GROUP, toSite: 'c', acceptLoss: true, acceptedLosses: plan.losses };
  const move = await system.operator.failover(order);
  await system.ended(move.operationId);
  await system.makeKey('c', '02');
  const state = await system.until('c is captured under the next version, and b has acknowledged it', async () => {
    const { newest, members } = await stateOf();
    const isAtB = members[1]?.acknowledgedEpoch === newest?.epoch && newest?.epoch === 2n;
    return isAtB && newest?.objectCount === 2 && newest;
  });
  expect(state.domainKeyVersion).toBe(3);
});
