/**
 * Other programs and the disk disturb the databases of an agent: it waits with a limit, reports a clear state, and
 * never crashes.
 */

import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { lockFolder, systemClock } from '@antipode/runtime';
import { FakeClock, rejection, thrown } from '@antipode/runtime/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { describe as account } from '../orders/describe.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import { address, fence, GROUP, TwoSites } from '../testing/two-sites.ts';
import { ORDER_WAIT_MS, STATEMENT_WAIT_MS } from './database.ts';
import { GenerationStore } from './generation-store.ts';
import { Journal } from './journal/journal.ts';

let folder: string;

beforeEach(() => {
  folder = temporaryFolder();
});

afterEach(() => rmSync(folder, { recursive: true }));

/** As a backup program does that copies a database under a lock. */
function lock(path: string): { release: () => void } {
  const other = new DatabaseSync(path);
  other.exec('BEGIN EXCLUSIVE');
  return {
    release: () => {
      other.exec('ROLLBACK');
      other.close();
    },
  };
}

describe('a journal that another program has locked', () => {
  let journal: Journal;
  let held: ReturnType<typeof lock>;
  beforeEach(() => {
    journal = Journal.open(folder);
    journal.tenure.setSeat('g', 's1', 'standby');
    held = lock(join(folder, 'journal.db'));
  });
  afterEach(() => journal.close());

  it('is read all the same, and a write fails soon, as a matter for another try', () => {
    expect(journal.tenure.seat('g')?.role).toBe('standby');
    const before = performance.now();
    expect(thrown(() => journal.tenure.setSeat('g', 's1', 'active'))).toMatchObject({
      code: 'FILE_BUSY',
      disposition: 'retry',
    });
    expect(thrown(() => journal.tenure.raise('g', { epoch: 2n, owner: 'b' })).code).toBe('FILE_BUSY');
    expect(performance.now() - before).toBeLessThan(STATEMENT_WAIT_MS * 8);
    held.release();
    journal.tenure.setSeat('g', 's1', 'active');
  });

  it('is waited for without holding up anything, and until a limit', async () => {
    const clock = new FakeClock();
    const waiting = journal.untilWritable(clock);
    await clock.advance(ORDER_WAIT_MS / 2);
    held.release();
    await clock.advance(1_000);
    await waiting;
    held = lock(join(folder, 'journal.db'));
    const failing = rejection(journal.untilWritable(clock));
    await clock.advance(ORDER_WAIT_MS + 1_000);
    expect(await failing).toMatchObject({ code: 'FILE_BUSY', details: { path: join(folder, 'journal.db') } });
    held.release();
  });

  it('is a state that can be asked for, until it can be written to again', () => {
    expect([journal.check()?.code, journal.fault?.code]).toEqual(['FILE_BUSY', 'FILE_BUSY']);
    held.release();
    expect([journal.check(), journal.fault]).toEqual([undefined, undefined]);
  });
});

describe('at a site whose journal is locked', () => {
  let sites: TwoSites;
  beforeEach(async () => {
    sites = await TwoSites.make();
  });
  afterEach(() => sites.close());

  it('the account of it goes on, and says so of each partition', async () => {
    const held = lock(join(sites.a.folder, 'journal.db'));
    sites.a.site.journal.check();
    const { partitions } = await account(sites.a.site);
    expect(partitions?.map(({ errorCode }) => errorCode)).toEqual(['FILE_BUSY', 'FILE_BUSY']);
    held.release();
  });

  it('an order waits, and is carried out when the lock is released', async () => {
    const held = lock(join(sites.a.folder, 'journal.db'));
    const capture = sites.capture(sites.a);
    await sites.network.clock.advance(10_000);
    held.release();
    sites.renew(sites.a);
    await sites.network.clock.advance(1_000);
    expect(await capture).toMatchObject({ isNew: true });
  });

  it('so does a capture for the store, and keeps what it sealed', async () => {
    const held = lock(join(sites.a.folder, 'generations.db'));
    const capture = sites.capture(sites.a);
    await sites.network.clock.advance(10_000);
    held.release();
    sites.renew(sites.a);
    await sites.network.clock.advance(1_000);
    expect(await capture).toMatchObject({ isNew: true });
  });

  it('what the coordinator says of epochs is heard without an end of the process', async () => {
    const held = lock(join(sites.b.folder, 'journal.db'));
    const raise = () => sites.b.site.fences.admit({ ...fence(2n, 'b') });
    expect(thrown(raise).disposition).toBe('retry');
    held.release();
    raise();
  });
});

