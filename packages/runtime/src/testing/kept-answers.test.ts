import { DatabaseSync } from 'node:sqlite';
import { beforeEach, describe, expect, it } from 'vitest';
import { type KeptAnswers, TableChanges, useOf } from './kept-answers.ts';

describe('what a statement does', () => {
  it.each([
    ['SELECT * FROM one, two WHERE a = ?', 'reads'],
    ['  select "one".* from "one" inner join "two" on true', 'reads'],
    ['SELECT total_changes() AS count', 'anything'],
    ['SELECT last_insert_rowid()', 'anything'],
    ["SELECT datetime('now')", 'anything'],
    ['WITH gone AS (DELETE FROM one RETURNING *) SELECT * FROM gone', 'anything'],
    ['CREATE TABLE three (a)', 'anything'],
    ['ROLLBACK', 'anything'],
    ['BEGIN IMMEDIATE; DELETE FROM one; COMMIT', 'anything'],
    ['BEGIN IMMEDIATE', 'nothing'],
    ['COMMIT', 'nothing'],
    ['PRAGMA busy_timeout = 0', 'nothing'],
    ['BEGIN IMMEDIATE; PRAGMA user_version = 2; COMMIT', 'nothing'],
  ])('%s', (text, kind) => {
    expect(useOf(text).kind).toBe(kind);
  });

  it.each([
    'INSERT INTO one VALUES (1)',
    'insert into "one" ("a") select "a" from "two"',
    'INSERT OR IGNORE INTO one VALUES (1)',
    'REPLACE INTO One VALUES (1)',
    'UPDATE one SET a = 1',
    'delete from "one" where "a" = 1',
  ])('%s writes to one table', (text) => {
    expect(useOf(text)).toEqual({ kind: 'writes', table: 'one' });
  });
});

describe('an answer', () => {
  let database: DatabaseSync;
  let changes: TableChanges;
  let asked: number;
  let kept: KeptAnswers;

  beforeEach(() => {
    database = new DatabaseSync(':memory:');
    database.exec('CREATE TABLE one (a); CREATE TABLE two (a); INSERT INTO one VALUES (1)');
    changes = new TableChanges();
    asked = 0;
    kept = changes.answersTo(useOf('SELECT * FROM one WHERE a >= ?') as never);
  });

  const answer = (...values: (string | number | Uint8Array)[]): number =>
    kept.of(values, () => {
      asked += 1;
      return database.prepare('SELECT * FROM one WHERE a >= ?').all(...values).length;
    });
  const write = (text: string): void => {
    changes.note(useOf(text));
    database.exec(text);
  };

  it('is given again until somebody writes to its table', () => {
    expect([answer(0), answer(0)]).toEqual([1, 1]);
    write('INSERT INTO two VALUES (1)');
    expect([answer(0), asked]).toEqual([1, 1]);
    write('INSERT INTO one VALUES (2)');
    expect([answer(0), asked]).toEqual([2, 2]);
  });

  it('is not given again after a rollback', () => {
    write('BEGIN');
    write('INSERT INTO one VALUES (2)');
    expect(answer(0)).toBe(2);
    write('ROLLBACK');
    expect(answer(0)).toBe(1);
  });

  it('is for the values that were given, and for no others', () => {
    const values = [0, '0', 1, 2, new Uint8Array([1]), new Uint8Array([1, 2])];
    for (const value of values) answer(value);
    answer(new Uint8Array([1, 2]));
    expect(asked).toBe(values.length);
  });

  it('can be that there is none', () => {
    const none = (): undefined => {
      asked += 1;
      return undefined;
    };
    expect([kept.of([], none), kept.of([], none), asked]).toEqual([undefined, undefined, 1]);
  });
});
