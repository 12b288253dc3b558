/**
 * A former active site lies about what it has. The active site takes nothing but objects that an operator named, under
 * the signature of the site's own pinned partition, and replaces nothing by them.
 */
import { ReplicaMemory, sealUnexplained } from '@antipode/hsm-core';
import { SomeOperators, someRequest } from '@antipode/protocol/testing';
import { fromHex, hex } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { DivergentSites, OF_B, valuesAt } from '../testing/divergent-sites.ts';
import type { SimulatedSite } from '../testing/simulated-site.ts';
import { address, GROUP } from '../testing/two-sites.ts';

let divergent: DivergentSites;
let a: SimulatedSite;
let b: SimulatedSite;

beforeEach(async () => {
  divergent = await DivergentSites.make();
  ({ a, b } = divergent);
});
afterEach(() => divergent.close());

const labels = ({ member }: SimulatedSite): string[] =>
  member.hsm.objects.map(({ attributes }) => Buffer.from(attributes.label ?? []).toString()).sort();

it('takes no key that was added to the offer after the operator looked', async () => {
  const { ids } = await divergent.offered();
  a.member.hsm.addSecret('planted');
  const later = await divergent.offered();
  expect(later.ids).toHaveLength(3);
  expect(await divergent.verdicts({ ...later, ids })).toEqual(['merged', 'merged']);
  expect(labels(b)).not.toContain('planted');
});

it('replaces no key by another one that bears its name', async () => {
  const mine = valuesAt(b, 'secret');
  const before = labels(b);
  a.member.hsm.remove(a.member.hsm.labelled('secret')[0]!);
  a.member.hsm.addSecret('secret');
  const forged = await divergent.offered();
  expect(forged.ids).toHaveLength(3);
  expect(await divergent.verdicts(forged)).toEqual(['merged', 'merged', 'name-taken']);
  expect(valuesAt(b, 'secret')).toEqual(mine);
  expect(labels(b)).toEqual([...before, 'captured at a only', 'never captured'].sort());
});

it('takes nothing for an object of the group because it has the id of one', async () => {
  const newest = await b.site.store.open(b.site.journal.heads.of({ group: GROUP, serial: 'b-1' }, 'captured')!);
  const [entry] = newest.generation.entries;
  const { ids, manifestDigests } = await divergent.offered();
  // The operator is shown an id of the group's, and names it: no offer has it, so nothing comes of it.
  expect(await divergent.verdicts({ ids: [entry!.objectId], manifestDigests })).toEqual([]);
  expect(ids).not.toContain(entry!.objectId);
});

it('refuses a manifest that another partition has signed', async () => {
  const { ids } = await divergent.offered();
  // B's own generation, which a has too, offered as if it were a's.
  const digest = b.site.journal.heads.of({ group: GROUP, serial: 'b-1' }, 'captured')!;
  const foreign = { ids, manifestDigests: [fromHex(digest)] };
  expect((await rejection(divergent.merge(foreign))).code).toBe('PEER_REFUSED');
});

it('refuses a generation of an earlier tenure as an offer', async () => {
  const { ids } = await divergent.offered();
  const old = a.site.journal.heads.of({ group: GROUP, serial: 'a-1' }, 'captured')!;
  expect((await rejection(divergent.merge({ ids, manifestDigests: [fromHex(old)] }))).code).toBe('PEER_REFUSED');
  expect(valuesAt(b, 'captured at a only')).toEqual([]);
});

it('refuses what a scratch partition of the site has sealed', async () => {
  const { ids } = await divergent.offered();
  const newest = await a.site.store.open(a.site.journal.heads.of({ group: GROUP, serial: 'a-1' }, 'applied')!);
  const { provider, keyring } = a.scratch;
  a.scratch.hsm.addSecret('in the scratch partition');
  const made = await sealUnexplained({
    provider,
    keyring,
    clock: a.site.clock,
    prng: a.site.prng,
    memory: new ReplicaMemory(),
    target: newest,
    previous: [],
    journal: a.site.journal.intents.ofApply({ group: GROUP, serial: 'a-2' }),
    checkFence: () => {},
    known: new Set(),
  });
  await a.site.store.putAllBlobs(made.blobs.values());
  await a.site.store.put(made.generation!);
  const forged = { ids, manifestDigests: [fromHex(made.generation!.digest)] };
  expect((await rejection(divergent.merge(forged))).code).toBe('PEER_REFUSED');
});

it('refuses a sealed object that is not the one in the manifest', async () => {
  const all = await divergent.offered();
  const { blob } = a.site.store;
  a.site.store.blob = (sha256) => {
    const bytes = blob.call(a.site.store, sha256).slice();
    bytes[0]! ^= 1;
    return bytes;
  };
  expect((await rejection(divergent.merge(all))).code).toBe('BLOB_INVALID');
  expect(valuesAt(b, 'never captured')).toEqual([]);
});

it('refuses what one site has sealed in the name of another, even if it is here already', async () => {
  const all = await divergent.offered();
  await divergent.merge({ ...all, ids: [] });
  expect(b.site.store.has(hex(all.manifestDigests[0]!))).toBe(true);
  expect((await rejection(divergent.merge(all, { source: address('c') }))).code).toBe('PEER_REFUSED');
  expect(valuesAt(b, 'never captured')).toEqual([]);
});

it('takes nothing without the approval of operators who name the objects, where the active site guards the group', async () => {
  const all = await divergent.offered();
  const operators = new SomeOperators();
  const { required, breakGlass } = operators.policy;
  b.stop();
  b.approvals = { required, breakGlass, operators: [...operators.policy.operators], groups: {} };
  await b.start();
  divergent.sites.renew(b, 2n);
  expect((await rejection(divergent.merge(all))).code).toBe('APPROVAL_REQUIRED');
  const { clock } = divergent.sites.network;
  const partitions = [{ site: 'b', serial: 'b-1', role: 'member' as const, identity: '' }];
  const limits = { losesAtMost: 0, keepsGeneration: 0, withoutHearing: [] };
  const approve = (objects: string[]) => {
    const request = {
      action: 'restore',
      group: GROUP,
      partitions,
      epochs: { from: 2, to: 2 },
      limits,
      objects,
    } as const;
    const { request: bytes, signatures } = operators.sign(someRequest(request, clock.wallMs()));
    return { operationId: 'operation 1', approvals: [{ request: bytes, signatures: [...signatures] }] };
  };
  const some = { fence: { ...OF_B, approvals: approve(all.ids.slice(0, 1)) } };
  expect((await rejection(divergent.merge(all, some))).code).toBe('APPROVAL_MISMATCH');
  expect(valuesAt(b, 'never captured')).toEqual([]);
  expect(await divergent.verdicts(all, { fence: { ...OF_B, approvals: approve(all.ids) } })).toEqual([
    'merged',
    'merged',
  ]);
});
