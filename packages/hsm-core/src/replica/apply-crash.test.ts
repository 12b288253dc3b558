/** The crash matrix of an apply: one run for each step of it, with a crash there; then it is repeated (I4, I9, I11). */
import { AntipodeError, hasCode } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { describe, expect, it } from 'vitest';
import type { SealedGeneration } from '../model/generation.ts';
import type { Challenge } from '../provider/provider.ts';
import {
  crashAt,
  isHalfMade,
  MemoryJournal,
  SimulatedGroup,
  type SimulatedMember,
  type StoredObject,
} from '../testing/index.ts';
import { intentOf, ReplicaMemory } from './replica.ts';

interface Scene {
  readonly group: SimulatedGroup;
  readonly b: SimulatedMember;
  readonly target: SealedGeneration;
  readonly previous: SealedGeneration | undefined;
  /** Objects of the replica that are not ours. */
  readonly own: string[];
}

/** A secret that wrapping would change. */
const ODD = { keyType: 'generic-secret', bytes: 13, encrypt: false, decrypt: false } as const;

/** A first restore of every class of object into a partition that holds a key of its own. */
async function firstRestore(): Promise<Scene> {
  const { group, members } = await SimulatedGroup.make('a', 'b');
  const [a, b] = members as [SimulatedMember, SimulatedMember];
  b.hsm.addSecret('own');
  const own = b.hsm.contents();
  for (const label of ['one', 'two']) a.hsm.addSecret(label);
  a.hsm.addSecret('odd', ODD);
  a.hsm.addEcPair('pair');
  a.hsm.addCertificate('certificate');
  a.hsm.addData('data', Buffer.from('value'));
  return { group, b, target: await group.captured(a), previous: undefined, own };
}

/** A later one: one key is new, one has another name, one was deleted at the source. */
async function laterRestore({ keepsOnePerId = false } = {}): Promise<Scene> {
  const { group, members } = await SimulatedGroup.make('a', 'b');
  const [a, b] = members as [SimulatedMember, SimulatedMember];
  b.hsm.keepsOnePerId = keepsOnePerId;
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
  a.hsm.addSecret('odd', ODD);
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
  const options = { journal, previous: previous === undefined ? [] : [previous] };
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
  const { contentDigest, proof } = await group.verify(b, target, { memory });
  expect([contentDigest, proof.failed]).toEqual([target.contentDigest, 0]);
  return wasCut;
}

describe.each(['agent', 'worker'] as const)('an apply whose %s dies at any step ends, after a repetition,', (dies) => {
  /** Runs the scene with a crash at each step in turn, until there is no further step. */
  async function matrix(make: () => Promise<Scene>, check: (scene: Scene) => void | Promise<void>): Promise<number> {
    for (let step = 0; ; step += 1) {
      const scene = await make();
      const wasCut = await crashAndRepeat(scene, step, dies);
      await check(scene);
      if (!wasCut) return step;
    }
  }

  it('with exactly the result of a restore without a crash', async () => {
    const whole = await firstRestore();
    await whole.group.apply(whole.b, whole.target);
    const steps = await matrix(firstRestore, ({ b }) => {
      expect(b.hsm.contents()).toEqual(whole.b.hsm.contents());
      expect(b.hsm.objects.some(isHalfMade)).toBe(false);
    });
    expect(steps).toBeGreaterThan(10);
  });

  it('with every object of a later generation proved, and nothing lost', async () => {
    const steps = await matrix(laterRestore, ({ b, own }) => {
      expect(b.hsm.contents()).toEqual(expect.arrayContaining(own));
      for (const label of ['own', 'after', 'new', 'odd', 'deleted', 'pair'])
        expect(b.hsm.labelled(label)).not.toEqual([]);
      expect(b.hsm.objects.some(isHalfMade)).toBe(false);
    });
    expect(steps).toBeGreaterThan(6);
  });

  it('with a later generation in place on a token with one key per CKA_ID', async () => {
    const make = () => laterRestore({ keepsOnePerId: true });
    const steps = await matrix(make, ({ b, own }) => {
      expect(b.hsm.contents()).toEqual(expect.arrayContaining(own));
      for (const label of ['own', 'after', 'new', 'odd', 'deleted', 'pair'])
        expect(b.hsm.labelled(label)).toHaveLength(label === 'pair' ? 2 : 1);
      expect(b.hsm.labelled('before')).toEqual([]);
    });
    expect(steps).toBeGreaterThan(4);
  });
});

