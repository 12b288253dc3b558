/**
 * Moves of the active role while keys are made. A planned move loses no acknowledged or captured generation to service.
 * A caller that waits for a generation learns its fate (I3, I13). Real tokens, agents and coordinator.
 */

import { replicateOnce } from '@antipode/cli/testing';
import { hasCode } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { GROUP, TestSystem } from '../../support/system.ts';

const TIMEOUT_MS = 45_000;
let system: TestSystem;
beforeEach(async () => {
  system = await TestSystem.start();
  await system.makeKey('a', '01');
  await system.replicate();
});
afterEach(() => system?.close());

const stateOf = async () => (await system.operator.getGroup({ group: GROUP })).group!;

/** Holds up the first work on the partition of a site. */
function holdUp(name: string): { readonly reached: Promise<void>; readonly release: () => void } {
  const partition = system.agent(name).site.partitions.all.find(({ settings }) => settings.role !== 'scratch')!;
  const use = partition.use.bind(partition);
  const [reached, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  partition.use = (work, signal) =>
    use(async (open) => {
      reached.resolve();
      await released.promise;
      return work(open);
    }, signal);
  return { reached: reached.promise, release: () => released.resolve() };
}

/** Has a member captured for an order whose answer the coordinator never gets. */
async function captureUnheard(name: string, number: bigint): Promise<void> {
  const { epoch, activeSite, domainKeyVersion } = await stateOf();
  const agent = system.order(name);
  try {
    const fence = { group: GROUP, epoch, owner: activeSite, requestId: 'unheard' };
    const { generation } = await system.insistent(`${name} has captured`, () =>
      agent.capture({ fence, domainKeyVersion, reservedGeneration: number }),
    );
    expect(generation?.generation).toBe(number);
  } finally {
    agent.close();
  }
}

it('a planned move takes along whatever was acknowledged or captured while its target caught up', async () => {
  const target = holdUp('b');
  const { operationId } = await system.operator.failover({ group: GROUP, toSite: 'b' });
  await target.reached;
  await system.makeKey('a', '02');
  const answer = await system.replicate(['c']).then(
    () => 'acknowledged',
    (error: unknown) => (hasCode(error, 'GROUP_BUSY') ? 'refused' : 'another error'),
  );
  await system.makeKey('a', '03');
  await captureUnheard('a', 40n);
  target.release();
  await system.ended(operationId);
  expect(answer).toBe('refused');
  expect(await system.keysAt('b')).toEqual(['key 01', 'key 02', 'key 03']);
  const settled = await system.until('b has captured, and all have acknowledged', async () => {
    const state = await stateOf();
    const isEverywhere = state.members.every(({ site, acknowledgedEpoch }) => site === 'b' || acknowledgedEpoch === 2n);
    return state.newest?.epoch === 2n && isEverywhere && state;
  });
  // A number is given once, also one that the coordinator had not given.
  expect(settled.newest?.generation).toBeGreaterThan(40n);
  for (const name of ['a', 'b', 'c']) expect(await system.keysAt(name)).toEqual(['key 01', 'key 02', 'key 03']);
  expect(settled.members.map(({ divergentObjects }) => divergentObjects)).toEqual([0, 0, 0]);
});

it('tells a caller that its generation is lost with its site, although higher numbers are acknowledged', async () => {
  await Promise.all([system.stopAgent('b'), system.stopAgent('c')]);
  await system.makeKey('a', '02');
  const answer = rejection(replicateOnce(system.operator, GROUP, { timeoutMs: TIMEOUT_MS }));
  const lost = await system.until('it is captured', async () => {
    const { newest } = await stateOf();
    return newest?.objectCount === 2 && newest;
  });
  await system.stopAgent('a');
  await system.startAgent('b');
  await system.startAgent('c');
  await system.untilActive('b');
  await system.makeKey('b', '03');
  const next = await system.replicate(['c']);
  expect(next.generation).toBeGreaterThan(Number(lost.generation));
  expect((await answer).code).toBe('GENERATION_LOST');
});
