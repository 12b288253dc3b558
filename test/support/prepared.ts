/**
 * The start of every system: a cluster of PostgreSQL, and tokens with their own keys in them. Making them takes two
 * seconds of processor time for each system, and they may be the same for all. So the first system of a run of
 * `npm test` makes them, and all others begin with copies. Where nobody names a folder for them, each makes its own.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { deserialize, serialize } from 'node:v8';
import { EmbeddedPostgres } from '@antipode/coordinator/testing';
import type { KnownIdentity } from '@antipode/demo/town';
import type { IdentityRecord } from '@antipode/hsm-core';
import { seededPrng, silentLog, systemClock } from '@antipode/runtime';

/** Made and removed by vitest.config.ts. */
const HOME = process.env['ANTIPODE_PREPARED'];

const place = (home: string, parts: readonly unknown[]): string =>
  join(home, createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 32));

/** Several processes may keep the same thing at one moment: each makes its own, and the first one stays. */
function keep(parts: readonly unknown[], fill: (folder: string) => void): void {
  if (HOME === undefined) return;
  const kept = place(HOME, parts);
  if (existsSync(kept)) return;
  const folder = mkdtempSync(join(HOME, 'part-'));
  fill(folder);
  try {
    renameSync(folder, kept);
  } catch {
    rmSync(folder, { recursive: true });
  }
}

function kept(parts: readonly unknown[]): string | undefined {
  const path = HOME === undefined ? undefined : place(HOME, parts);
  return path !== undefined && existsSync(path) ? path : undefined;
}

/** With owners and modes: the cluster is another user's where we are root. */
function copy(from: string, to: string): void {
  rmSync(to, { recursive: true, force: true });
  mkdirSync(dirname(to), { recursive: true });
  execFileSync('cp', ['-a', from, to]);
}

interface PreparedIdentity {
  readonly record: IdentityRecord;
  readonly known: KnownIdentity;
}

/** The token of a partition, with the keys that the same partition of an earlier system has made, if there was one. */
export class PreparedPartition {
  readonly #parts: readonly unknown[];
  readonly #path: string | undefined;

  /** @param parts everything in which partitions differ: no two of one system may be the same */
  constructor(...parts: readonly unknown[]) {
    this.#parts = parts;
    this.#path = kept(parts);
  }

  /** Puts the token where SoftHSM looks for it. Undefined where one must be made. */
  get fill(): ((tokens: string) => void) | undefined {
    const path = this.#path;
    return path === undefined ? undefined : (tokens) => copy(join(path, 'tokens'), tokens);
  }

  /** The record for the journal of its site, and the part that other sites must know. */
  get identity(): PreparedIdentity | undefined {
    const path = this.#path;
    return path === undefined ? undefined : (deserialize(readFileSync(join(path, 'identity'))) as PreparedIdentity);
  }

  /** For the next system: nobody is at work in the token. */
  keep(tokens: string, identity: PreparedIdentity): void {
    keep(this.#parts, (folder) => {
      copy(tokens, join(folder, 'tokens'));
      writeFileSync(join(folder, 'identity'), serialize(identity));
    });
  }
}

/** Into a data folder in which no server has run yet. */
export async function prepareCluster(dataFolder: string): Promise<void> {
  if (HOME === undefined) return;
  const parts = ['cluster'];
  if (kept(parts) === undefined) {
    const made = mkdtempSync(join(HOME, 'server-'));
    chmodSync(made, 0o711);
    const server = new EmbeddedPostgres({
      dataFolder: made,
      clock: systemClock,
      prng: seededPrng('cluster'),
      log: silentLog,
    });
    await server.start();
    await server.close();
    keep(parts, (folder) => renameSync(join(made, 'postgres'), join(folder, 'postgres')));
    rmSync(made, { recursive: true });
  }
  copy(join(kept(parts)!, 'postgres'), join(dataFolder, 'postgres'));
}
