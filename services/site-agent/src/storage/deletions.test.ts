import { rmSync } from 'node:fs';
import type { Tombstone } from '@antipode/hsm-core';
import { FakeClock } from '@antipode/runtime/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import { type DeletionOrder, Deletions } from './deletions.ts';
import { Journal } from './journal/journal.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
let folder: string;
let journal: Journal;
let clock: FakeClock;

beforeEach(() => {
  folder = temporaryFolder();
  journal = Journal.open(folder);
  clock = new FakeClock();
});
afterEach(() => {
  journal.close();
  rmSync(folder, { recursive: true });
});

const atFloor = (days: number): Deletions => new Deletions({ journal, clock, retentionMsMin: days * DAY_MS });
const ordered = (policy?: DeletionOrder['policy']): DeletionOrder => ({ policy });
const tombstone = (objectId: string, days: number): Tombstone => ({
  entry: { objectId, objectClass: 'secret-key', sizeBits: 256, attributes: {}, blobSha256: '00', blobSize: 40 },
  epoch: 1n,
  generation: 2n,
  deletedMs: clock.wallMs(),
  domainKeyVersion: 1,
  retentionMs: days * DAY_MS,
});

/** As captures do: the rules are asked for again and again while time passes. */
async function isExpiredAfter(deletions: Deletions, one: Tombstone, hours: number): Promise<boolean> {
  for (let hour = 0; hour < hours; hour += 1) {
    deletions.rules({ group: 'payments', serial: 's1' }, ordered(), [one]);
    await clock.advance(HOUR_MS);
  }
  return deletions.rules({ group: 'payments', serial: 's1' }, ordered(), [one]).isExpired(one);
}

describe('the retention of deleted objects', () => {
  it('is what the group says, never less than what this site says', () => {
    const deletions = atFloor(7);
    const of = (days: number) =>
      deletions.rules({ group: 'g', serial: 's1' }, ordered({ retentionMs: BigInt(days * DAY_MS) }), []).retentionMs;
    expect([of(1), of(7), of(60)]).toEqual([7 * DAY_MS, 7 * DAY_MS, 60 * DAY_MS]);
    expect(deletions.rules({ group: 'g', serial: 's1' }, ordered(), []).retentionMs).toBe(30 * DAY_MS);
    expect(atFloor(90).rules({ group: 'g', serial: 's1' }, ordered(), []).retentionMs).toBe(90 * DAY_MS);
  });

  it('ends when the promise of the tombstone and the floor of this site have both passed', async () => {
    const [short, long] = [tombstone('01', 1), tombstone('02', 3)];
    const deletions = atFloor(2);
    expect(await isExpiredAfter(deletions, short, 36)).toBe(false);
    expect(await isExpiredAfter(deletions, short, 12)).toBe(true);
    expect(await isExpiredAfter(deletions, long, 71)).toBe(false);
    expect(await isExpiredAfter(deletions, long, 2)).toBe(true);
  });

  it('is not shortened by a wall clock that is set ahead', async () => {
    const one = tombstone('01', 2);
    const deletions = atFloor(2);
    expect(await isExpiredAfter(deletions, one, 1)).toBe(false);
    clock.stepWall(365 * DAY_MS);
    expect(await isExpiredAfter(deletions, one, 1)).toBe(false);
  });

  it('goes on after a restart of the agent, and does not count the time in which it was away', async () => {
    const one = tombstone('01', 2);
    expect(await isExpiredAfter(atFloor(2), one, 24)).toBe(false);
    await clock.advance(30 * DAY_MS);
    const restarted = atFloor(2);
    expect(await isExpiredAfter(restarted, one, 20)).toBe(false);
    expect(await isExpiredAfter(restarted, one, 5)).toBe(true);
  });
});

describe('the limit of losses', () => {
  it('is what the group says, and the larger of 5 objects and 10 percent where it says nothing', () => {
    const limitOf = (policy?: { lossObjects?: number; lossPercent?: number }) =>
      atFloor(1).rules({ group: 'g', serial: 's1' }, ordered(policy), []).lossLimit;
    expect(limitOf()).toEqual({ objects: 5, percent: 10 });
    expect(limitOf({ lossObjects: 0, lossPercent: 0 })).toEqual({ objects: 0, percent: 0 });
    expect(limitOf({ lossObjects: 40 })).toEqual({ objects: 40, percent: 10 });
  });
});
