/** Migrations expand or contract: the previous release can still read and write the tables (docs/upgrading.md). */
import { MIGRATIONS, SCHEMA_OF_PREVIOUS_RELEASE, TABLES } from '@antipode/coordinator/testing';
import { describe, expect, it } from 'vitest';
import { breachesOf, tablesIn } from '../support/migration-rule.ts';
import { fileOfPreviousRelease, whyNoPreviousRelease } from '../support/previous-release.ts';
import { read } from './support/tree.ts';

const SCHEMA = 'services/coordinator/src/store/schema.ts';
const missing = whyNoPreviousRelease();
if (missing !== undefined) process.stderr.write(`part of migrations.test.ts is skipped: ${missing}\n`);

describe('the migrations of this release', () => {
  it('are read from an interface that has every table', () => {
    expect([...tablesIn(read(SCHEMA).source).keys()].sort()).toEqual([...TABLES].sort());
  });

  it.skipIf(missing !== undefined)('leave the tables so that the previous release can use them', () => {
    const previous = tablesIn(fileOfPreviousRelease(SCHEMA));
    expect(previous.size).toBeGreaterThan(20);
    const added = MIGRATIONS.slice(SCHEMA_OF_PREVIOUS_RELEASE);
    expect(added.flatMap((migration) => breachesOf(migration, previous))).toEqual([]);
  });

  it.skipIf(missing !== undefined)('begin with those of the previous release, none of them edited', () => {
    const before = literalsIn(fileOfPreviousRelease(SCHEMA));
    expect(before).toHaveLength(SCHEMA_OF_PREVIOUS_RELEASE);
    expect(literalsIn(read(SCHEMA).source).slice(0, SCHEMA_OF_PREVIOUS_RELEASE)).toEqual(before);
  });
});

const literalsIn = (source: string): string[] =>
  [...source.slice(source.indexOf('export const MIGRATIONS')).matchAll(/`([^`]*)`/g)].map(([, text]) => text!);

describe('a migration', () => {
  const previous = new Map([
    ['site', new Set(['name', 'address'])],
    ['intent', new Set(['id', 'state'])],
  ]);

  it.each([
    'ALTER TABLE site ADD COLUMN note text;',
    "ALTER TABLE site ADD COLUMN note text NOT NULL DEFAULT '', ADD COLUMN at_ms int8",
    'CREATE TABLE other (name text PRIMARY KEY, at numeric(4, 2) NOT NULL); CREATE UNIQUE INDEX o ON other (name)',
    'CREATE TABLE other (name text REFERENCES site ON DELETE CASCADE)',
    'CREATE INDEX site_by_address ON site (address)',
    'ALTER TABLE site DROP COLUMN note',
    'ALTER TABLE site RENAME COLUMN note TO remark',
    'ALTER TABLE site ALTER COLUMN address DROP NOT NULL',
    'DROP TABLE other',
    "INSERT INTO other SELECT 'x'",
    'CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM site; RETURN NULL; END $$',
  ])('may say: %s', (migration) => {
    expect(breachesOf(migration, previous)).toEqual([]);
  });

  it.each([
    'ALTER TABLE site DROP COLUMN address',
    'ALTER TABLE site ADD COLUMN note text, DROP COLUMN IF EXISTS address',
    'ALTER TABLE site RENAME COLUMN address TO place',
    'ALTER TABLE site RENAME address TO place',
    'ALTER TABLE site RENAME TO place',
    'ALTER TABLE site ALTER COLUMN address TYPE int8 USING 1',
    'ALTER TABLE site ALTER address SET NOT NULL',
    'ALTER TABLE site ADD COLUMN note text NOT NULL',
    'ALTER TABLE site ADD COLUMN note text UNIQUE',
    "ALTER TABLE site ADD CONSTRAINT short CHECK (address <> '')",
    'CREATE UNIQUE INDEX one_address ON site (address)',
    'CREATE TABLE other (name text REFERENCES site)',
    'CREATE TABLE other (name text, FOREIGN KEY (name) REFERENCES site (name))',
    'CREATE TRIGGER keep BEFORE DELETE ON site FOR EACH ROW EXECUTE FUNCTION f()',
    'CREATE RULE keep AS ON DELETE TO intent DO INSTEAD NOTHING',
    'DROP TABLE intent',
    'DROP TABLE IF EXISTS intent',
    'TRUNCATE intent',
    "UPDATE intent SET state = ''",
    "DELETE FROM site WHERE name = 'a'",
    "INSERT INTO site VALUES ('a', '')",
    'CREATE INDEX fine ON site (name); DROP TABLE site',
    'DROP INDEX fine',
    'LOCK TABLE site',
  ])('must not say: %s', (migration) => {
    expect(breachesOf(migration, previous)).toHaveLength(1);
  });
});
