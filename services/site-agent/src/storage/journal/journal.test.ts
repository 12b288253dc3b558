import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { ApplyIntent } from '@antipode/hsm-core';
import { AntipodeError } from '@antipode/runtime';
import { thrown } from '@antipode/runtime/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { writeJournal19 } from '../../testing/older-journals.ts';
import { temporaryFolder } from '../../testing/temporary-folder.ts';
import { openDatabase, transaction } from '../database.ts';
import { Journal } from './journal.ts';

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
/** A partition, and another one of another group. */
const G = { group: 'g', serial: 's1' };
const OTHER = { group: 'other', serial: 's1' };
let folder: string;
let journal: Journal;

beforeEach(() => {
  folder = temporaryFolder();
  journal = Journal.open(folder);
});

afterEach(() => {
  journal.close();
  rmSync(folder, { recursive: true });
});

/** Opens the journal again, as a new process does. */
function reopen(): Journal {
  journal.close();
  journal = Journal.open(folder);
  return journal;
}

describe('what is remembered through a restart', () => {
  it('is the identity of each partition', () => {
    const record = { serial: 's1', ckaId: bytes('id'), publicHalf: bytes('half') };
    journal.identities.add('main', record);
    expect(reopen().identities.of('main')).toEqual(record);
    expect(journal.identities.of('other')).toBeUndefined();
    expect(journal.identities.all()).toEqual([{ partition: 'main', record }]);
  });

  it('is a trusted key as it was delivered, and then where it lies, until its version is destroyed', () => {
    const key = { group: 'a', version: 1, ckaId: bytes('id'), checkTag: bytes('tag') };
    const delivered = { group: 'a', version: 1, sealed: bytes('sealed') };
    journal.domainKeys.add('s1', key, delivered);
    expect([reopen().domainKeys.delivered('s1'), journal.domainKeys.of('s1')]).toEqual([[delivered], [key]]);
    const trusted = { ckaId: bytes('other id'), checkTag: bytes('other tag') };
    journal.identities.announce('s1', trusted.ckaId);
    journal.domainKeys.addTrusted('s1', { group: 'a', version: 1, ...trusted });
    expect([
      reopen().domainKeys.delivered('s1'),
      journal.domainKeys.of('s1'),
      journal.identities.announced('s1'),
    ]).toEqual([[], [{ ...key, trusted }], []]);
    journal.domainKeys.beginRetirement('s1', key);
    journal.domainKeys.endRetirement('s1', key, 'destroyed');
    expect(reopen().domainKeys.of('s1')).toEqual([]);
    expect(journal.identities.announced('s1')).toEqual([key.ckaId, trusted.ckaId]);
  });

  it('is every domain key of a partition, in order', () => {
    const key = (group: string, version: number) => ({ group, version, ckaId: bytes('id'), checkTag: bytes('tag') });
    for (const [group, version] of [
      ['b', 1],
      ['a', 10],
      ['a', 2],
    ] as const)
      journal.domainKeys.add('s1', key(group, version));
    journal.domainKeys.add('s2', key('a', 1));
    expect(reopen().domainKeys.of('s1')).toEqual([key('a', 2), key('a', 10), key('b', 1)]);
  });

  it('is a seat with its counts, which a change of role does not touch', () => {
    journal.tenure.setSeat('g', 's1', 'standby');
    const divergent = ['01', '02'].map((objectId) => ({ objectId, digest: 'aa' }));
    journal.findings.setUnexplained(G, { divergent, unaccounted: 3 });
    journal.tenure.setSeat('g', 's1', 'active');
    expect(reopen().tenure.seat('g')).toEqual({
      group: 'g',
      serial: 's1',
      role: 'active',
      divergent: 2,
      unaccounted: 3,
    });
    expect([journal.tenure.seats().length, journal.tenure.seat('other')]).toEqual([1, undefined]);
    expect([journal.findings.divergent(G), journal.findings.divergent(OTHER)]).toEqual([divergent, []]);
    journal.findings.setUnexplained(G, { divergent: divergent.slice(1), unaccounted: 0 });
    expect([journal.tenure.seat('g')?.divergent, journal.findings.divergent(G)]).toEqual([1, divergent.slice(1)]);
  });

  it('is the newest head of each kind', () => {
    journal.heads.set(G, 'staged', '01');
    journal.heads.set(G, 'staged', '02');
    journal.heads.set(G, 'applied', '01');
    reopen();
    expect((['captured', 'staged', 'applied'] as const).map((kind) => journal.heads.of(G, kind))).toEqual([
      undefined,
      '02',
      '01',
    ]);
  });

  it('are the intents that were begun and not committed, of each group its own, once each', () => {
    const intent = (objectId: string, digest = 'd'): ApplyIntent => ({
      objectId,
      objectClass: 'secret-key',
      keyType: 'aes',
      id: bytes('id'),
      label: bytes('label'),
      attributesDigest: bytes(digest),
    });
    const names = { id: bytes(''), label: bytes('') };
    const certificate: ApplyIntent = {
      objectId: '03',
      objectClass: 'certificate',
      ...names,
      attributesDigest: bytes('c'),
    };
    journal.intents.begin(G, [intent('01'), intent('02'), certificate]);
    journal.intents.begin(G, [intent('02'), intent('02', 'e')]);
    journal.intents.begin(OTHER, [intent('01')]);
    journal.intents.stage(G, { digest: 'ab', objectIds: ['01', '09'] });
    expect(reopen().intents.open(G)).toEqual([intent('02'), intent('02', 'e'), certificate]);
    expect([journal.intents.open(OTHER), journal.heads.of(G, 'staged')]).toEqual([[intent('01')], 'ab']);
    // Both or neither.
    const failing = Object.assign(['02'], {
      toJSON: () => {
        throw new RangeError('no room');
      },
    });
    expect(() => journal.intents.stage(G, { digest: 'cd', objectIds: failing })).toThrow();
    expect(reopen().intents.open(G)).toHaveLength(3);
    expect(journal.heads.of(G, 'staged')).toBe('ab');
  });

  it('are the keys that were announced and not recorded, of each partition its own', () => {
    const record = { group: 'g', version: 1, ckaId: bytes('one'), checkTag: bytes('tag') };
    journal.identities.announce('s1', record.ckaId);
    journal.identities.announce('s1', bytes('two'));
    journal.identities.announce('s2', bytes('id'));
    journal.domainKeys.add('s1', record);
    journal.identities.add('p2', { serial: 's2', ckaId: bytes('id'), publicHalf: bytes('half') });
    expect(reopen().identities.announced('s1')).toEqual([bytes('two')]);
    expect(journal.identities.announced('s2')).toEqual([]);
  });

  it('are distributions and open drills', () => {
    journal.drills.setDistribution('g', 1, 'cut short');
    journal.drills.setDistribution('g', 1, 'done');
    journal.drills.begin('s1', 'd1');
    journal.drills.begin('s1', 'd2');
    reopen();
    expect([journal.drills.distribution('g', 1), journal.drills.distribution('g', 2)]).toEqual(['done', undefined]);
    expect([journal.drills.open('s1'), journal.drills.open('s2')]).toEqual(['d2', undefined]);
    journal.drills.end('s1');
    expect(reopen().drills.open('s1')).toBeUndefined();
  });

  it('is an epoch above what 32 bits hold', () => {
    journal.tenure.raise('g', { epoch: 2n ** 52n, owner: 'a' });
    expect(reopen().tenure.fence('g')).toEqual({ epoch: 2n ** 52n, owner: 'a' });
  });
});

