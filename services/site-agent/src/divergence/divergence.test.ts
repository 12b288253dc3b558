/**
 * A former active member has keys that the group went on without. They are offered with ids, and merged into the active
 * member's token or kept, as an operator decides. Nothing is dropped.
 */
import { AntipodeError, hex } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DivergentSites, OF_B, valuesAt } from '../testing/divergent-sites.ts';
import type { SimulatedSite } from '../testing/simulated-site.ts';
import { address, fence, GROUP } from '../testing/two-sites.ts';

const A = { group: GROUP, serial: 'a-1' };
/** Names that a token gives to a change before it makes it. */
const BEFORE_A_CHANGE: ReadonlySet<string> = new Set(['destroy', 'unwrap', 'create', 'create data']);
const NOTHING = { divergent: 0, unaccounted: 0 };
let divergent: DivergentSites;
let a: SimulatedSite;
let b: SimulatedSite;

async function begin(): Promise<void> {
  divergent = await DivergentSites.make();
  ({ a, b } = divergent);
}

/** As after a kill. */
async function restart(): Promise<void> {
  b.stop();
  await b.start();
  await b.member.reopen();
  divergent.sites.renew(b, 2n);
}

beforeEach(begin);
afterEach(() => divergent.close());

describe('an offer', () => {
  it('gives every object an id, seals it at its site, and changes nothing in the token', async () => {
    expect(divergent.counts()).toEqual({ divergent: 1, unaccounted: 1 });
    const before = [...a.member.hsm.objects];
    const { objects, manifestDigests } = await divergent.offered();
    expect(objects.map(({ kind, state, reason }) => [kind, state, reason])).toEqual([
      ['secret-key/aes', 'divergent', ''],
      ['secret-key/aes', 'divergent', ''],
    ]);
    expect(divergent.counts()).toEqual({ divergent: 2, unaccounted: 0 });
    expect([...a.member.hsm.objects]).toEqual(before);
    const { generation } = await a.site.store.open(hex(manifestDigests[0]!));
    for (const { blobSha256 } of generation.entries) expect(a.site.store.hasSoundBlob(blobSha256!)).toBe(true);
  });

  it('has no name of any object', async () => {
    const { objects } = await divergent.offered();
    const told = JSON.stringify(objects, (_key, value) => (typeof value === 'bigint' ? String(value) : value));
    expect(told).not.toMatch(/captured at a only|never captured/);
  });

  it('is the same when it is repeated, and after a restart', async () => {
    const first = await divergent.offered();
    expect(await divergent.offered()).toEqual(first);
    a.stop();
    await a.start();
    expect(await divergent.offered()).toEqual(first);
    await divergent.catchUp('more at b');
    expect(await divergent.offered()).toEqual(first);
  });

  it('leaves what no token gives out unsealed, and says why', async () => {
    a.member.hsm.addSecret('of this token', { extractable: false });
    const { objects } = await divergent.offered();
    expect(objects.map(({ state, reason }) => [state, reason])).toContainEqual(['unsealed', 'unextractable']);
    expect(divergent.counts()).toEqual({ divergent: 2, unaccounted: 1 });
  });

  it('is refused at the active member, and before the site has caught up', async () => {
    expect((await rejection(b.call('offerDivergence', { fence: OF_B }))).code).toBe('ROLE_REFUSED');
    a.site.journal.heads.drop(A, 'applied');
    expect((await rejection(divergent.offer())).code).toBe('GENERATION_UNKNOWN');
  });

  it('is refused from a lower epoch', async () => {
    expect((await rejection(a.call('offerDivergence', { fence: fence() }))).code).toBe('EPOCH_STALE');
  });
});

