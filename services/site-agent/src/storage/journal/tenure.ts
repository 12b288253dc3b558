/** The highest epoch of each group, the seats of this site, and the groups in which it is in quarantine (I1, I2). */

import type { SQLOutputValue } from 'node:sqlite';
import type { RoleName } from '@antipode/protocol';
import type { HeadKind, HeadRecords } from './heads.ts';
import { LINE_TABLES, type PartitionOf } from './line.ts';
import type { Statements } from './statements.ts';

export type Role = RoleName;

export interface PersistedFence {
  readonly epoch: bigint;
  readonly owner: string;
}

export interface Seat {
  readonly group: string;
  readonly serial: string;
  readonly role: Role;
  readonly divergent: number;
  readonly unaccounted: number;
}

export type PersistedEpoch = Pick<PersistedFence, 'epoch'> & { readonly group: string };

export class TenureRecords {
  readonly #watchers = new Set<(persisted: PersistedEpoch) => void>();
  readonly #statements: Statements;
  readonly #heads: HeadRecords;

  constructor({ statements, heads }: { statements: Statements; heads: HeadRecords }) {
    this.#statements = statements;
    this.#heads = heads;
  }

  fence(group: string): PersistedFence | undefined {
    const row = this.#statements.get('SELECT epoch, owner FROM fence WHERE grp = ?', group);
    return row && { epoch: BigInt(row['epoch'] as number), owner: String(row['owner']) };
  }

  /** The highest epoch of each group. */
  epochs(): PersistedEpoch[] {
    return this.#statements
      .all('SELECT grp, epoch FROM fence ORDER BY grp')
      .map((row) => ({ group: String(row['grp']), epoch: BigInt(row['epoch'] as number) }));
  }