it('is durable on commit: every write reaches the disk before a method returns', () => {
  const database = openDatabase(join(folder, 'x.db'), { schema: 'CREATE TABLE t (a TEXT) STRICT', version: 1 });
  const pragma = (name: string) => Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0];
  expect([pragma('journal_mode'), pragma('synchronous')]).toEqual(['wal', 2]);
  database.close();
});

it('raises a fence and ends a seat together or not at all', () => {
  journal.tenure.setSeat('g', 's1', 'active');
  const other = new DatabaseSync(join(folder, 'journal.db'));
  other.exec("CREATE TRIGGER stop BEFORE UPDATE ON member BEGIN SELECT RAISE(ABORT, 'disk full'); END");
  const raise = () => journal.tenure.raise('g', { epoch: 2n, owner: 'b' });
  expect(thrown(raise).code).toBe('FILE_UNWRITABLE');
  expect([journal.tenure.fence('g'), journal.tenure.seat('g')?.role]).toEqual([undefined, 'active']);
  other.exec('DROP TRIGGER stop');
  other.close();
  raise();
  expect([journal.tenure.fence('g')?.epoch, journal.tenure.seat('g')?.role]).toEqual([2n, 'fenced']);
});

describe('a transaction', () => {
  it('is rolled back when its work throws, and passes an error of ours on', () => {
    const database = openDatabase(join(folder, 'x.db'), { schema: 'CREATE TABLE t (a TEXT) STRICT', version: 1 });
    const count = () => database.prepare('SELECT count(*) AS n FROM t').get()?.['n'];
    const failure = new AntipodeError('EPOCH_STALE', 'stale');
    const insertAnd = (error: Error) => () =>
      transaction(database, () => {
        database.exec("INSERT INTO t VALUES ('a')");
        throw error;
      });
    expect(thrown(insertAnd(failure))).toBe(failure);
    expect(thrown(insertAnd(new Error('disk I/O error'))).code).toBe('FILE_UNWRITABLE');
    expect(count()).toBe(0);
    transaction(database, () => database.exec("INSERT INTO t VALUES ('a')"));
    expect(count()).toBe(1);
    database.close();
  });
});

