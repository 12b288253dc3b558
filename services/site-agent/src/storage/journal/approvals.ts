/** Approvals that were used at this site, for ever, and the partitions that were enrolled by them. */
import type { Pin } from '../../peers/pins.ts';
import type { Statements } from './statements.ts';

/** The use of an approval. The same again is a repetition after a crash; anything else is a second use. */
export interface ApprovalUse {
  readonly nonce: string;
  readonly digest: string;
  readonly group: string;
  readonly action: string;
  readonly operation: string;
  /** The act within the operation, such as the promotion of one partition in one epoch. Empty where any act may follow. */
  readonly scope: string;
  readonly requestedBy: string;
  readonly approvedBy: readonly string[];
  readonly usedMs: number;
}

export type EnrolledPartition = Pick<Pin, 'site' | 'serial' | 'role' | 'identity'>;

export class ApprovalRecords {
  readonly #statements: Statements;

  constructor(statements: Statements) {
    this.#statements = statements;
  }

  use(nonce: string): ApprovalUse | undefined {
    const row = this.#statements.get('SELECT * FROM approval_use WHERE nonce = ?', nonce);
    return row && useFrom(row);
  }

  /** Durable on return, so before the action. With the partitions that it enrols, in one transaction. */
  record(use: ApprovalUse, enrolled: readonly EnrolledPartition[] = []): void {
    const { nonce, digest, group, action, operation, scope, requestedBy, approvedBy, usedMs } = use;
    this.#statements.transaction(() => {
      this.#statements.run(
        'INSERT INTO approval_use VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)',
        nonce,
        digest,
        group,
        action,
        operation,
        scope,
        requestedBy,
        approvedBy.join(' '),
        Math.round(usedMs),
      );
      this.#enrol(group, enrolled, digest);
    });
  }

  /** Newest first. */
  latest(limit: number): ApprovalUse[] {
    return this.#statements
      .all('SELECT * FROM approval_use ORDER BY used_ms DESC, nonce LIMIT ?', limit)
      .map((row) => useFrom(row));
  }

  isEnrolled(group: string, { site, serial, role, identity }: EnrolledPartition): boolean {
    const found = this.#statements.get(
      'SELECT 1 FROM enrolled WHERE grp = ? AND site = ? AND serial = ? AND role = ? AND identity = ?',
      group,
      site,
      serial,
      role,
      identity,
    );
    return found !== undefined;
  }

  /** A partition of this site, whatever its identity is by now: the site made both. */
  isOwnEnrolled(group: string, { site, serial, role }: Omit<EnrolledPartition, 'identity'>): boolean {
    const found = this.#statements.get(
      'SELECT 1 FROM enrolled WHERE grp = ? AND site = ? AND serial = ? AND role = ?',
      group,
      site,
      serial,
      role,
    );
    return found !== undefined;
  }

  /** The partition has left the group: if it comes back, it needs another approval. */
  dismiss(group: string, serial: string): void {
    this.#statements.run('DELETE FROM enrolled WHERE grp = ? AND serial = ?', group, serial);
  }

  /** Whether this site has guarded its actions in any run. */
  get hasBegun(): boolean {
    return this.#statements.get('SELECT 1 FROM approvals_begun') !== undefined;
  }

  /** Partitions that were trusted before stay trusted. All of them or none, once. */
  begin(known: ReadonlyMap<string, readonly EnrolledPartition[]>): void {
    this.#statements.transaction(() => {
      this.#statements.run('INSERT INTO approvals_begun VALUES (1)');
      for (const [group, partitions] of known) this.#enrol(group, partitions, '');
    });
  }

  #enrol(group: string, partitions: readonly EnrolledPartition[], digest: string): void {
    for (const { site, serial, role, identity } of partitions)
      this.#statements.run(
        'INSERT OR IGNORE INTO enrolled VALUES (?, ?, ?, ?, ?, ?)',
        group,
        site,
        serial,
        role,
        identity,
        digest,
      );
  }
}

const useFrom = (row: Record<string, unknown>): ApprovalUse => ({
  nonce: String(row['nonce']),
  digest: String(row['digest']),
  group: String(row['grp']),
  action: String(row['action']),
  operation: String(row['operation']),
  scope: String(row['scope']),
  requestedBy: String(row['requested_by']),
  approvedBy: String(row['approved_by']).split(' '),
  usedMs: Number(row['used_ms']),
});