describe('a key that does not work', () => {
  /** An interrupted apply had begun this: the first secret of the generation. */
  async function cutShort() {
    const scene = await firstRestore();
    const entry = scene.target.generation.entries.find(({ keyType }) => keyType === 'aes')!;
    const journal = new MemoryJournal();
    journal.begin([intentOf(entry)]);
    const { value: _value, ...half } = scene.b.hsm.addSecret(Buffer.from(entry.attributes.label!).toString());
    scene.b.hsm.objects.splice(-1, 1, half);
    return { ...scene, journal, half };
  }

  it('stays if no apply of ours was interrupted', async () => {
    const { group, b, target, half } = await cutShort();
    expect(await group.apply(b, target)).toMatchObject({ unaccounted: 2 });
    expect(b.hsm.objects).toContain(half);
  });

  it('is the only object destroyed after an interrupted apply, even by a read-back', async () => {
    for (const first of ['apply', 'verify'] as const) {
      const { group, b, target, half, journal } = await cutShort();
      await group[first](b, target, { journal });
      expect(b.hsm.objects).not.toContain(half);
      expect(b.hsm.labelled('own')).toHaveLength(1);
      expect(journal.openIntents()).toHaveLength(first === 'apply' ? 0 : 1);
    }
  });

  it('is destroyed even if its names had not been written yet', async () => {
    const { group, b, target, half, journal } = await cutShort();
    half.attributes = { ...half.attributes, label: new Uint8Array(), id: new Uint8Array() };
    await group.apply(b, target, { journal });
    expect(b.hsm.objects).not.toContain(half);
  });

  it.each<[string, (half: StoredObject) => void]>([
    ['it is of another type', (half) => Object.assign(half, { keyType: 'generic-secret' })],
    ['it has a name of its own', (half) => Object.assign(half.attributes, { label: Buffer.from('foreign') })],
    ['it has an id of its own', (half) => Object.assign(half.attributes, { id: Buffer.from('foreign') })],
  ])('is left alone when one was, but %s', async (_why, change) => {
    const { group, b, target, half, journal } = await cutShort();
    change(half);
    expect(await group.apply(b, target, { journal })).toMatchObject({ unaccounted: 2 });
    expect(b.hsm.objects).toContain(half);
  });

  it.each<[string, Challenge[]]>([
    ['it works', ['works']],
    ['nothing could try it', ['untried']],
    ['it works at a second look', ['refuses', 'works']],
  ])('is left alone when one was, but %s', async (_why, answers) => {
    const { group, b, target, half, journal } = await cutShort();
    let looks = 0;
    b.provider.challenge = async (_domainKey, handles) =>
      handles.map(() => answers[Math.min(looks++, answers.length - 1)]!);
    await group.apply(b, target, { journal });
    expect(b.hsm.objects).toContain(half);
    expect(looks).toBe(answers.length);
  });

  it('stays after an interrupted apply if it changes between two looks', async () => {
    const { group, b, target, half, journal } = await cutShort();
    b.hsm.onInventory = (pass) => {
      if (pass === 2) half.attributes = { ...half.attributes, decrypt: false };
    };
    await group.apply(b, target, { journal });
    expect(b.hsm.objects).toContain(half);
  });

  it('stays if the tenure is over', async () => {
    const { group, b, target, half, journal } = await cutShort();
    const checkFence = (): void => {
      throw new AntipodeError('EPOCH_STALE', 'the tenure is over');
    };
    expect((await rejection(group.verify(b, target, { journal, checkFence }))).code).toBe('EPOCH_STALE');
    expect(b.hsm.objects).toContain(half);
  });
});