it('of an older program gets what it lacks, and keeps what it has', () => {
  const path = join(folder, 'old', 'x.db');
  const old = openDatabase(path, { schema: 'CREATE TABLE a (x TEXT) STRICT', version: 1 });
  old.exec("INSERT INTO a VALUES ('kept')");
  old.close();
  const upgrades = { 1: 'CREATE TABLE b (x TEXT) STRICT', 2: "INSERT INTO b VALUES ('new')" };
  for (const _ of ['upgraded', 'opened again']) {
    const now = openDatabase(path, { schema: 'not used', version: 3, upgrades });
    expect(now.prepare('SELECT x FROM a UNION ALL SELECT x FROM b').all()).toEqual([{ x: 'kept' }, { x: 'new' }]);
    expect(now.prepare('PRAGMA user_version').get()?.['user_version']).toBe(3);
    now.close();
  }
});

it('of an older program keeps the applies that were cut short', () => {
  const old = openDatabase(join(folder, 'three', 'journal.db'), {
    schema: `CREATE TABLE apply_intent (grp TEXT, object_id TEXT, object_class TEXT NOT NULL, key_type TEXT, digest BLOB, PRIMARY KEY (grp, object_id, digest)) STRICT;
      CREATE TABLE divergent (grp TEXT, object_id TEXT, digest TEXT NOT NULL, PRIMARY KEY (grp, object_id)) STRICT;
      CREATE TABLE head (grp TEXT, kind TEXT, digest TEXT NOT NULL, PRIMARY KEY (grp, kind)) STRICT;
      CREATE TABLE member (grp TEXT PRIMARY KEY, serial TEXT NOT NULL, role TEXT NOT NULL, divergent INTEGER NOT NULL DEFAULT 0, unaccounted INTEGER NOT NULL DEFAULT 0) STRICT;
      CREATE TABLE open_drill (serial TEXT PRIMARY KEY, drill_id TEXT NOT NULL) STRICT;
      INSERT INTO member VALUES ('g', 's1', 'standby', 0, 0);
      INSERT INTO apply_intent VALUES ('g', '01', 'secret-key', 'aes', x'0102')`,
    version: 3,
  });
  old.close();
  const upgraded = Journal.open(join(folder, 'three'));
  expect(upgraded.intents.open(G)).toEqual([
    {
      objectId: '01',
      objectClass: 'secret-key',
      keyType: 'aes',
      id: new Uint8Array(),
      label: new Uint8Array(),
      attributesDigest: Uint8Array.of(1, 2),
    },
  ]);
  upgraded.close();
});

it('of an older program ends a drill that was cut short beside objects of somebody else', () => {
  const older = join(folder, 'drills');
  writeJournal19(
    join(older, 'journal.db'),
    `INSERT INTO open_drill VALUES ('alone', 'd1'), ('beside others', 'd2');
     INSERT INTO stranger VALUES ('beside others', 'a digest that is keyed by a process', 1)`,
  );
  const upgraded = Journal.open(older);
  // It would destroy all that is there, since it knows none of them any more.
  expect(['alone', 'beside others'].map((serial) => upgraded.drills.open(serial))).toEqual(['d1', undefined]);
  expect(upgraded.drills.strangers('beside others')).toEqual(new Set());
  upgraded.close();
});

