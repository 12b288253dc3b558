import { expect, it } from 'vitest';
import type { SiteView } from '../../sites/detector.ts';
import { siteState } from './site.ts';

const NOW_MS = Date.UTC(2026, 0, 1);

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
  expect(siteState(view, 9_000.4)).toEqual({
    site: 'a',
    address: 'a:1',
    state: 'suspect',
    reason: 'silent',
    version: '',
    partitions: [],
  });
  expect(siteState({ ...view, lastWallMs: NOW_MS }, 9_000.4).silenceMs).toBe(8_000n);
});
