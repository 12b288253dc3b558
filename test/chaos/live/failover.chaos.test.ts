/** Moves of the active role that meet trouble on the way: nothing is lost unseen, and somebody serves in the end. */
import { writeFileSync } from 'node:fs';
import { MemberRole } from '@antipode/protocol';
import { rejection } from '@antipode/runtime/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GROUP, TestSystem } from '../../support/system.ts';

describe('a planned move', () => {
  let system: TestSystem;
  beforeAll(async () => {
    system = await TestSystem.start();
  });
  afterAll(() => system?.close());

  const stateOf = async () => (await system.operator.getGroup({ group: GROUP })).group!;
  const move = async (toSite: string, acceptLoss = false) => {
    const { operationId } = await system.operator.failover({ group: GROUP, toSite, acceptLoss });
    return system.ended(operationId);
  };

  it('takes along the key that was made a moment before, and gives the new tenure a generation of its own', async () => {
    await system.makeKey('a', '01');
    await system.replicate();
    await system.makeKey('a', '02');
    await system.moveTo('b');
    expect(await system.keysAt('b')).toContain('key 02');
    const group = await system.until('b has captured', async () => {
      const state = await stateOf();
      return state.newest?.epoch === 2n && state;
    });
    expect(group).toMatchObject({ activeSite: 'b', newest: { objectCount: 2 } });
    await system.untilAcknowledged(Number(group.newest?.generation), ['a', 'c']);
  });

  it('changes nothing when its target cannot be used', async () => {
    const { token } = system.site('c');
    await system.stopAgent('c');
    writeFileSync(token.config.pinFile, '00000000\n');
    await system.startAgent('c');
    await system.until('the PIN of c is refused', async () =>
      (await system.operator.getStatus({})).sites
        .find(({ site }) => site === 'c')
        ?.partitions.some(({ errorCode }) => errorCode === 'PIN_REFUSED'),
    );
    // A key in a token that nobody can use protects nobody, although it was acknowledged before.
    const { members } = await system.untilProtection('lagging');
    expect(members[2]).toMatchObject({ partitionErrorCode: 'PIN_REFUSED', acknowledgedGeneration: 0n });
    expect(members[2]?.recoveryPointAgeMs).toBeUndefined();
    expect((await rejection(move('c'))).code).toBe('FAILOVER_REFUSED');
    expect(await stateOf()).toMatchObject({ activeSite: 'b', epoch: 2n });
    await system.makeKey('b', '03');
    expect((await system.replicate(['a'])).state.newest?.objectCount).toBe(3);
  });

  it('passes by the site that cannot be used when the active one is lost', async () => {
    await system.stopAgent('b');
    await system.untilActive('a');
    expect(await stateOf()).toMatchObject({ epoch: 3n });
  });
});

describe('the loss of the active site with a generation that nobody else has', () => {
  let system: TestSystem;
  beforeAll(async () => {
    system = await TestSystem.start();
  });
  afterAll(() => system?.close());

  it('goes on without it, with every standby, and shows it as divergent when the site is back', async () => {
    await system.makeKey('a', '01');
    const { state: before } = await system.replicate();
    await Promise.all([system.stopAgent('b'), system.stopAgent('c')]);
    await system.makeKey('a', '02');
    const { operationId } = await system.operator.replicate({ group: GROUP });
    const { outcome } = await system.ended(operationId);
    const lost = Number(outcome.case === 'capture' ? outcome.value.generation?.generation : 0);
    expect(lost).toBeGreaterThan(Number(before.newest?.generation));
    await system.stopAgent('a');
    await system.startAgent('b');
    await system.startAgent('c');
    await system.untilActive('b');

    await system.makeKey('b', '03');
    const round = await system.replicate(['c']);
    // Numbers never repeat, whoever gave the last one.
    expect(round.generation).toBeGreaterThan(lost);
    expect(round.state).toMatchObject({ newest: { epoch: 2n, objectCount: 2 } });

    await system.startAgent('a');
    const state = await system.until('a is a standby that has caught up', async () => {
      const { group } = await system.operator.getGroup({ group: GROUP });
      const a = group?.members.find(({ site }) => site === 'a');
      return a?.role === MemberRole.STANDBY && Number(a.acknowledgedGeneration) >= round.generation && group;
    });
    const divergentAt = (group: typeof state) => group?.members.find(({ site }) => site === 'a')?.divergentObjects;
    expect(divergentAt(state)).toBe(1);
    // It stays in sight as long as it is there.
    await system.makeKey('b', '04');
    expect(divergentAt((await system.replicate(['a', 'c'])).state)).toBe(1);
  });
});