describe('of an agent that told the partitions of a site not apart', () => {
  const rows = (group: string): string => `
    INSERT INTO head VALUES ('${group}', 'applied', 'aa');
    INSERT INTO apply_intent VALUES ('${group}', '01', 'secret-key', 'aes', x'01', x'02', x'03');
    INSERT INTO divergent VALUES ('${group}', '02', 'bb');
    INSERT INTO held VALUES ('${group}', '03', 'deleted');
    INSERT INTO accepted VALUES ('${group}', '04');
    INSERT INTO restored VALUES ('${group}');
    INSERT INTO restored_object VALUES ('${group}', '05');
    INSERT INTO namesake VALUES ('${group}', 7);
    INSERT INTO refused VALUES ('${group}', '06', 'kind', 'CODE', 'CKR');
    INSERT INTO not_carried VALUES ('${group}', '07', 'kind', 'A B');
    INSERT INTO untried VALUES ('${group}', '08', 'sign', 'reason');
    INSERT INTO had_captured VALUES ('${group}');`;
  const upgraded = (): Journal => {
    const older = join(folder, 'nineteen');
    writeJournal19(
      join(older, 'journal.db'),
      `INSERT INTO member VALUES ('g', 's1', 'standby', 1, 2); ${rows('g')} ${rows('other')}`,
    );
    return Journal.open(older);
  };
  const recorded = ({ heads, intents, findings, decisions }: Journal, of: typeof G) => [
    heads.of(of, 'applied'),
    intents.open(of).map(({ objectId }) => objectId),
    findings.divergent(of),
    decisions.held(of).map(({ objectId }) => objectId),
    [...decisions.accepted(of), ...decisions.restored(of), decisions.hasRestored(of), heads.hasCaptured(of)],
    findings.namesakes(of),
    findings.refused(of).map(({ objectId }) => objectId),
    findings.notCarried(of),
    findings.untried(of),
  ];
  const nothing = [undefined, [], [], [], [false, false], 0, [], [], []];

  it('everything is about the partition that has the seat, and nothing about another one', () => {
    const journal = upgraded();
    expect(recorded(journal, G)).toEqual([
      'aa',
      ['01'],
      [{ objectId: '02', digest: 'bb' }],
      ['03'],
      ['04', '05', true, true],
      7,
      ['06'],
      [{ objectId: '07', kind: 'kind', attributes: ['A', 'B'] }],
      [{ objectId: '08', use: 'sign', reason: 'reason' }],
    ]);
    expect(recorded(journal, { ...G, serial: 's2' })).toEqual(nothing);
    journal.close();
  });

  it('what is about no partition that has a seat decides nothing, and its generations stay', () => {
    const journal = upgraded();
    expect(recorded(journal, OTHER)).toEqual(nothing);
    expect([
      journal.heads.all('other').map(({ digest }) => digest),
      journal.findings.divergentDigests('other'),
      [...journal.decisions.wanted('other')],
    ]).toEqual([['aa'], ['bb'], ['01', '02', '03', '04', '05']]);
    journal.close();
  });
});

describe('a file is refused', () => {
  const path = (): string => join(folder, 'other', 'journal.db');

  it('that a newer program wrote, and stays as it was', () => {
    const newer = openDatabase(path(), { schema: 'CREATE TABLE t (a TEXT) STRICT', version: 1 });
    newer.exec('PRAGMA user_version = 99');
    newer.close();
    expect(thrown(() => Journal.open(join(folder, 'other')))).toMatchObject({
      code: 'FILE_UNWRITABLE',
      details: { path: path() },
      // It is the live journal: nobody should make room by removing it.
      ownHint: expect.stringContaining('Do not remove it'),
    });
  });

  it('that is not a database, or is at the path of a folder', () => {
    const file = join(folder, 'file');
    writeFileSync(file, 'something else, longer than a header of SQLite, so that it is read at all '.repeat(20));
    expect(thrown(() => openDatabase(file, { schema: '', version: 1 })).code).toBe('FILE_DAMAGED');
    expect(thrown(() => Journal.open(file)).code).toBe('FILE_UNWRITABLE');
  });
});
