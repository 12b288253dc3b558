import type { PeerObservation } from '@antipode/protocol';
import { describe, expect, it } from 'vitest';
import type { SiteView } from '../../sites/detector.ts';
import { siteView } from '../../testing/site-views.ts';
import { siteState } from './site.ts';

const NOW_MS = Date.UTC(2026, 0, 1);
const AT = { nowMonotonicMs: 9_000.4, nowMs: NOW_MS };

it('shows how long a site has been silent only where it was ever heard', () => {
  const view: SiteView = {
    site: 'a',
    status: 'suspect',
    reason: 'silent',
    address: 'a:1',
    instance: '',
    lastMs: 1_000,
    lastWallMs: undefined,
    failedRounds: 1,
    state: undefined,
  };
  expect(siteState(view, AT)).toEqual({
    stateAgeMs: 8_000n,
    refutations: 0,
    revoked: [],
    observations: [],
    lostPartitions: [],
    mutenesses: [],
    site: 'a',
    address: 'a:1',
    state: 'suspect',
    reason: 'silent',
    version: '',
    partitions: [],
  });
  expect(siteState({ ...view, lastWallMs: NOW_MS }, AT).silenceMs).toBe(8_000n);
});

describe('what others say of a site', () => {
  const told = (reached: boolean): PeerObservation[] => [
    { $typeName: 'antipode.v1.PeerObservation', site: 'a', reached, ageMs: 2_000n, sinceMs: 60_000n },
  ];
  const observer = (site: string, observations: PeerObservation[] = []) =>
    siteView(site, {}, { lastMs: 8_000, observations });
  const of = (rest: Partial<Omit<SiteView, 'state'>>, others: SiteView[]) =>
    siteState(siteView('a', {}, { lastMs: 9_000, ...rest }), { ...AT, others }).observations;

  it('is what their heartbeats tell, as old as it is by now', () => {
    expect(of({}, [observer('b', told(false)), observer('c')])).toEqual([
      { observer: 'b', reached: false, ageMs: 3_000n, sinceMs: 61_000n },
    ]);
  });

  it('is the last round of probes while the site is silent, and nothing of an observer that could not look', () => {
    const looks = [
      { observer: 'b', reached: false, atMs: 8_500 },
      { observer: 'c', reached: undefined, atMs: 8_500 },
    ];
    const others = [observer('b', told(true)), observer('c')];
    expect(of({ status: 'suspect', looks }, others)).toEqual([
      { observer: 'b', reached: false, ageMs: 500n, sinceMs: 500n },
    ]);
    // Of a silence that is over.
    expect(of({ status: 'up', looks }, others)).toMatchObject([{ observer: 'b', reached: true }]);
  });

  it('is nothing where the observer itself is not heard', () => {
    expect(of({}, [{ ...observer('b', told(false)), status: 'suspect' }])).toEqual([]);
  });
});

it('shows since when an HSM has been gone', () => {
  const hsmLostMs = new Map([['serial-a', NOW_MS - 4_000]]);
  expect(siteState(siteView('a', {}, { hsmLostMs }), AT).lostPartitions).toEqual([
    { serial: 'serial-a', ageMs: 4_000n },
  ]);
});
