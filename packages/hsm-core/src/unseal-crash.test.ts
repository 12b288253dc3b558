/** The crash matrix of an apply: one run for each step of it, with a crash there; then it is repeated (I4, I9, I11). */
import { AntipodeError, hasCode } from '@antipode/runtime';
import { describe, expect, it } from 'vitest';
import type { SealedGeneration } from './model/generation.ts';
import { crashAt, isHalfMade, MemoryJournal, SimulatedGroup, type SimulatedMember } from './testing/index.ts';
import { ReplicaMemory } from './unseal.ts';

interface Scene {
  readonly group: SimulatedGroup;
  readonly b: SimulatedMember;
  readonly target: SealedGeneration;
  readonly previous: SealedGeneration | undefined;
  /** What the replica holds that is none of ours. */
  readonly own: string[];
}

/** A first restore of every class of object into a partition that holds a key of its own. */
async function firstRestore(): Promise<Scene> {
  const { group, members } = await SimulatedGroup.make('a', 'b');
  const [a, b] = members as [SimulatedMember, SimulatedMember];
  b.hsm.addSecret('own');
  const own = b.hsm.contents();
  for (const label of ['one', 'two']) a.hsm.addSecret(label);
  a.hsm.addEcPair('pair');
  a.hsm.addCertificate('certificate');
  a.hsm.addData('data', Buffer.from('value'));
  return { group, b, target: await group.captured(a), previous: undefined, own };
}

/** A later one: one key is new, one has another name, one was deleted at the source. */
async function laterRestore(): Promise<Scene> {
  const { group, members } = await SimulatedGroup.make('a', 'b');
  const [a, b] = members as [SimulatedMember, SimulatedMember];
  b.hsm.addSecret('own');
  const own = b.hsm.contents();
  const [renamed, deleted] = [a.hsm.addSecret('before'), a.hsm.addSecret('deleted')];
  a.hsm.addEcPair('pair');
  const previous = await group.captured(a);
  await group.apply(b, previous);
  await b.reopen();
  renamed.attributes = { ...renamed.attributes, label: Buffer.from('after') };
  a.hsm.remove(deleted);
  a.hsm.addSecret('new');
  return { group, b, target: await group.captured(a), previous, own };
}

class Crash extends Error {}

/** Applies with a crash at one step; then once more after a restart. Tells whether the first try was cut short. */
async function crashAndRepeat(scene: Scene, step: number, dies: 'agent' | 'worker'): Promise<boolean> {
  const { group, b, target, previous } = scene;
  const failure = dies === 'agent' ? new Crash() : new AntipodeError('HSM_WORKER_LOST', 'the worker ended');
  let interrupt = crashAt(step, failure);
  const journal = new MemoryJournal(() => (dies === 'agent' ? interrupt : () => {}));
  await b.reopen((name) => interrupt(name));
  const options = { journal, previous };
  const wasCut = await group.apply(b, target, { ...options, memory: new ReplicaMemory() }).then(
    () => false,
    (thrown: unknown) => {
      // Where a worker is lost, the calls that clean up after it say so too.
      if (thrown !== failure && !hasCode(thrown, 'HSM_WORKER_LOST')) throw thrown;
      return true;
    },
  );
  interrupt = () => {};
  await b.reopen();
  const memory = new ReplicaMemory();
  await group.apply(b, target, { ...options, memory });
  expect(journal.openIntents()).toEqual([]);
  const { contentDigest, proof } = await group.verify(b, target, memory);
  expect([contentDigest, proof.failed]).toEqual([target.contentDigest, 0]);
  return wasCut;
}

describe.each(['agent', 'worker'] as const)('an apply whose %s dies at any step ends, when it is repeated,', (dies) => {
  /** Runs the scene with a crash at each step in turn, until there is no further step. */
  async function matrix(make: () => Promise<Scene>, check: (scene: Scene) => void | Promise<void>): Promise<number> {
    for (let step = 0; ; step += 1) {
      const scene = await make();
      const wasCut = await crashAndRepeat(scene, step, dies);
      await check(scene);
      if (!wasCut) return step;
    }
  }

  it('with exactly what a first restore without a crash gives', async () => {
    const whole = await firstRestore();
    await whole.group.apply(whole.b, whole.target);
    const steps = await matrix(firstRestore, ({ b }) => {
      expect(b.hsm.contents()).toEqual(whole.b.hsm.contents());
      expect(b.hsm.objects.some(isHalfMade)).toBe(false);
    });
    expect(steps).toBeGreaterThan(10);
  });

  it('with every object of a later one proved, and nothing lost that was there', async () => {
    const steps = await matrix(laterRestore, ({ b, own }) => {
      expect(b.hsm.contents()).toEqual(expect.arrayContaining(own));
      for (const label of ['own', 'after', 'new', 'deleted', 'pair']) expect(b.hsm.labelled(label)).not.toEqual([]);
      expect(b.hsm.objects.some(isHalfMade)).toBe(false);
    });
    expect(steps).toBeGreaterThan(6);
  });
});

describe('a key that does not work', () => {
  it('is left alone when no apply of ours was cut short', async () => {
    const { group, b, target } = await firstRestore();
    delete b.hsm.addSecret('half made by somebody').value;
    expect(await group.apply(b, target)).toMatchObject({ unaccounted: 2 });
    expect(b.hsm.objects.filter(isHalfMade)).toHaveLength(1);
  });

  it('is destroyed when one was, but nothing that works', async () => {
    const { group, b, target } = await firstRestore();
    delete b.hsm.addSecret('half made by us').value;
    const journal = new MemoryJournal();
    journal.begin([target.generation.entries[0]!.objectId]);
    expect(await group.apply(b, target, { journal })).toMatchObject({ unaccounted: 1 });
    expect(b.hsm.objects.some(isHalfMade)).toBe(false);
    expect(b.hsm.labelled('own')).toHaveLength(1);
  });
});
