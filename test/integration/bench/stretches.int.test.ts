/** Work that grows with a partition makes way for heartbeats, leases and keep-alives, which share its thread. */
import { expect, it } from 'vitest';
import { measureStretches, STRETCH_MS_MAX } from '../../bench/measures/stretches.ts';

/**
 * A quarter of the promised size. Work that does not make way takes a quarter as long here. Work of a fixed length does
 * not.
 */
const SHARE = 4;
const STRETCH_MS = STRETCH_MS_MAX / 2;

it('no step of a capture, a restore or the store holds the event loop for long', async () => {
  const stretches = await measureStretches(100_000 / SHARE);
  const long = Object.entries(stretches).filter(([, ms]) => ms > STRETCH_MS);
  expect(Object.fromEntries(long)).toEqual({});
});