describe('a merge', () => {
  it('brings the very keys to the active member, and the next generation accounts for them everywhere', async () => {
    const all = await divergent.offered();
    expect(await divergent.verdicts(all)).toEqual(['merged', 'merged']);
    for (const label of ['captured at a only', 'never captured'])
      expect(valuesAt(b, label)).toEqual(valuesAt(a, label));
    const { digest } = await divergent.catchUp();
    const { entries } = (await b.site.store.open(digest)).generation;
    expect(entries.map(({ objectId }) => objectId)).toEqual(expect.arrayContaining(all.ids));
    expect(b.site.journal.decisions.adopted({ group: GROUP, serial: 'b-1' })).toEqual([]);
    expect(divergent.counts()).toEqual({ divergent: 0, unaccounted: 0 });
    expect(valuesAt(a, 'never captured')).toHaveLength(1);
    expect((await divergent.offered()).objects).toEqual([]);
  });

  it('is the same when it is repeated', async () => {
    const all = await divergent.offered();
    await divergent.merge(all);
    expect(await divergent.verdicts(all)).toEqual(['present', 'present']);
    expect(valuesAt(b, 'never captured')).toHaveLength(1);
  });

  it('ends in the same state wherever it is cut short', async () => {
    let [steps, isCutShort] = [0, true];
    for (; isCutShort; steps += 1) {
      divergent.close();
      await begin();
      const all = await divergent.offered();
      let left = steps;
      isCutShort = false;
      await b.member.reopen((call) => {
        if (BEFORE_A_CHANGE.has(call) || left-- > 0 || isCutShort) return;
        isCutShort = true;
        throw new AntipodeError('HSM_WORKER_LOST', `cut short at ${call}`);
      });
      if (isCutShort) expect((await rejection(divergent.merge(all))).code).toBe('HSM_WORKER_LOST');
      else await divergent.merge(all).catch(() => {});
      await restart();
      await divergent.merge(all);
      for (const label of ['captured at a only', 'never captured'])
        expect(valuesAt(b, label)).toEqual(valuesAt(a, label));
      expect(b.site.journal.intents.open({ group: GROUP, serial: 'b-1' })).toEqual([]);
      await divergent.catchUp();
      expect(divergent.counts()).toEqual({ divergent: 0, unaccounted: 0 });
    }
    expect(steps).toBeGreaterThan(2);
  });

  it('takes only the objects that the operator named', async () => {
    const { ids, manifestDigests } = await divergent.offered();
    expect(await divergent.verdicts({ ids: ids.slice(0, 1), manifestDigests })).toEqual(['merged']);
    const [one, other] = ['captured at a only', 'never captured'].map((label) => valuesAt(b, label).length);
    expect(one! + other!).toBe(1);
  });

  it('leaves a key whose name another key has where it is', async () => {
    const all = await divergent.offered();
    const mine = b.member.hsm.addSecret('never captured');
    expect(await divergent.verdicts(all)).toEqual(['merged', 'name-taken']);
    expect(valuesAt(b, 'never captured')).toEqual([mine.value]);
    // Captured, it is in the generation: the former active member then seals its own and gives way.
    await divergent.catchUp();
    expect(valuesAt(a, 'never captured')).toEqual([mine.value]);
    const { objects } = await divergent.offered();
    expect(objects.map(({ state }) => state)).toEqual(['set-aside']);
  });

  it('brings back what was set aside once its name is free', async () => {
    const [mine] = [b.member.hsm.addSecret('never captured')];
    const theirs = valuesAt(a, 'never captured')[0];
    await divergent.catchUp();
    const all = await divergent.offered();
    expect(await divergent.verdicts(all)).toContain('name-taken');
    b.member.hsm.remove(mine!);
    await divergent.catchUp();
    const again = await divergent.offered();
    expect(await divergent.verdicts(again)).toContain('merged');
    expect(valuesAt(b, 'never captured')).toEqual([theirs]);
  });

  it('never takes one half of a pair without the other', async () => {
    a.member.hsm.addEcPair('pair');
    const all = await divergent.offered();
    const theirs = b.member.hsm.addEcPair('pair');
    b.member.hsm.remove(theirs);
    expect(await divergent.verdicts(all)).toEqual(['merged', 'merged', 'name-taken', 'name-taken']);
    expect(valuesAt(b, 'pair')).toHaveLength(1);
  });

  it('does not bring back a key that the group has deleted meanwhile', async () => {
    const all = await divergent.offered();
    await divergent.merge(all);
    await divergent.catchUp();
    b.member.hsm.remove(b.member.hsm.labelled('never captured')[0]!);
    await divergent.catchUp();
    expect(await divergent.verdicts(all)).toEqual(['deleted', 'present']);
    expect(valuesAt(b, 'never captured')).toEqual([]);
  });

  it('leaves out what a rule of the group keeps at its site', async () => {
    const { ids, manifestDigests } = await divergent.offered();
    const filter = { excludeLabels: ['never *'] };
    expect(await divergent.verdicts({ ids, manifestDigests }, { filter })).toEqual(['excluded', 'merged']);
  });

  it('is refused at a standby, from a lower epoch, and without a lease', async () => {
    const all = await divergent.offered();
    const atA = a.call('mergeDivergence', { fence: OF_B, source: address('a'), ...all, objectIds: all.ids });
    expect((await rejection(atA)).code).toBe('ROLE_REFUSED');
    expect((await rejection(divergent.merge(all, { fence: fence() }))).code).toBe('EPOCH_STALE');
    await divergent.sites.network.clock.advance(60_000);
    expect((await rejection(divergent.merge(all))).code).toBe('LEASE_LAPSED');
    expect(valuesAt(b, 'never captured')).toEqual([]);
  });
});

