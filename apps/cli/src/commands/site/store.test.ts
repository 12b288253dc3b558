import type { StoreReport } from '@antipode/site-agent';
import { expect, it } from 'vitest';
import { storeText } from './store.ts';

const HOUR_MS = 3_600_000;
const EMPTY: StoreReport = {
  manifests: [{ group: 'payments', manifests: 3 }],
  sealedObjects: 12,
  bytes: 4_096,
  deletedKept: 2,
  deletedExpired: 1,
  unneeded: { sealedObjects: 0, bytes: 0 },
  erasedInMs: undefined,
  erasures: [],
};

it('says what is stored, and that nothing was erased yet', () => {
  const text = storeText(EMPTY);
  expect(text).toContain('group payments: 3 generations');
  expect(text).toContain('12 sealed objects, 4096 bytes');
  expect(text).toContain('Nothing has been erased yet.');
});

it('says when the next goes, and what went, by object ids', () => {
  const objectIds = ['aa', 'bb', 'cc', 'dd'];
  const text = storeText({
    ...EMPTY,
    unneeded: { sealedObjects: 5, bytes: 640 },
    erasedInMs: { first: 2 * HOUR_MS - 1, last: 170 * HOUR_MS },
    erasures: [{ atMs: Date.UTC(2026, 0, 2), blobs: 4, bytes: 512, objectIds, isDone: false }],
  });
  expect(text).toContain('5 sealed objects that nothing needs, 640 bytes');
  expect(text).toContain('another 2 h to 170 h');
  expect(text).toMatch(/2026-01-02T00:00:00.000Z +4 +512 +aa bb cc and 1 more +cut short/);
});
