import { rmSync } from 'node:fs';
import { thrown } from '@antipode/runtime/testing';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Journal } from '../storage/journal/journal.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import { FenceKeeper, sameTenure } from './fence.ts';

const group = 'payments';
let folder: string;
let journal: Journal;
let fences: FenceKeeper;

const open = (): void => {
  journal = Journal.open(folder);
  fences = new FenceKeeper({ records: journal.tenure });
};

beforeEach(() => {
  folder = temporaryFolder();
  open();
});

afterEach(() => {
  journal.close();
  rmSync(folder, { recursive: true });
});

const admit = (epoch: bigint, owner = 'a') => fences.admit({ group, epoch, owner });

it('refuses an order of a lower epoch, and changes nothing', () => {
  admit(7n);
  expect(thrown(() => admit(6n))).toMatchObject({
    code: 'EPOCH_STALE',
    details: { group, epoch: 6n, persisted: 7n, owner: 'a' },
  });
  expect(journal.tenure.fence(group)).toEqual({ epoch: 7n, owner: 'a' });
});

it('a command beside the agent goes on in the tenure in which it began, and in no other', () => {
  const stranger = sameTenure(journal.tenure, 'another group');
  admit(7n);
  const check = sameTenure(journal.tenure, group);
  for (const one of [check, stranger]) one();
  admit(8n);
  expect(thrown(check)).toMatchObject({ code: 'EPOCH_STALE', details: { epoch: 7n, persisted: 8n } });
  stranger();
});

it('refuses the same epoch for another owner, and admits it again for its own', () => {
  admit(7n);
  expect(thrown(() => admit(7n, 'b'))).toMatchObject({ code: 'EPOCH_CONFLICT', details: { persistedOwner: 'a' } });
  admit(7n);
  expect(journal.tenure.fence(group)).toEqual({ epoch: 7n, owner: 'a' });
});

it('refuses a jump above 1,000 epochs, and admits one of 1,000', () => {
  admit(7n);
  expect(thrown(() => admit(1_008n))).toMatchObject({ code: 'EPOCH_CONFLICT', details: { persisted: 7n } });
  admit(1_007n);
});

it('remembers the highest epoch through a restart', () => {
  admit(7n, 'b');
  journal.close();
  open();
  expect(thrown(() => admit(6n)).code).toBe('EPOCH_STALE');
  expect(thrown(() => admit(7n)).code).toBe('EPOCH_CONFLICT');
});

it('keeps the epochs of groups apart', () => {
  admit(7n);
  fences.admit({ group: 'other', epoch: 1n, owner: 'b' });
  expect(journal.tenure.fence(group)?.epoch).toBe(7n);
});

describe('a higher epoch', () => {
  it('of another owner ends an active seat here, of its group only', () => {
    journal.tenure.setSeat(group, 's1', 'active');
    journal.tenure.setSeat('other', 's2', 'active');
    admit(2n, 'b');
    expect(journal.tenure.seats().map((seat) => [seat.group, seat.role])).toEqual([
      ['other', 'active'],
      [group, 'fenced'],
    ]);
  });

  it('of this site ends it too: what this site was active for is over, and another tenure begins by promotion', () => {
    journal.tenure.setSeat(group, 's1', 'active');
    admit(2n, 'a');
    expect(journal.tenure.seat(group)?.role).toBe('fenced');
  });

  it('leaves a standby what it is', () => {
    journal.tenure.setSeat(group, 's1', 'standby');
    admit(2n, 'b');
    expect(journal.tenure.seat(group)?.role).toBe('standby');
  });
});

it('looks once more before a write: a lower epoch is stale by then, the highest and an unknown group are not', () => {
  fences.check(group, 1n);
  admit(7n);
  fences.check(group, 7n);
  fences.check(group, 8n);
  expect(thrown(() => fences.check(group, 6n)).code).toBe('EPOCH_STALE');
});

it('takes the word of a peer for a tenure that is not over and belongs to nobody else, and persists nothing of it', () => {
  const check = (epoch: bigint, owner = 'a') => fences.checkPeer({ group, epoch, owner });
  check(7n, 'b');
  admit(7n);
  check(7n);
  check(8n, 'b');
  expect(thrown(() => check(6n)).code).toBe('EPOCH_STALE');
  expect(thrown(() => check(7n, 'b'))).toMatchObject({ code: 'EPOCH_CONFLICT', details: { persistedOwner: 'a' } });
  expect(journal.tenure.fence(group)).toEqual({ epoch: 7n, owner: 'a' });
});

it('never goes back, and never gives an epoch a second owner, in whatever order the orders come', () => {
  const order = fc.record({ epoch: fc.bigInt({ min: 1n, max: 6n }), owner: fc.constantFrom('a', 'b', 'c') });
  fc.assert(
    fc.property(fc.uuid(), fc.array(order, { maxLength: 20 }), (name, orders) => {
      const ownerOf = new Map<bigint, string>();
      let highest = 0n;
      for (const { epoch, owner } of orders) {
        const isAdmitted = epoch > highest || (epoch === highest && ownerOf.get(epoch) === owner);
        if (isAdmitted) {
          fences.admit({ group: name, epoch, owner });
          highest = epoch;
          ownerOf.set(epoch, owner);
        } else {
          const { code } = thrown(() => fences.admit({ group: name, epoch, owner }));
          expect(code).toBe(epoch < highest ? 'EPOCH_STALE' : 'EPOCH_CONFLICT');
        }
        expect(journal.tenure.fence(name)).toEqual({ epoch: highest, owner: ownerOf.get(highest) });
      }
    }),
    { numRuns: 40 },
  );
});

it('refuses a first epoch above 1,000: no honest group begins so high', () => {
  for (const epoch of [1_001n, 2n ** 53n - 1n, 2n ** 60n])
    expect(thrown(() => admit(epoch))).toMatchObject({ code: 'EPOCH_CONFLICT', details: { persisted: 0n } });
  expect(journal.tenure.fence(group)).toBeUndefined();
  admit(1_000n);
});

it('refuses an epoch that the journal could not keep exactly', () => {
  journal.tenure.raise(group, { epoch: 2n ** 53n - 1n, owner: 'a' });
  expect(thrown(() => admit(2n ** 53n)).code).toBe('EPOCH_CONFLICT');
  expect(journal.tenure.fence(group)?.epoch).toBe(2n ** 53n - 1n);
});
