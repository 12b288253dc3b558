/** Domain keys in the partitions of this site: installed, delivered to the security officer, and destroyed. */
import type { DomainKeyRecord, TrustedKeyRecord } from '@antipode/hsm-core';
import { bytes, type Statements } from './statements.ts';

/**
 * - `begun`: about to be destroyed; the token may have it or not.
 * - `destroyed`: gone, and no longer in the records of keys.
 * - `kept`: the token did not let it go.
 * - `unproven`: the object under its id is not proved to be this key.
 */
export type RetirementState = 'begun' | 'destroyed' | 'kept' | 'unproven';

export interface RetiredDomainKey extends DomainKeyRecord {
  readonly state: RetirementState;
}

export class DomainKeyRecords {
  readonly #statements: Statements;

  constructor(statements: Statements) {
    this.#statements = statements;
  }

  of(serial: string): DomainKeyRecord[] {
    return this.#statements
      .all(
        `SELECT d.grp, d.version, d.cka_id, d.check_tag, t.cka_id AS trusted_id, t.check_tag AS trusted_tag
       FROM domain_key d LEFT JOIN trusted_key t ON t.serial = d.serial AND t.grp = d.grp AND t.version = d.version
       WHERE d.serial = ? ORDER BY d.grp, d.version`,
        serial,
      )
      .map((row) => ({
        group: String(row['grp']),
        version: Number(row['version']),
        ckaId: bytes(row['cka_id']),
        checkTag: bytes(row['check_tag']),
        ...(row['trusted_id'] === null
          ? {}
          : { trusted: { ckaId: bytes(row['trusted_id']), checkTag: bytes(row['trusted_tag']) } }),
      }));
  }

  /** With the trusted key that came with it, which waits for the security officer. */
  add(serial: string, { group, version, ckaId, checkTag }: DomainKeyRecord, trusted?: TrustedKeyRecord): void {
    this.#statements.transaction(() => {
      this.#statements.run('INSERT INTO domain_key VALUES (?, ?, ?, ?, ?)', serial, group, version, ckaId, checkTag);
      if (trusted !== undefined)
        this.#statements.run(
          'INSERT INTO trusted_key (serial, grp, version, sealed) VALUES (?, ?, ?, ?)',
          serial,
          group,
          version,
          trusted.sealed,
        );
      this.#statements.run('DELETE FROM own_key_intent WHERE serial = ? AND cka_id = ?', serial, ckaId);
    });
  }

  /** Trusted keys that the security officer has not brought into the token yet. */
  delivered(serial: string): TrustedKeyRecord[] {
    return this.#statements
      .all(
        'SELECT grp, version, sealed FROM trusted_key WHERE serial = ? AND sealed IS NOT NULL ORDER BY grp, version',
        serial,
      )
      .map((row) => ({ group: String(row['grp']), version: Number(row['version']), sealed: bytes(row['sealed']) }));
  }

  /** Records a trusted key that is in the token now, and forgets its delivery. */
  addTrusted(serial: string, { group, version, ckaId, checkTag }: DomainKeyRecord): void {
    this.#statements.transaction(() => {
      this.#statements.run(
        `INSERT INTO trusted_key (serial, grp, version, cka_id, check_tag) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (serial, grp, version) DO UPDATE
         SET sealed = NULL, cka_id = excluded.cka_id, check_tag = excluded.check_tag`,
        serial,
        group,
        version,
        ckaId,
        checkTag,
      );
      this.#statements.run('DELETE FROM own_key_intent WHERE serial = ? AND cka_id = ?', serial, ckaId);
    });
  }

  /** Every version that was to be destroyed, with what became of it. */
  retired(serial: string): RetiredDomainKey[] {
    return this.#statements
      .all('SELECT * FROM retired_domain_key WHERE serial = ? ORDER BY grp, version', serial)
      .map((row) => ({
        group: String(row['grp']),
        version: Number(row['version']),
        ckaId: bytes(row['cka_id']),
        checkTag: bytes(row['check_tag']),
        state: String(row['state']) as RetirementState,
      }));
  }

  /** Whether a version was ever installed here, destroyed or not. */
  hasHad(serial: string, group: string, version: number): boolean {
    return ['domain_key', 'retired_domain_key'].some(
      (table) =>
        this.#statements.get(
          `SELECT 1 FROM ${table} WHERE serial = ? AND grp = ? AND version = ?`,
          serial,
          group,
          version,
        ) !== undefined,
    );
  }

  /** Durable on return: only after it may the key be destroyed. */
  beginRetirement(serial: string, { group, version, ckaId, checkTag }: DomainKeyRecord): void {
    this.#statements.run(
      "INSERT INTO retired_domain_key VALUES (?, ?, ?, ?, ?, 'begun') ON CONFLICT (serial, grp, version) DO UPDATE SET state = 'begun'",
      serial,
      group,
      version,
      ckaId,
      checkTag,
    );
  }

  /** Ends a retirement and removes the record of a destroyed key, in one transaction. */
  endRetirement(
    serial: string,
    { group, version }: Pick<DomainKeyRecord, 'group' | 'version'>,
    state: RetirementState,
  ): void {
    this.#statements.transaction(() => {
      this.#statements.run(
        'UPDATE retired_domain_key SET state = ? WHERE serial = ? AND grp = ? AND version = ?',
        state,
        serial,
        group,
        version,
      );
      if (state !== 'destroyed') return;
      this.#statements.run(
        'DELETE FROM domain_key WHERE serial = ? AND grp = ? AND version = ?',
        serial,
        group,
        version,
      );
      // Nobody waits for the officer any more. Its id stays: what comes back with an older copy of the token is still ours.
      const ofVersion = 'serial = ? AND grp = ? AND version = ?';
      this.#statements.run(`UPDATE trusted_key SET sealed = NULL WHERE ${ofVersion}`, serial, group, version);
    });
  }
}