describe('objects that were set aside', () => {
  /** B has a key with the name of one that only a has. So that one leaves the token of a. */
  const setAside = async (): Promise<void> => {
    b.member.hsm.addSecret('never captured');
    await divergent.catchUp();
  };
  const told = async () => {
    const { members = [] } = await a.call('describe', {});
    const { setAsideObjects = 0, keptAsideObjects = 0, keptObjects = 0 } = members[0]!;
    return { setAside: setAsideObjects, keptAside: keptAsideObjects, kept: keptObjects };
  };
  const asideId = async (): Promise<string> =>
    (await divergent.offered()).objects.find(({ state }) => state === 'set-aside')!.objectId!;

  it('are counted in a heartbeat that was begun before they left the token', async () => {
    const counts = a.site.setAside;
    const refresh = counts.refresh.bind(counts);
    let change: (() => Promise<void>) | undefined = setAside;
    counts.refresh = async () => {
      await refresh();
      const pending = change;
      change = undefined;
      await pending?.();
    };
    expect(await told()).toEqual({ setAside: 1, keptAside: 0, kept: 0 });
  });

  it('are counted in every heartbeat, and after a restart', async () => {
    expect(await told()).toEqual({ setAside: 0, keptAside: 0, kept: 0 });
    await setAside();
    expect(await told()).toEqual({ setAside: 1, keptAside: 0, kept: 0 });
    // In the token no more, so not counted there as well.
    expect([divergent.counts(), divergent.told]).toEqual(Array(2).fill({ divergent: 1, unaccounted: 0 }));
    a.stop();
    await a.start();
    expect(await told()).toEqual({ setAside: 1, keptAside: 0, kept: 0 });
  });

  it('can be kept by their id, and do not wait for a decision after that', async () => {
    await setAside();
    const id = await asideId();
    await divergent.offer([id]);
    expect(await told()).toEqual({ setAside: 0, keptAside: 1, kept: 0 });
    const { objects } = await divergent.offered();
    expect(objects).toContainEqual(expect.objectContaining({ objectId: id, state: 'kept', reason: 'set-aside' }));
    await divergent.catchUp('more at b');
    expect(await told()).toEqual({ setAside: 0, keptAside: 1, kept: 0 });
  });

  it('wait no more once the group has them, even if it forgets them again', async () => {
    await setAside();
    const mine = b.member.hsm.labelled('never captured')[0]!;
    b.member.hsm.remove(mine);
    await divergent.catchUp();
    expect(await told()).toMatchObject({ setAside: 1 });
    const id = await asideId();
    await divergent.merge(await divergent.offered());
    await divergent.catchUp();
    expect(await told()).toEqual({ setAside: 0, keptAside: 0, kept: 0 });
    expect((await divergent.offered()).objects).toEqual([]);
    expect(a.site.journal.decisions.settledAsides(GROUP)).toEqual(new Map([[id, 'taken']]));
    for (const handle of b.member.hsm.labelled('never captured')) b.member.hsm.remove(handle);
    await divergent.catchUp();
    expect(await told()).toEqual({ setAside: 0, keptAside: 0, kept: 0 });
    expect((await divergent.offered()).objects).toEqual([]);
  });
});

describe('a decision to keep', () => {
  it('takes objects out of the count, leaves them in the token, and lasts', async () => {
    const { ids } = await divergent.offered();
    await divergent.offer(ids);
    expect(divergent.counts()).toEqual({ divergent: 0, unaccounted: 0 });
    await divergent.catchUp('more at b');
    a.stop();
    await a.start();
    await divergent.catchUp('even more');
    expect([divergent.counts(), divergent.told]).toEqual([NOTHING, NOTHING]);
    expect((await divergent.offered()).objects.map(({ state }) => state)).toEqual(['kept', 'kept']);
    expect(valuesAt(a, 'never captured')).toHaveLength(1);
  });

  it('can be followed by a merge', async () => {
    const { ids } = await divergent.offered();
    await divergent.offer(ids);
    expect(await divergent.verdicts(await divergent.offered())).toEqual(['merged', 'merged']);
    await divergent.catchUp();
    expect([(await divergent.offered()).objects, a.site.journal.decisions.asides(GROUP)]).toEqual([[], []]);
  });

  it('keeps the sealed object even if somebody destroys the one in the token', async () => {
    const { ids, manifestDigests } = await divergent.offered();
    await divergent.offer(ids);
    a.member.hsm.remove(a.member.hsm.labelled('never captured')[0]!);
    await divergent.catchUp('more at b');
    expect((await divergent.offered()).objects.map(({ state }) => state)).toEqual(['kept', 'set-aside']);
    expect(a.site.journal.decisions.asides(GROUP)).toEqual([hex(manifestDigests[0]!)]);
    expect(await divergent.verdicts(await divergent.offered())).toEqual(['merged', 'merged']);
  });

  it('is refused for an id that the site does not have, and records nothing', async () => {
    const { ids } = await divergent.offered();
    expect((await rejection(divergent.offer([...ids, 'ff']))).code).toBe('NOT_FOUND');
    expect(divergent.counts()).toEqual({ divergent: 2, unaccounted: 0 });
  });
});
