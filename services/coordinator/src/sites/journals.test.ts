import { type DescribeResponse, DescribeResponseSchema } from '@antipode/protocol';
import { create } from '@bufbuild/protobuf';
import { beforeEach, describe, expect, it } from 'vitest';
import { type JournalMark, readJournalMarks } from '../store/tables/sites/journals.ts';
import { testDatabase } from '../testing/database.ts';
import { groupOf, SPEC } from '../testing/group.ts';
import { FIRST_EPOCH } from '../testing/leader.ts';
import { JournalBook } from './journals.ts';

const GROUPS = [groupOf(SPEC)];
const database = testDatabase();

type Run = [token: string, writes: number];
const state = (id: string, runs: Run[], quarantined: string[] = []): DescribeResponse =>
  create(DescribeResponseSchema, {
    site: 'a',
    journal: {
      id,
      runs: runs.map(([token, writes]) => ({ token, writes: BigInt(writes) })),
      quarantined: quarantined.map((group) => ({ group, reason: 'told' })),
    },
  });

let book: JournalBook;
const hear = (...said: Parameters<typeof state>): string[] =>
  book.hear(state(...said), GROUPS).added.map(({ reason }) => reason);
/** The marks on record. */
const marks = (): Promise<JournalMark[]> => database.store.query(readJournalMarks);
const record = (): Promise<() => void> => database.store.write(FIRST_EPOCH, (trx) => book.recordIn(trx));
beforeEach(() => {
  book = new JournalBook(database);
});

describe('a journal', () => {
  it('that goes on is believed, through restarts that nobody heard of', () => {
    expect(hear('j', [['r1', 1]])).toEqual([]);
    expect(hear('j', [['r1', 5]])).toEqual([]);
    expect(
      hear('j', [
        ['r1', 7],
        ['r2', 1],
        ['r3', 2],
      ]),
    ).toEqual([]);
  });

  it.each<[string, string, Run[], RegExp]>([
    ['is another one', 'k', [['r9', 1]], /lost or replaced/],
    [
      'does not know the last run',
      'j',
      [
        ['r1', 3],
        ['r9', 1],
      ],
      /older copy/,
    ],
    [
      'has fewer writes in the last run',
      'j',
      [
        ['r1', 3],
        ['r2', 4],
        ['r9', 1],
      ],
      /older copy/,
    ],
  ])('that %s puts its site into quarantine', (_how, id, runs, reason) => {
    hear('j', [['r1', 3]]);
    hear('j', [
      ['r1', 3],
      ['r2', 5],
    ]);
    expect(hear(id, runs)).toEqual([expect.stringMatching(reason)]);
    const { account } = book.hear(state(id, runs), GROUPS);
    expect(account.journal?.quarantined.map(({ group }) => group)).toEqual(['payments']);
  });

  it('is compared with the new one once the agent itself says that it is in quarantine', () => {
    hear('j', [['r1', 3]]);
    expect(hear('k', [['r9', 1]])).toHaveLength(1);
    expect(hear('k', [['r9', 2]], ['payments'])).toEqual([]);
    // The agent was seated again, and does not say so any more.
    expect(hear('k', [['r9', 3]])).toEqual([]);
    expect(hear('j', [['r1', 3]])).toHaveLength(1);
  });

  it('is taken as it comes once an operator reseats its site', () => {
    hear('j', [['r1', 3]]);
    expect(hear('k', [['r9', 1]])).toHaveLength(1);
    book.accept('a');
    expect(hear('k', [['r9', 2]])).toEqual([]);
    expect(hear('j', [['r1', 3]])).toHaveLength(1);
  });

  it('of an agent that does not report one is ignored', () => {
    hear('j', [['r1', 3]]);
    const silent = create(DescribeResponseSchema, { site: 'a' });
    expect(book.hear(silent, GROUPS)).toEqual({ account: silent, added: [] });
  });

  it('of a site without a seat is taken as it comes', () => {
    hear('j', [['r1', 3]]);
    expect(book.hear(state('k', [['r9', 1]]), []).added).toEqual([]);
  });
});

describe('what a site has answered', () => {
  const answer = (writes: number, run = 'r1', id = 'j'): void =>
    book.answered('a', { $typeName: 'antipode.v1.JournalMark', id, run, writes: BigInt(writes) });

  it('is in no older copy of its journal, even if no heartbeat came after it', () => {
    hear('j', [['r1', 3]]);
    answer(5);
    const copy: Run[] = [
      ['r1', 4],
      ['r9', 1],
    ];
    expect(hear('j', copy)).toEqual([expect.stringMatching(/has 4 writes of a run that had 5/)]);
    expect(
      hear('j', [
        ['r1', 5],
        ['r2', 1],
      ]),
    ).toEqual([]);
  });

  it('may be ahead of a heartbeat that was on its way, but heartbeats never go back', () => {
    hear('j', [['r1', 3]]);
    answer(9);
    expect(hear('j', [['r1', 4]])).toEqual([]);
    expect(hear('j', [['r1', 3]])).toHaveLength(1);
    answer(6);
    expect(
      hear('j', [
        ['r1', 8],
        ['r2', 1],
      ]),
    ).toHaveLength(1);
  });

  it('counts for the run that was heard, and is forgotten with it', () => {
    answer(9);
    hear('j', [['r1', 3]]);
    answer(9, 'r9');
    answer(9, 'r1', 'k');
    expect(
      hear('j', [
        ['r1', 3],
        ['r2', 1],
      ]),
    ).toEqual([]);
    answer(2, 'r2');
    expect(
      hear('j', [
        ['r1', 3],
        ['r2', 2],
        ['r3', 1],
      ]),
    ).toEqual([]);
    expect(
      hear('j', [
        ['r1', 3],
        ['r2', 2],
        ['r3', 1],
        ['r4', 1],
      ]),
    ).toEqual([]);
  });

  it('is on record with what rests on it, and is tried again where that was not', async () => {
    hear('j', [['r1', 3]]);
    answer(5);
    await record();
    expect(await marks()).toMatchObject([{ site: 'a', writes: 3n, answered: 5n }]);
    await database.store.empty();
    const isWritten = await record();
    isWritten();
    expect(await marks()).toMatchObject([{ site: 'a', answered: 5n }]);
    book = new JournalBook(database);
    await book.load();
    expect(
      hear('j', [
        ['r1', 4],
        ['r9', 1],
      ]),
    ).toHaveLength(1);
    await database.store.empty();
    await record();
    expect(await marks()).toEqual([]);
  });
});

describe('what was heard', () => {
  it('is written down with each pass, only where it has changed, and known to the next leader', async () => {
    hear('j', [['r1', 3]]);
    await book.flush(FIRST_EPOCH);
    expect(await marks()).toEqual([{ site: 'a', journal: 'j', run: 'r1', writes: 3n, answered: 0n }]);
    await database.store.empty();
    hear('j', [['r1', 3]]);
    await book.flush(FIRST_EPOCH);
    expect(await marks()).toEqual([]);
    hear('j', [['r1', 4]]);
    await book.flush(FIRST_EPOCH);
    book = new JournalBook(database);
    await book.load();
    expect(
      hear('j', [
        ['r1', 2],
        ['r2', 1],
      ]),
    ).toHaveLength(1);
  });
});
