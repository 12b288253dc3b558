import { rmSync } from 'node:fs';
import { thrown } from '@antipode/runtime/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { temporaryFolder } from '../../testing/temporary-folder.ts';
import { Journal } from './journal.ts';

let folder: string;
beforeEach(() => {
  folder = temporaryFolder();
});
afterEach(() => rmSync(folder, { recursive: true }));

function inJournal<T>(site: string, work: (journal: Journal) => T): T {
  const journal = Journal.open(folder, { site });
  try {
    return work(journal);
  } finally {
    journal.close();
  }
}
const recorded = (site: string): string | undefined => inJournal(site, ({ siteName }) => siteName.recorded);

it('belongs to the first site that has begun with it, and is opened for no other', () => {
  expect(recorded('a')).toBeUndefined();
  inJournal('b', ({ siteName }) => siteName.claim('b'));
  expect(thrown(() => recorded('a'))).toMatchObject({
    code: 'SITE_RENAMED',
    details: { expected: 'b', found: 'a', path: expect.stringContaining('journal.db') },
  });
  expect(thrown(() => inJournal('b', ({ siteName }) => siteName.claim('a'))).code).toBe('SITE_RENAMED');
  expect(recorded('b')).toBe('b');
});

it('of an earlier release belongs to the site that owns the epoch of an active seat', () => {
  inJournal('a', ({ tenure }) => {
    tenure.raise('payments', { epoch: 3n, owner: 'b' });
    tenure.setSeat('payments', 'serial', 'standby');
  });
  expect(recorded('a')).toBeUndefined();
  inJournal('a', ({ tenure }) => tenure.setSeat('payments', 'serial', 'active'));
  expect(thrown(() => recorded('a')).code).toBe('SITE_RENAMED');
  expect(recorded('b')).toBe('b');
});
