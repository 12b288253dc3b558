import { FakeClock } from '@antipode/runtime/testing';
import { beforeEach, expect, it } from 'vitest';
import { Observations } from './observations.ts';

let clock: FakeClock;
let observations: Observations;
beforeEach(() => {
  clock = new FakeClock();
  observations = new Observations({ clock });
});

it('tells of each site whether the last attempt reached it, how old that is, and since when it is so', async () => {
  observations.note('c', true);
  observations.note('b', true);
  await clock.advance(1_000);
  observations.note('b', true);
  observations.note('c', false);
  await clock.advance(500);
  expect(observations.all).toEqual([
    { site: 'b', reached: true, ageMs: 500n, sinceMs: 1_500n },
    { site: 'c', reached: false, ageMs: 500n, sinceMs: 500n },
  ]);
});

it('forgets a site that is in no group of this one any more', () => {
  observations.note('b', true);
  observations.note('c', true);
  observations.keepOnly(['c', 'd']);
  expect(observations.all.map(({ site }) => site)).toEqual(['c']);
});
