/** A preview tells what the next capture does, and changes nothing. */
import { FakeClock } from '@antipode/runtime/testing';
import { beforeEach, expect, it } from 'vitest';
import type { SealedGeneration } from '../model/generation.ts';
import { enrolTogether, SimulatedMember } from '../testing/index.ts';
import { captureGeneration } from './capture.ts';
import { CaptureMemory } from './capture-memory.ts';
import type { ObjectFilter } from './filter.ts';
import { type PreviewOptions, previewCapture, recogniseObjects } from './preview.ts';

const GROUP = 'payments';
const FILTER: ObjectFilter = { excludeIds: [], excludeLabels: ['local-*'], excludeClasses: [] };

let clock: FakeClock;
let a: SimulatedMember;
beforeEach(async () => {
  clock = new FakeClock();
  a = await SimulatedMember.make('a', { clock });
  await enrolTogether([a], { group: GROUP, version: 1 });
});

const options = (previous?: SealedGeneration): PreviewOptions => ({
  ...a,
  clock,
  group: GROUP,
  epoch: 1n,
  domainKeyVersion: 1,
  previous,
  filter: FILTER,
});

async function captured(previous?: SealedGeneration): Promise<SealedGeneration> {
  const number = (previous?.generation.number ?? 0n) + 1n;
  const rest = { memory: new CaptureMemory(), number, checkFence: () => {} };
  const { sealed } = await captureGeneration({ ...options(previous), keyring: a.keyring, ...rest });
  return sealed!;
}

const labelOf = (label: Uint8Array | undefined): string => Buffer.from(label ?? []).toString();

/** By label, why the preview leaves it out, or `taken`. */
async function previewed(previous?: SealedGeneration): Promise<Record<string, string>> {
  const { objects } = await previewCapture(options(previous));
  return Object.fromEntries(
    objects.map(({ object, reason = 'taken' }) => [labelOf(object.attributes.label), reason] as const),
  );
}

function makeObjects(): void {
  a.hsm.addSecret('plain');
  a.hsm.addEcPair('pair');
  a.hsm.addData('data', Buffer.from('value'));
  a.hsm.addSecret('hidden', { extractable: false });
  a.hsm.addSecret('local-1');
  a.hsm.addSecret('odd', { bytes: 471, keyType: 'generic-secret' });
  a.hsm.addSecret('trusted only', { wrapWithTrusted: true });
}

it('gives the answers and the names of the capture that follows', async () => {
  makeObjects();
  expect(await previewed()).toEqual({
    plain: 'taken',
    pair: 'taken',
    data: 'taken',
    hidden: 'unextractable',
    'local-1': 'excluded',
    odd: 'length-not-multiple-of-8',
    'trusted only': 'wrap-with-trusted',
  });
  const { objects } = await previewCapture(options());
  const { generation } = await captured();
  const named = objects.flatMap(({ objectId, reason }) => (reason === undefined ? [] : [{ objectId, reason }]));
  expect(named).toHaveLength(4);
  expect(generation.uncaptured).toHaveLength(4);
  expect(generation.uncaptured).toEqual(expect.arrayContaining(named.map((one) => expect.objectContaining(one))));
  expect(generation.entries).toHaveLength(objects.length - 4);
});

it('changes nothing in the token, and leaves no key in the session', async () => {
  makeObjects();
  const before = a.hsm.contents();
  await previewCapture(options());
  expect(a.hsm.contents()).toEqual(before);
  expect(a.provider.sessionObjectCount).toBe(0);
});

it('knows captured objects again, and reports what changed since', async () => {
  makeObjects();
  const first = await captured();
  const ids = new Map(
    first.generation.entries.map(({ objectId, attributes }) => [labelOf(attributes.label), objectId]),
  );
  a.hsm.labelled('plain')[0]!.value = Buffer.alloc(32, 7);
  a.hsm.addSecret('new');
  a.hsm.remove(a.hsm.labelled('data')[0]!);
  const { objects, gone } = await previewCapture(options(first));
  const seen = objects.map(({ object, objectId, reason }) => [labelOf(object.attributes.label), objectId, reason]);
  expect(seen).toContainEqual(['pair', expect.any(String), undefined]);
  expect(seen).toContainEqual(['plain', ids.get('plain'), 'value-changed']);
  expect(seen).toContainEqual(['new', undefined, undefined]);
  expect(gone.map(({ attributes }) => labelOf(attributes.label))).toEqual(['data']);
});

it('runs under a lent domain key before the partition has one', async () => {
  makeObjects();
  const { handle, checkTag } = await a.provider.lendDomainKey();
  const lent = { handle, checkTag, version: 1 };
  const keyring = { ownHandles: a.keyring.ownHandles, domainKey: () => lent, domainKeys: () => [] };
  const { objects } = await previewCapture({ ...options(), keyring });
  expect(objects.filter(({ reason }) => reason === undefined)).toHaveLength(4);
  await a.provider.forget([handle]);
  expect(a.provider.sessionObjectCount).toBe(0);
});

it('recognises objects without judging them', async () => {
  makeObjects();
  const first = await captured();
  a.hsm.addSecret('new');
  a.hsm.remove(a.hsm.labelled('data')[0]!);
  const { objects, gone } = await recogniseObjects(options(first));
  const explained = objects.filter(({ before }) => before !== undefined);
  expect(explained.map(({ object }) => labelOf(object.attributes.label)).sort()).toEqual(['pair', 'pair', 'plain']);
  const unexplained = objects.filter(({ before }) => before === undefined);
  expect(unexplained.every(({ objectId }) => /^[0-9a-f]{32}$/.test(objectId!))).toBe(true);
  const { objects: again } = await previewCapture(options(first));
  const nameOf = (list: typeof objects, label: string) =>
    list.find(({ object }) => labelOf(object.attributes.label) === label)?.objectId;
  expect(nameOf(objects, 'hidden')).toBe(nameOf(again, 'hidden'));
  expect(gone.map(({ attributes }) => labelOf(attributes.label))).toEqual(['data']);
});