  /** Tells `watcher` of each epoch as soon as it is durable, whatever has persisted it. Returns how to end that. */
  watch(watcher: (persisted: PersistedEpoch) => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** Epochs of groups in which this site has no seat: what it has voted for as a witness, or knows from a former seat. */
  witnessed(): ({ group: string } & PersistedFence)[] {
    return this.#statements
      .all('SELECT grp, epoch, owner FROM fence WHERE grp NOT IN (SELECT grp FROM member) ORDER BY grp')
      .map((row) => ({
        group: String(row['grp']),
        epoch: BigInt(row['epoch'] as number),
        owner: String(row['owner']),
      }));
  }

  /** An operator has looked: the quarantine of a witness ends, under an epoch that is persisted already. */
  endQuarantine(group: string): void {
    this.#statements.run('DELETE FROM quarantine WHERE grp = ?', group);
  }

  /** Persists a higher epoch, and in the same transaction ends the tenure of an active seat here. */
  raise(group: string, { epoch, owner }: PersistedFence): void {
    this.#raising(group, { epoch, owner }, () => {});
  }

  #raising(group: string, fence: PersistedFence, more: () => void): void {
    this.#statements.transaction(() => {
      this.#raise(group, fence);
      more();
    });
    for (const watcher of this.#watchers) watcher({ group, epoch: fence.epoch });
  }

  #raise(group: string, { epoch, owner }: PersistedFence): void {
    this.#statements.run(
      'INSERT INTO fence VALUES (?, ?, ?) ON CONFLICT (grp) DO UPDATE SET epoch = excluded.epoch, owner = excluded.owner',
      group,
      epoch,
      owner,
    );
    this.#statements.run("UPDATE member SET role = 'fenced' WHERE grp = ? AND role = 'active'", group);
  }

  seat(group: string): Seat | undefined {
    const row = this.#statements.get('SELECT * FROM member WHERE grp = ?', group);
    return row && seatFrom(row);
  }

  seats(): Seat[] {
    return this.#statements.all('SELECT * FROM member ORDER BY grp').map(seatFrom);
  }

  /** A partition that takes the place of another one begins with its own past. The other one has left the group. */
  setSeat(group: string, serial: string, role: Role): void {
    const work = (): void => this.#setSeat({ group, serial }, role);
    this.#statements.transaction(work);
  }

  #setSeat({ group, serial }: PartitionOf, role: Role): void {
    const before = this.seat(group);
    if (before?.serial === serial) {
      this.#statements.run('UPDATE member SET role = ? WHERE grp = ?', role, group);
      return;
    }
    if (before !== undefined) this.#leave(before);
    this.#statements.run('INSERT INTO member (grp, serial, role) VALUES (?, ?, ?)', group, serial, role);
    // Objects in the partition are the group's now, even if a drill has left some.
    this.#statements.run('DELETE FROM open_drill WHERE serial = ?', serial);
  }

  /** Decisions of operators were about the applications of that tenure. */
  #leave({ group, serial }: PartitionOf): void {
    this.#statements.run('INSERT OR IGNORE INTO left_seat VALUES (?, ?)', group, serial);
    for (const table of ['member', 'held', 'accepted'])
      this.#statements.run(`DELETE FROM ${table} WHERE grp = ? AND serial = ?`, group, serial);
  }

  /** Why this site does nothing in the group until an operator seats it again; undefined for nothing. */
  quarantine(group: string): string | undefined {
    const row = this.#statements.get('SELECT reason FROM quarantine WHERE grp = ?', group);
    return row && String(row['reason']);
  }

  quarantined(): { group: string; reason: string }[] {
    return this.#statements.all('SELECT grp, reason FROM quarantine ORDER BY grp').map((row) => ({
      group: String(row['grp']),
      reason: String(row['reason']),
    }));
  }

  setQuarantine(group: string, reason: string): void {
    this.#statements.run('INSERT INTO quarantine VALUES (?, ?) ON CONFLICT (grp) DO NOTHING', group, reason);
  }

  /**
   * This site is not a member of the group any more. Its epoch stays: no order of an earlier tenure is ever taken. What
   * describes the partition stays too, for the day on which it is a member again.
   */
  release(group: string, fence: PersistedFence, { deleted }: { deleted: boolean }): void {
    this.#raising(group, fence, () => {
      const seat = this.seat(group);
      if (seat !== undefined) this.#leave(seat);
      this.#statements.run('DELETE FROM quarantine WHERE grp = ?', group);
      if (deleted) this.#forgetLine(group);
    });
  }

  /** The first tenure of a group. The records of a former group of its name describe nothing in this one. */
  found(group: string): void {
    this.#statements.transaction(() => this.#forgetLine(group));
  }

  /** The token of the partition may be another one under the same serial number: all records of its objects are old. */
  beginAnew(serial: string): void {
    const tables = ['member', ...LINE_TABLES].map((table) => `SELECT grp, serial FROM ${table}`).join(' UNION ');
    this.#statements.run(
      `INSERT OR IGNORE INTO left_seat SELECT grp, serial FROM (${tables}) WHERE serial = ?`,
      serial,
    );
  }

  /** The objects in the partition belong to drills now. */
  forgetPartition(serial: string): void {
    this.#statements.transaction(() => {
      for (const table of [...LINE_TABLES, 'left_seat', 'kept_divergent', 'adopted'])
        this.#statements.run(`DELETE FROM ${table} WHERE serial = ?`, serial);
    });
  }

  #forgetLine(group: string): void {
    for (const table of [...LINE_TABLES, 'left_seat', 'kept_divergent', 'adopted', 'filter'])
      this.#statements.run(`DELETE FROM ${table} WHERE grp = ?`, group);
  }

  /** A seat as an operator wants it, under a tenure of its own, which also ends a quarantine: all of it or nothing. */
  reseat({
    group,
    fence,
    serial,
    role,
    head,
  }: {
    group: string;
    fence: PersistedFence;
    serial: string;
    role: Role;
    head?: { kind: HeadKind; digest: string } | undefined;
  }): void {
    this.#raising(group, fence, () => {
      this.#setSeat({ group, serial }, role);
      if (head !== undefined) this.#heads.set({ group, serial }, head.kind, head.digest);
      this.#statements.run('DELETE FROM quarantine WHERE grp = ?', group);
    });
  }
}

const seatFrom = (row: Record<string, SQLOutputValue>): Seat => ({
  group: String(row['grp']),
  serial: String(row['serial']),
  role: String(row['role']) as Role,
  divergent: Number(row['divergent']),
  unaccounted: Number(row['unaccounted']),
});
