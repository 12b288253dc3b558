import { rmSync } from 'node:fs';
import type { SealedGeneration } from '@antipode/hsm-core';
import { SimulatedGroup, type SimulatedMember } from '@antipode/hsm-core/testing';
import { silentLog, systemClock } from '@antipode/runtime';
import { FakeClock, rejection } from '@antipode/runtime/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import { GenerationStore } from './generation-store.ts';
import type { DivergentObject } from './journal/findings.ts';
import type { HeadKind } from './journal/heads.ts';
import { Retention } from './retention.ts';

let folder: string;
let store: GenerationStore;
let group: SimulatedGroup;
let a: SimulatedMember;
let line: SealedGeneration[];
let heads: Partial<Record<HeadKind, string>>;
let divergent: DivergentObject[];
let asides: string[];
let retention: Retention;

beforeEach(async () => {
  folder = temporaryFolder();
  store = GenerationStore.open(folder, { clock: systemClock });
  const made = await SimulatedGroup.make('a');
  group = made.group;
  a = made.members[0]!;
  line = [];
  for (let count = 0; count < 30; count += 1) {
    a.hsm.addSecret(`key-${count}`);
    line.push(await group.captured(a));
    store.putBlobs(group.blobs.values());
    await store.put(line.at(-1)!);
  }
  heads = { captured: line.at(-1)!.digest };
  divergent = [];
  asides = [];
  const journal = {
    heads: {
      all: () => Object.entries(heads).map(([kind, digest]) => ({ serial: 's1', kind: kind as HeadKind, digest })),
      dropOvertaken: () => expect.unreachable('without a seat, no head is overtaken'),
    },
    tenure: { seat: () => undefined },
    findings: { divergentDigests: () => divergent.map(({ digest }) => digest) },
    decisions: { asides: () => asides },
  };
  retention = new Retention({ journal, store, log: silentLog, clock: new FakeClock() });
});
afterEach(() => {
  store.close();
  rmSync(folder, { recursive: true });
});

const name = (): string => line[0]!.generation.group;
const kept = (): number[] => line.flatMap(({ digest }, at) => (store.has(digest) ? [at] : []));
const newest = Array.from({ length: 16 }, (_, at) => 14 + at);

it('keeps everything until the coordinator has said what is needed', async () => {
  await retention.pass();
  expect(kept()).toHaveLength(30);
});

it('keeps the newest, and takes the others', async () => {
  retention.learn(name(), []);
  await retention.pass();
  expect(kept()).toEqual(newest);
  expect((await rejection(store.open(line[0]!.digest))).code).toBe('GENERATION_UNKNOWN');
  expect((await rejection(store.summary(line[0]!.digest))).code).toBe('GENERATION_UNKNOWN');
  expect((await store.open(line[29]!.digest)).digest).toBe(line[29]!.digest);
});

it('keeps objects set aside here, which are in no other generation', async () => {
  asides = [line[0]!.digest];
  retention.learn(name(), []);
  await retention.pass();
  expect(kept()).toEqual([0, ...newest]);
});

it('keeps what was acknowledged anywhere, every head, and what has the entries of divergent objects', async () => {
  heads = { ...heads, applied: line[1]!.digest, staged: line[2]!.digest };
  divergent = [{ objectId: '01', digest: line[3]!.digest }];
  retention.learn(name(), [line[5]!.digest, line[7]!.digest]);
  await retention.pass();
  expect(kept()).toEqual([1, 2, 3, 5, 7, ...newest]);
  // Later acknowledgements let the older ones go.
  retention.learn(name(), [line[29]!.digest]);
  heads = { captured: line[29]!.digest, applied: line[29]!.digest };
  divergent = [];
  await retention.pass();
  expect(kept()).toEqual(newest);
});

it('takes no sealed object: one that a kept generation needs, or a deleted key, is there', async () => {
  retention.learn(name(), []);
  await retention.pass();
  expect(await store.lacking(group.blobs.keys())).toEqual([]);
});

it('takes nothing of another group', async () => {
  retention.learn('other', []);
  await retention.pass();
  expect(kept()).toHaveLength(30);
});