// Only root may mount one.
describe.runIf(process.getuid?.() === 0)('a disk', () => {
  /** A small file system of its own, for the one test that needs it full or read-only. */
  function mounted(work: (path: string, remount: (options: string) => void) => void): void {
    const path = join(folder, 'disk');
    mkdirSync(path);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m,mode=700', 'tmpfs', path], { stdio: 'pipe' });
    try {
      work(path, (options) => execFileSync('mount', ['-o', `remount,${options}`, path], { stdio: 'pipe' }));
    } finally {
      execFileSync('umount', ['-l', path]);
    }
  }

  it('that is full is FILE_UNWRITABLE, for the journal and the store, until there is room', () =>
    mounted((path) => {
      const [journal, store] = [Journal.open(path), GenerationStore.open(path, { clock: systemClock })];
      const filler = join(path, 'filler');
      expect(() => writeFileSync(filler, Buffer.alloc(2 * 1024 ** 2))).toThrow('ENOSPC');
      expect(thrown(() => store.putBlobs([Buffer.alloc(64 * 1024)])).code).toBe('FILE_UNWRITABLE');
      expect(journal.check()?.code ?? thrown(() => fill(journal)).code).toBe('FILE_UNWRITABLE');
      rmSync(filler);
      store.putBlobs([Buffer.alloc(64 * 1024)]);
      expect(journal.check()).toBeUndefined();
      journal.close();
      store.close();
    }));
  const fill = (journal: Journal): void => {
    for (let group = 0; group < 10_000; group += 1) journal.drills.setDistribution(`g${group}`, 1, 'x'.repeat(4_000));
  };

  it('that is read-only is FILE_UNWRITABLE for a start, and for a running agent', () =>
    mounted((path, remount) => {
      Journal.open(path).close();
      remount('ro');
      expect(thrown(() => Journal.open(path)).code).toBe('FILE_UNWRITABLE');
      expect(thrown(() => lockFolder(path, { program: 'agent' })).code).toBe('FILE_UNWRITABLE');
      remount('rw');
    }));
});

describe('a database that is damaged', () => {
  const damage = (name: string): void => {
    const path = join(folder, name);
    const bytes = readFileSync(path);
    for (let at = 0; at < bytes.length; at += 1) if (at < 16 || at > 100) bytes[at] = 0x55;
    writeFileSync(path, bytes);
  };

  it('is FILE_DAMAGED where it is the journal: nothing can take its place by itself', () => {
    Journal.open(folder).close();
    damage('journal.db');
    expect(thrown(() => Journal.open(folder))).toMatchObject({ code: 'FILE_DAMAGED', disposition: 'operator' });
  });

  it('is put aside where it is the store, which begins again', () => {
    GenerationStore.open(folder, { clock: systemClock }).close();
    damage('generations.db');
    const store = GenerationStore.open(folder, { clock: systemClock });
    expect(store.setAside).toBe(join(folder, 'generations.db.damaged-1'));
    store.putBlobs([Buffer.from('a')]);
    store.close();
    expect(readdirSync(folder)).toContain('generations.db.damaged-1');
  });

  it('that shows only when it is read is put aside too, and the generation fetched again', async () => {
    const sites = await TwoSites.make();
    try {
      const ref = await sites.captured();
      await sites.apply(sites.b, ref);
      await sites.verify(sites.b, ref);
      const { a } = sites;
      a.stop();
      const path = join(a.folder, 'generations.db');
      const database = new DatabaseSync(path);
      const row = database.prepare("SELECT rootpage FROM sqlite_master WHERE name = 'manifest'").get();
      const pageSize = Number(database.prepare('PRAGMA page_size').get()?.['page_size']);
      database.exec('PRAGMA journal_mode = DELETE');
      database.close();
      const bytes = readFileSync(path);
      bytes.fill(0x55, (Number(row?.['rootpage']) - 1) * pageSize, Number(row?.['rootpage']) * pageSize);
      writeFileSync(path, bytes);
      await a.start();
      a.site.mender.learn(GROUP, [address('b')]);
      sites.renew(a);
      a.member.hsm.addSecret('next');
      await sites.captured();
      expect(a.site.store.setAside).toContain('damaged-1');
      expect(await a.site.store.isSound(ref.digest)).toBe(true);
    } finally {
      sites.close();
    }
  });
});