describe('a partly applied generation, followed by another', () => {
  it('leaves one object for each: the journal finds the replaced ones', async () => {
    const { group, members } = await SimulatedGroup.make('a', 'b');
    const [a, b] = members as [SimulatedMember, SimulatedMember];
    const secret = a.hsm.addSecret('first');
    const first = await group.captured(a);
    await group.apply(b, first);
    const journal = new MemoryJournal();
    for (const label of ['second', 'third']) {
      secret.attributes = { ...secret.attributes, label: Buffer.from(label) };
      const target = await group.captured(a);
      await b.reopen((step) => {
        if (step === 'destroy') throw new Crash();
      });
      await expect(group.apply(b, target, { journal, previous: [first] })).rejects.toThrow(Crash);
    }
    await b.reopen();
    expect(b.hsm.contents()).toHaveLength(3);
    secret.attributes = { ...secret.attributes, label: Buffer.from('fourth') };
    const target = await group.captured(a);
    expect(await group.apply(b, target, { journal, previous: [first] })).toMatchObject({ unaccounted: 0 });
    expect(b.hsm.contents()).toEqual(a.hsm.contents());
  });

  /**
   * A restore that was cut short when everything was made; then a newer generation, in which all of it has another
   * name.
   */
  async function overtaken({ domainKeyVersion }: { domainKeyVersion: number }) {
    const { group, members } = await SimulatedGroup.make('a', 'b');
    const [a, b] = members as [SimulatedMember, SimulatedMember];
    const objects = [a.hsm.addSecret('first'), a.hsm.addData('data', Buffer.from('value'))];
    const first = await group.captured(a);
    const journal = new MemoryJournal();
    await b.reopen((step) => {
      if (step === 'data created') throw new Crash();
    });
    expect((await rejection(group.apply(b, first, { journal }))).code).toBe('HSM_WORKER_LOST');
    await b.reopen();
    if (domainKeyVersion > 1) await group.rotate([a, b], domainKeyVersion);
    for (const object of objects) object.attributes = { ...object.attributes, label: Buffer.from('second') };
    const target = await group.captured(a);
    return { group, b, target, journal, contents: a.hsm.contents() };
  }

  it.each([1, 2])(
    'destroys what was half made for the one before, sealed under domain key version %i',
    async (version) => {
      const { group, b, target, journal, contents } = await overtaken({ domainKeyVersion: version });
      delete b.hsm.labelled('first').find(({ objectClass }) => objectClass === 'secret-key')!.value;
      expect(await group.apply(b, target, { journal })).toMatchObject({ unaccounted: 0 });
      expect(b.hsm.contents()).toEqual(contents);
    },
  );

  it.each([1, 2])('replaces the objects of the previous one, under domain key version %i', async (version) => {
    const { group, b, target, journal, contents } = await overtaken({ domainKeyVersion: version });
    expect(b.hsm.labelled('first')).toHaveLength(1);
    expect(await group.apply(b, target, { journal })).toMatchObject({ unaccounted: 0 });
    expect(b.hsm.contents()).toEqual(contents);
  });

  it.each([1, 2])('leaves a copy under another name alone, under domain key version %i', async (version) => {
    const { group, b, target, journal } = await overtaken({ domainKeyVersion: version });
    const ours = b.hsm.labelled('first')[0]!;
    const copy = { ...ours, attributes: { ...ours.attributes, label: Buffer.from('of an application') } };
    b.hsm.objects.push(copy);
    expect(await group.apply(b, target, { journal })).toMatchObject({ unaccounted: 1 });
    expect([b.hsm.objects.includes(copy), b.hsm.objects.includes(ours)]).toEqual([true, false]);
  });
});
