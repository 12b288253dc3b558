/** Identities of the partitions of this site, and own keys that were about to be made. */
import type { IdentityRecord } from '@antipode/hsm-core';
import { bytes, type Statements } from './statements.ts';

/** An identity that another one has replaced. */
export interface FormerIdentity extends IdentityRecord {
  readonly state: 'former' | 'destroyed';
  /** The newest domain key version of each group that was here when the identity was replaced. */
  readonly versions: Readonly<Record<string, number>>;
}

export class IdentityRecords {
  readonly #statements: Statements;

  constructor(statements: Statements) {
    this.#statements = statements;
  }

  of(partition: string): IdentityRecord | undefined {
    const row = this.#statements.get('SELECT serial, cka_id, public_half FROM identity WHERE partition = ?', partition);
    return row && { serial: String(row['serial']), ckaId: bytes(row['cka_id']), publicHalf: bytes(row['public_half']) };
  }

  all(): { partition: string; record: IdentityRecord }[] {
    return this.#statements.all('SELECT partition, serial, cka_id, public_half FROM identity').map((row) => ({
      partition: String(row['partition']),
      record: { serial: String(row['serial']), ckaId: bytes(row['cka_id']), publicHalf: bytes(row['public_half']) },
    }));
  }

  add(partition: string, { serial, ckaId, publicHalf }: IdentityRecord): void {
    this.#statements.transaction(() => {
      this.#statements.run('INSERT OR REPLACE INTO identity VALUES (?, ?, ?, ?)', partition, serial, ckaId, publicHalf);
      this.#statements.run('DELETE FROM own_key_intent WHERE serial = ? AND cka_id = ?', serial, ckaId);
    });
  }

  /** The identity that has been made and waits to be pinned everywhere. */
  next(partition: string): IdentityRecord | undefined {
    const row = this.#statements.get("SELECT * FROM moved_identity WHERE partition = ? AND state = 'next'", partition);
    return row && { serial: String(row['serial']), ckaId: bytes(row['cka_id']), publicHalf: bytes(row['public_half']) };
  }

  addNext(partition: string, { serial, ckaId, publicHalf }: IdentityRecord): void {
    this.#statements.run(
      "INSERT INTO moved_identity VALUES (?, ?, ?, ?, 'next', '{}')",
      partition,
      serial,
      ckaId,
      publicHalf,
    );
  }

  /** Identities that this partition has had before, whether still in the token or not. */
  former(partition: string): FormerIdentity[] {
    return this.#statements
      .all("SELECT * FROM moved_identity WHERE partition = ? AND state <> 'next'", partition)
      .map((row) => ({
        serial: String(row['serial']),
        ckaId: bytes(row['cka_id']),
        publicHalf: bytes(row['public_half']),
        state: String(row['state']) as FormerIdentity['state'],
        versions: JSON.parse(String(row['versions'])) as Record<string, number>,
      }));
  }

  /** CKA_IDs of the other identity keys of this partition, before and after the one in use. */
  otherIds(serial: string): Uint8Array[] {
    return this.#statements
      .all('SELECT cka_id FROM moved_identity WHERE serial = ?', serial)
      .map((row) => bytes(row['cka_id']));
  }

  /** The next identity takes the place of the one in use: at one moment there is one. */
  switchToNext(partition: string, versions: Readonly<Record<string, number>>): void {
    const [used, next] = [this.of(partition), this.next(partition)];
    if (used === undefined || next === undefined) return;
    this.#statements.transaction(() => {
      this.#statements.run(
        "INSERT INTO moved_identity VALUES (?, ?, ?, ?, 'former', ?)",
        partition,
        used.serial,
        used.ckaId,
        used.publicHalf,
        JSON.stringify(versions),
      );
      this.#statements.run("DELETE FROM moved_identity WHERE partition = ? AND state = 'next'", partition);
      this.#statements.run(
        'INSERT OR REPLACE INTO identity VALUES (?, ?, ?, ?)',
        partition,
        next.serial,
        next.ckaId,
        next.publicHalf,
      );
      this.#statements.run('DELETE FROM own_key_intent WHERE serial = ? AND cka_id = ?', next.serial, next.ckaId);
    });
  }

  endFormer(partition: string, { publicHalf }: IdentityRecord): void {
    this.#statements.run(
      "UPDATE moved_identity SET state = 'destroyed' WHERE partition = ? AND public_half = ?",
      partition,
      publicHalf,
    );
  }

  /** CKA_IDs under which an own key was about to be made, and of which there is no record: a crash lay between. */
  announced(serial: string): Uint8Array[] {
    return [
      ...this.#statements.all('SELECT cka_id FROM own_key_intent WHERE serial = ?', serial),
      // Keys that were or are being destroyed can be in the token all the same, if it was restored. They are ours, and
      // never captured.
      ...this.#statements.all('SELECT cka_id FROM moved_identity WHERE serial = ?', serial),
      ...this.#statements.all("SELECT cka_id FROM retired_domain_key WHERE serial = ? AND state = 'destroyed'", serial),
      ...this.#statements.all(
        `SELECT t.cka_id FROM trusted_key t JOIN retired_domain_key r USING (serial, grp, version)
         WHERE t.serial = ? AND t.cka_id IS NOT NULL AND r.state = 'destroyed'`,
        serial,
      ),
    ].map((row) => bytes(row['cka_id']));
  }

  announce(serial: string, ckaId: Uint8Array): void {
    this.#statements.run('INSERT INTO own_key_intent VALUES (?, ?)', serial, ckaId);
  }
}
