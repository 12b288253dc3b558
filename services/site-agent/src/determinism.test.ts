/** Proof that no agent takes time or chance from the machine: what happens depends on the seed alone. */
import type { GenerationRef } from '@antipode/protocol';
import { sha256Hex } from '@antipode/runtime';
import { beforeAll, describe, expect, it } from 'vitest';
import { GROUP, ScriptedWorld } from './testing/scripted-world.ts';

const NAMES = ['a', 'b', 'c'] as const;
const ROUNDS = 4;
const ROUND_MS = 3_000;

/** Whatever happened, line by line, and what is left at the end. */
async function run(seed: string, { turnsToSettle = 1 } = {}): Promise<string[]> {
  const world = new ScriptedWorld({ seed, owner: 'a', turnsToSettle });
  for (const name of NAMES) await world.add(name);
  for (const site of world.sites.values()) for (const peer of world.sites.values()) site.pin(GROUP, peer);
  await world.until(script(world));
  for (const { name, member, site } of world.sites.values()) {
    const { journal } = site;
    world.note('the end', {
      name,
      contents: sha256Hex(member.hsm.contents().join('\n')),
      seats: journal.tenure.seats(),
      account: journal.account,
      heads: ['captured', 'applied', 'staged'].map((kind) =>
        journal.heads.of({ group: GROUP, serial: member.serial }, kind as 'captured'),
      ),
    });
  }
  await world.close();
  return world.lines;
}

/** A group is made, captured and replicated again and again, moves to another site, and a drill is run there. */
async function script(world: ScriptedWorld): Promise<void> {
  for (const name of NAMES) await world.seat(name);
  const members = NAMES.flatMap((name) =>
    ['1', '2'].map((n) => ({ site: world.address(name), serial: `${name}-${n}` })),
  );
  const fence = world.fence;
  await world.order('distribute', (waitMs) =>
    world.client('a').distributeDomainKey({ fence, version: 1, members, waitMs }),
  );
  let newest: GenerationRef | undefined;
  for (let round = 0; round < ROUNDS; round += 1) newest = (await replicate(world, 'a', ['b', 'c'])) ?? newest;
  world.issue('b');
  await promote(world, 'b', newest);
  for (const name of ['a', 'c']) await world.seat(name);
  for (let round = 0; round < ROUNDS; round += 1) newest = (await replicate(world, 'b', ['a', 'c'])) ?? newest;
  await drill(world, 'c', newest);
}

/** Applications change the active partition; it is captured; and all standbys take the generation at once. */
async function replicate(world: ScriptedWorld, active: string, standbys: readonly string[]) {
  const { hsm } = world.sites.get(active)!.member;
  const changes = 1 + Math.floor(world.prng.fraction() * 4);
  for (let count = 0; count < changes; count += 1) {
    const label = `key ${Math.floor(world.prng.fraction() * 1_000)}`;
    const [old] = hsm.labelled(label);
    if (old !== undefined) hsm.remove(old);
    else if (world.prng.fraction() < 0.3) hsm.addEcPair(label);
    else hsm.addSecret(label);
  }
  await world.clock.sleep(ROUND_MS);
  const fence = world.fence;
  const captured = await world.order(`capture at ${active}`, (waitMs) =>
    world.client(active).capture({ fence, domainKeyVersion: 1, waitMs }),
  );
  const generation = captured?.generation;
  if (generation === undefined) return undefined;
  await Promise.all(
    standbys.map(async (standby) => {
      const [apply, verify, scrub] = [world.fence, world.fence, world.fence];
      const [agent, sources] = [world.client(standby), [world.address(active)]];
      await world.order(`apply at ${standby}`, (waitMs) => agent.apply({ fence: apply, generation, sources, waitMs }));
      await world.order(`verify at ${standby}`, (waitMs) => agent.verify({ fence: verify, generation, waitMs }));
      await world.order(`scrub at ${standby}`, (waitMs) => agent.scrub({ fence: scrub, sources, waitMs }));
    }),
  );
  return generation;
}

async function promote(world: ScriptedWorld, site: string, generation: GenerationRef | undefined): Promise<void> {
  const fence = world.fence;
  await world.order(`promote ${site}`, (waitMs) =>
    world.client(site).promote({ fence, ...(generation === undefined ? {} : { generation }), waitMs }),
  );
}

async function drill(world: ScriptedWorld, site: string, generation: GenerationRef | undefined): Promise<void> {
  const fence = world.fence;
  await world.order(`drill at ${site}`, (waitMs) =>
    world.client(site).drill({
      fence,
      drillId: 'd',
      scratchSerial: `${site}-2`,
      sources: [],
      waitMs,
      ...(generation === undefined ? {} : { generation }),
    }),
  );
}

describe('three agents on one clock', () => {
  let lines: readonly string[];
  beforeAll(async () => {
    lines = await run('one');
  });

  it('do the same, byte for byte, in a second run of the same seed', async () => {
    expect(await run('one')).toEqual(lines);
  });

  it('do the same where the event loop takes another course, since they wait for the clock only', async () => {
    expect(await run('one', { turnsToSettle: 5 })).toEqual(lines);
  });

  it('do something else under another seed', async () => {
    expect(await run('two')).not.toEqual(lines);
  });

  it('do their work meanwhile: every order ends well, and all members hold the same', () => {
    const events = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    const told = (wanted: string) => events.filter(({ message }) => message === wanted);
    expect(told('order failed')).toEqual([]);
    const done = Map.groupBy(told('order done'), ({ what }) => String(what).split(' ')[0]!);
    expect(Object.fromEntries([...done].map(([what, some]) => [what, some.length]))).toEqual({
      distribute: 1,
      capture: 2 * ROUNDS,
      apply: 4 * ROUNDS,
      verify: 4 * ROUNDS,
      scrub: 4 * ROUNDS,
      promote: 1,
      drill: 1,
    });
    expect(new Set(told('the end').map(({ contents }) => contents)).size).toBe(1);
  });
});
