/**
 * Tokens that are busy, gone, locked, slow, or keep one key per CKA_ID: what a capture, an apply and a drill make of
 * it.
 */
import type { AntipodeError } from '@antipode/runtime';
import { FakeClock, rejection } from '@antipode/runtime/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import type { SealedGeneration } from '../model/generation.ts';
import { enrolTogether, MemoryJournal, SimulatedGroup, SimulatedMember } from '../testing/index.ts';
import { rehearse } from './rehearsal.ts';

let group: SimulatedGroup;
let a: SimulatedMember;
let b: SimulatedMember;

beforeEach(async () => {
  const made = await SimulatedGroup.make('a', 'b');
  group = made.group;
  [a, b] = made.members as [SimulatedMember, SimulatedMember];
  for (const label of ['one', 'two', 'three']) a.hsm.addSecret(label);
  a.hsm.addEcPair('pair');
});

/** Switches something on the n-th change of the token, counted from 1. */
function onChange(count: number, change: () => void): (step: string) => void {
  let seen = 0;
  return (step) => {
    if (step === 'unwrapped' && ++seen === count) change();
  };
}

describe('a busy token', () => {
  it('fails a capture at any call, and the next capture is complete', async () => {
    const calls = 12;
    const codes = new Set<string>();
    for (let call = 0; call < calls; call += 1) {
      const { group: fresh, members } = await SimulatedGroup.make('a');
      const [source] = members as [SimulatedMember];
      source.hsm.addSecret('secret');
      source.hsm.addData('data', Buffer.from('value'));
      const { provider } = source;
      let left = call;
      // Busy for one call only, the one after `call` others.
      source.provider = new Proxy(provider, {
        get: (target, name) => {
          const member: unknown = Reflect.get(target, name);
          if (typeof member !== 'function') return member;
          return (...args: unknown[]) => {
            source.hsm.faults.busyCalls = left-- === 0 ? 1 : 0;
            return member.apply(target, args);
          };
        },
      });
      const failed = await fresh.capture(source).catch((error: AntipodeError) => error.code);
      codes.add(typeof failed === 'string' ? failed : 'captured');
      source.provider = provider;
      source.hsm.faults.busyCalls = 0;
      if (typeof failed === 'string') expect((await fresh.captured(source)).generation.entries).toHaveLength(2);
    }
    expect([...codes].sort()).toEqual(['HSM_UNAVAILABLE', 'captured']);
  });

  it('fails an apply halfway, and the next apply ends as the first would have', async () => {
    const target = await group.captured(a);
    await b.reopen(
      onChange(2, () => {
        b.hsm.faults.busyCalls = 1;
      }),
    );
    const journal = new MemoryJournal();
    expect((await rejection(group.apply(b, target, { journal }))).code).toBe('HSM_UNAVAILABLE');
    await group.apply(b, target, { journal });
    expect(b.hsm.contents()).toEqual(a.hsm.contents());
    expect(journal.openIntents()).toEqual([]);
  });
});

describe('a slot that vanishes', () => {
  it('during an apply voids the session; a new session ends the apply', async () => {
    const target = await group.captured(a);
    await b.reopen(
      onChange(2, () => {
        b.hsm.faults.isAbsent = true;
      }),
    );
    const journal = new MemoryJournal();
    const apply = () => group.apply(b, target, { journal });
    expect((await rejection(apply())).code).toBe('HSM_UNAVAILABLE');
    expect(journal.openIntents().length).toBeGreaterThan(0);
    expect((await rejection(b.reopen())).code).toBe('PARTITION_NOT_FOUND');
    b.hsm.faults.isAbsent = false;
    await b.reopen();
    await apply();
    expect(b.hsm.contents()).toEqual(a.hsm.contents());
    expect((await group.verify(b, target)).contentDigest).toBe(target.contentDigest);
  });

  it('and comes back between two calls leaves a void session', async () => {
    b.hsm.faults.isAbsent = true;
    expect((await rejection(b.provider.inventory())).details['returnValue']).toBe('CKR_DEVICE_REMOVED');
    b.hsm.faults.isAbsent = false;
    expect((await rejection(b.provider.inventory())).details['returnValue']).toBe('CKR_SESSION_HANDLE_INVALID');
    await b.reopen();
    expect(await b.provider.inventory()).toHaveLength(b.hsm.objects.length);
  });
});

it('a token whose PIN is locked is not opened, and what it holds stays', async () => {
  const target = await group.captured(a);
  await group.apply(b, target);
  const before = b.hsm.contents();
  b.hsm.faults.isPinLocked = true;
  expect((await rejection(b.reopen())).code).toBe('PIN_LOCKED');
  b.hsm.faults.isPinLocked = false;
  await b.reopen();
  expect(b.hsm.contents()).toEqual(before);
});

it('a drill on a slow token reports the time that it took, and not less (I13)', async () => {
  const clock = new FakeClock();
  const slow = await SimulatedMember.make('slow', { clock });
  await enrolTogether([a, slow], { group: group.name, version: 2 });
  const target = await group.captured(a, { domainKeyVersion: 2 });
  slow.hsm.faults.callMs = 100;
  const startedMs = clock.monotonicMs();
  let isDone = false;
  const drill = rehearse({ ...slow, target, blobOf: (digest) => group.blobs.get(digest)! }).finally(() => {
    isDone = true;
  });
  let lastMs = startedMs;
  while (!isDone) {
    await clock.advance(100);
    if (!isDone) lastMs = clock.monotonicMs();
  }
  const { restoreMs, proveMs, cleanMs, isEqual, isClean } = await drill;
  expect([isEqual, isClean]).toEqual([true, true]);
  for (const phase of [restoreMs, proveMs, cleanMs]) expect(phase).toBeGreaterThanOrEqual(100);
  // The look before the restore does not count.
  expect(restoreMs + proveMs + cleanMs).toBe(lastMs - startedMs);
});

describe('a token that keeps one key per CKA_ID', () => {
  let before: SealedGeneration;

  beforeEach(async () => {
    b.hsm.keepsOnePerId = true;
    before = await group.captured(a);
    await group.apply(b, before);
    await group.verify(b, before);
  });

  const relabel = (label: string, to: string): void => {
    const [object] = a.hsm.labelled(label);
    object!.attributes = { ...object!.attributes, label: Buffer.from(to) };
  };

  it('changes a changed key in place, and keeps it', async () => {
    const kept = [...b.hsm.objects];
    relabel('one', 'renamed');
    const target = await group.captured(a);
    await group.apply(b, target, { previous: [before] });
    expect(b.hsm.objects).toEqual(kept);
    expect(b.hsm.contents()).toEqual(a.hsm.contents());
    expect((await group.verify(b, target)).contentDigest).toBe(target.contentDigest);
  });

  it('keeps a key that was changed in place if a later object of the batch fails', async () => {
    relabel('one', 'renamed');
    const foreign = b.hsm.addSecret('taken');
    const { value } = foreign;
    a.hsm.addSecret('taken');
    const target = await group.captured(a);
    const count = b.hsm.objects.length;
    expect((await group.apply(b, target, { previous: [before] })).refused).toMatchObject([{ code: 'ID_TAKEN' }]);
    expect(b.hsm.objects).toHaveLength(count);
    expect(foreign.value).toBe(value);
    // Out of the way, it is restored.
    b.hsm.remove(foreign);
    await group.apply(b, target, { previous: [before] });
    expect(b.hsm.contents()).toEqual(a.hsm.contents());
  });
});
