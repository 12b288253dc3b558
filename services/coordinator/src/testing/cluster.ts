/**
 * A cluster with the tables in it. Every in-process store starts from one: making it takes seconds, loading it a part of a
 * second. It is kept beside the installed packages, under a hash of everything that it was made of.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { PGlite } from '@electric-sql/pglite';

const require = createRequire(import.meta.url);
/** `<package>/dist/index.cjs`, and what lies beside all packages. */
const PACKAGE = dirname(dirname(require.resolve('@electric-sql/pglite')));
const CACHE = join(PACKAGE, '../../.cache/antipode');

/** With these statements run in it. They may be run by several processes at once: each takes what is whole. */
export async function clusterWith(statements: readonly string[]): Promise<Blob> {
  const version = readFileSync(join(PACKAGE, 'package.json'), 'utf8');
  const name = createHash('sha256')
    .update(JSON.stringify([version, SETTINGS, statements]))
    .digest('hex')
    .slice(0, 16);
  const path = join(CACHE, `cluster-${name}.tar`);
  try {
    return new Blob([readFileSync(path)]);
  } catch {
    const made = await make(statements);
    mkdirSync(CACHE, { recursive: true });
    const part = `${path}.${process.pid}`;
    writeFileSync(part, made);
    renameSync(part, path);
    return new Blob([made]);
  }
}

/** Small segments: a cluster of tests is read and unpacked as a whole. */
const SETTINGS = { initDbStartParams: ['--wal-segsize=1'] };

async function make(statements: readonly string[]): Promise<Buffer<ArrayBuffer>> {
  const database = await PGlite.create(SETTINGS);
  try {
    for (const statement of statements) await database.exec(statement);
    return Buffer.from(await (await database.dumpDataDir('none')).arrayBuffer());
  } finally {
    await database.close();
  }
}
