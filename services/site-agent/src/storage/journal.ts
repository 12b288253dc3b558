/**
 * What this site must remember through any crash: identities, domain keys, the highest epoch of each group, seats, heads,
 * open apply intents. SQLite in WAL mode with synchronous=FULL: durable when a method returns (facts: control-plane, A1).
 */
import { join } from 'node:path';
import type { DatabaseSync, SQLOutputValue } from 'node:sqlite';
import type {
  ApplyIntent,
  ApplyJournal,
  DomainKeyRecord,
  IdentityRecord,
  KeyType,
  Loss,
  TrustedKeyRecord,
} from '@antipode/hsm-core';
import type { RoleName } from '@antipode/protocol';
import { type AntipodeError, type Clock, type Prng, systemPrng } from '@antipode/runtime';
import { IN_MEMORY, openDatabase, reaching, transaction, untilWritable, writeFault } from './database.ts';
import { COLLECTION, COLLECTION_UPGRADE, CollectionRecords } from './journal-collection.ts';
import { JOURNAL_HISTORY, type JournalAccount, JournalHistory, type JournalMark } from './journal-history.ts';

const SCHEMA_VERSION = 17;

/** Where the entry of an object stands that is in no generation of the group's line. */
const DIVERGENT =
  'CREATE TABLE divergent (grp TEXT, object_id TEXT, digest TEXT NOT NULL, PRIMARY KEY (grp, object_id)) STRICT';

/** Objects of the generation that was applied last which this token does not take, each with its reason. */
const REFUSED =
  'CREATE TABLE refused (grp TEXT, object_id TEXT, kind TEXT NOT NULL, code TEXT NOT NULL, return_value TEXT NOT NULL, PRIMARY KEY (grp, object_id)) STRICT';

/** Attributes of captured objects that no replica gets; names with blanks between them. */
const NOT_CARRIED =
  'CREATE TABLE not_carried (grp TEXT, object_id TEXT, kind TEXT NOT NULL, attributes TEXT NOT NULL, PRIMARY KEY (grp, object_id)) STRICT';

/** Uses that a key allows and that no proof here has tried, each with its reason. */
const UNTRIED =
  'CREATE TABLE untried (grp TEXT, object_id TEXT, use TEXT, reason TEXT NOT NULL, PRIMARY KEY (grp, object_id, use)) STRICT';

/** Digest of what a device wraps of an RSA key, by that of the sealed blob. */
const PRINT = 'CREATE TABLE print (device TEXT, blob TEXT, print TEXT NOT NULL, PRIMARY KEY (device, blob)) STRICT';

/** Objects that an apply began to make, as they were to be. */
const APPLY_INTENT =
  'CREATE TABLE apply_intent (grp TEXT, object_id TEXT, object_class TEXT NOT NULL, key_type TEXT, id BLOB NOT NULL, label BLOB NOT NULL, attributes_digest BLOB, PRIMARY KEY (grp, object_id, attributes_digest)) STRICT';

const APPLY_INTENT_3 =
  'CREATE TABLE apply_intent (grp TEXT, object_id TEXT, object_class TEXT NOT NULL, key_type TEXT, digest BLOB, PRIMARY KEY (grp, object_id, digest)) STRICT';

/** Intents of version 3 have no names, and digests of another kind: of what was cut short then, only what shows no names is found. */
const APPLY_INTENT_4 = `
  ALTER TABLE apply_intent RENAME COLUMN digest TO attributes_digest;
  ALTER TABLE apply_intent ADD COLUMN id BLOB NOT NULL DEFAULT x'';
  ALTER TABLE apply_intent ADD COLUMN label BLOB NOT NULL DEFAULT x''`;

/** CKA_IDs of own keys that were about to be made: without a record of the key, a crash lies between. */
const OWN_KEY_INTENT = 'CREATE TABLE own_key_intent (serial TEXT, cka_id BLOB, PRIMARY KEY (serial, cka_id)) STRICT';

/** What a capture would have lost, and what an operator has accepted of it. */
const DELETIONS = `
  CREATE TABLE held (grp TEXT, object_id TEXT, reason TEXT NOT NULL, PRIMARY KEY (grp, object_id)) STRICT;
  CREATE TABLE accepted (grp TEXT, object_id TEXT, PRIMARY KEY (grp, object_id)) STRICT;
  CREATE TABLE restored (grp TEXT PRIMARY KEY) STRICT`;

/** Up to version 11 deleted objects were counted here. */
const DELETIONS_5 = `${DELETIONS};
  CREATE TABLE kept (grp TEXT, object_id TEXT, kept_ms INTEGER NOT NULL, PRIMARY KEY (grp, object_id)) STRICT`;

/** Generations of what was set aside here, and how many objects of others bear names of the group's. */
const NAMES = `
  CREATE TABLE aside (grp TEXT, digest TEXT, PRIMARY KEY (grp, digest)) STRICT;
  CREATE TABLE namesake (grp TEXT PRIMARY KEY, objects INTEGER NOT NULL) STRICT`;

/** Deleted objects that were brought back by hand, until a capture has seen them. */
const RESTORED_OBJECT = 'CREATE TABLE restored_object (grp TEXT, object_id TEXT, PRIMARY KEY (grp, object_id)) STRICT';

/**
 * Domain keys that are being destroyed, or were. The record stays for ever: no version is ever installed twice, and one that
 * comes back with an older copy of its token is still ours.
 */
const RETIRED_DOMAIN_KEY =
  'CREATE TABLE retired_domain_key (serial TEXT, grp TEXT, version INTEGER, cka_id BLOB NOT NULL, check_tag BLOB NOT NULL, state TEXT NOT NULL, PRIMARY KEY (serial, grp, version)) STRICT';

/**
 * Trusted keys of domain key versions: as they were delivered, until the security officer has brought them into the token; then
 * where they lie, and how they are known.
 */
const TRUSTED_KEY =
  'CREATE TABLE trusted_key (serial TEXT, grp TEXT, version INTEGER, sealed BLOB, cka_id BLOB, check_tag BLOB, PRIMARY KEY (serial, grp, version)) STRICT';

/**
 * Identities of a partition beside the one in use: `next` waits to be pinned; `former` has been replaced and may be in its token;
 * `destroyed` is gone, and what it has signed is ours for ever. `versions`: the newest domain key of each group at the change.
 */
const MOVED_IDENTITY =
  'CREATE TABLE moved_identity (partition TEXT, serial TEXT NOT NULL, cka_id BLOB NOT NULL, public_half BLOB, state TEXT NOT NULL, versions TEXT NOT NULL, PRIMARY KEY (partition, public_half)) STRICT';

/** Objects that anybody can make and that were in a scratch partition before its open drill, by what was read of them. */
const STRANGER =
  'CREATE TABLE stranger (serial TEXT, read_digest TEXT, copies INTEGER NOT NULL, PRIMARY KEY (serial, read_digest)) STRICT';

const SCHEMA = `
  CREATE TABLE identity (partition TEXT PRIMARY KEY, serial TEXT NOT NULL, cka_id BLOB NOT NULL, public_half BLOB NOT NULL) STRICT;
  CREATE TABLE domain_key (serial TEXT, grp TEXT, version INTEGER, cka_id BLOB NOT NULL, check_tag BLOB NOT NULL, PRIMARY KEY (serial, grp, version)) STRICT;
  CREATE TABLE fence (grp TEXT PRIMARY KEY, epoch INTEGER NOT NULL, owner TEXT NOT NULL) STRICT;
  CREATE TABLE member (grp TEXT PRIMARY KEY, serial TEXT NOT NULL, role TEXT NOT NULL, divergent INTEGER NOT NULL DEFAULT 0, unaccounted INTEGER NOT NULL DEFAULT 0) STRICT;
  CREATE TABLE head (grp TEXT, kind TEXT, digest TEXT NOT NULL, PRIMARY KEY (grp, kind)) STRICT;
  ${APPLY_INTENT};
  ${OWN_KEY_INTENT};
  CREATE TABLE distribution (grp TEXT, version INTEGER, result TEXT NOT NULL, PRIMARY KEY (grp, version)) STRICT;
  CREATE TABLE open_drill (serial TEXT PRIMARY KEY, drill_id TEXT NOT NULL) STRICT;
  ${DIVERGENT};
  ${JOURNAL_HISTORY};
  ${DELETIONS};
  ${NAMES};
  ${REFUSED};
  ${RESTORED_OBJECT};
  ${NOT_CARRIED};
  ${PRINT};
  ${RETIRED_DOMAIN_KEY};
  ${COLLECTION};
  ${TRUSTED_KEY};
  ${MOVED_IDENTITY};
  ${STRANGER};
  ${UNTRIED};
`;

/** By the version that a file has, what brings it to the next one. */
const UPGRADES = {
  1: DIVERGENT,
  2: `DROP TABLE apply_intent; ${APPLY_INTENT_3}; ${OWN_KEY_INTENT}`,
  3: APPLY_INTENT_4,
  4: JOURNAL_HISTORY,
  5: DELETIONS_5,
  6: NAMES,
  7: REFUSED,
  8: RESTORED_OBJECT,
  9: NOT_CARRIED,
  10: PRINT,
  11: RETIRED_DOMAIN_KEY,
  12: COLLECTION_UPGRADE,
  13: TRUSTED_KEY,
  14: MOVED_IDENTITY,
  15: STRANGER,
  16: UNTRIED,
};

/**
 * `begun`: about to be destroyed, and the token may have it or not. `destroyed`: it is gone, and no record of a key any more.
 * `kept` and `unproven`: the token did not let it go, or what is under its id is not shown to be it.
 */
export type RetirementState = 'begun' | 'destroyed' | 'kept' | 'unproven';

export interface RetiredDomainKey extends DomainKeyRecord {
  readonly state: RetirementState;
}

/** An identity that another one has replaced. */
export interface FormerIdentity extends IdentityRecord {
  readonly state: 'former' | 'destroyed';
  /** By group, the newest domain key version that was here when it was replaced. */
  readonly versions: Readonly<Record<string, number>>;
}

/** A use that a key allows, and why nothing here could try it. */
export interface UntriedUse {
  readonly objectId: string;
  readonly use: string;
  readonly reason: string;
}

/** An object that is not restored at this member; `returnValue` is empty where it was not the token that refused. */
export interface RefusedHere {
  readonly objectId: string;
  readonly kind: string;
  readonly code: string;
  readonly returnValue: string;
}

/** A captured object, and what it has that no replica gets. */
export interface NotCarriedHere {
  readonly objectId: string;
  readonly kind: string;
  readonly attributes: readonly string[];
}

export type Role = RoleName;
/** captured here; restored here but not read back yet; restored and read back, so fit for promotion. */
export type HeadKind = 'captured' | 'staged' | 'applied';

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

/** An object that stays in the partition although no generation of the group's line names it. */
export interface DivergentObject {
  readonly objectId: string;
  /** A generation in the store that has its entry. */
  readonly digest: string;
}

export class Journal {
  readonly #path: string;
  readonly #database: DatabaseSync;
  #fault: AntipodeError | undefined;
  readonly #history: JournalHistory;
  /** What the collector remembers. */
  readonly collection: CollectionRecords;

  private constructor({ path, database, prng }: { path: string; database: DatabaseSync; prng: Prng }) {
    this.#path = path;
    this.#database = database;
    this.#history = new JournalHistory({ database, prng });
    this.collection = new CollectionRecords({
      database,
      path,
      write: (work) => this.#transaction(work),
    });
  }

  /** The journal in this folder; a new one where there is none. @throws FILE_UNWRITABLE, FILE_BUSY, FILE_DAMAGED */
  static open(folder: string, { prng = systemPrng }: { prng?: Prng } = {}): Journal {
    return Journal.#at(join(folder, 'journal.db'), prng);
  }

  /** One that nothing outlives, for simulations. */
  static inMemory({ prng }: { prng: Prng }): Journal {
    return Journal.#at(IN_MEMORY, prng);
  }

  static #at(path: string, prng: Prng): Journal {
    const database = openDatabase(path, { schema: SCHEMA, version: SCHEMA_VERSION, upgrades: UPGRADES });
    return new Journal({ path, database, prng });
  }

  // --- the journal itself ---

  /** Begins a run of the agent, so that whoever hears of it can tell this journal from an older copy. */
  beginRun(): void {
    this.#transaction(() => {});
  }

  get account(): JournalAccount {
    return this.#history.account;
  }

  /** How far it has come in the run that is under way; undefined before that has begun. */
  get mark(): JournalMark | undefined {
    return this.#history.mark;
  }

  /** Why this site does nothing in the group until an operator seats it again; undefined for nothing. */
  quarantine(group: string): string | undefined {
    const row = this.#get('SELECT reason FROM quarantine WHERE grp = ?', group);
    return row && String(row['reason']);
  }

  quarantined(): { group: string; reason: string }[] {
    return this.#all('SELECT grp, reason FROM quarantine ORDER BY grp').map((row) => ({
      group: String(row['grp']),
      reason: String(row['reason']),
    }));
  }

  setQuarantine(group: string, reason: string): void {
    this.#run('INSERT INTO quarantine VALUES (?, ?) ON CONFLICT (grp) DO NOTHING', group, reason);
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
    this.#transaction(() => {
      this.#raiseFence(group, fence);
      this.setSeat(group, serial, role);
      if (head !== undefined) this.setHead(group, head.kind, head.digest);
      this.#run('DELETE FROM quarantine WHERE grp = ?', group);
    });
  }

  // --- identities and domain keys ---

  identity(partition: string): IdentityRecord | undefined {
    const row = this.#get('SELECT serial, cka_id, public_half FROM identity WHERE partition = ?', partition);
    return row && { serial: String(row['serial']), ckaId: bytes(row['cka_id']), publicHalf: bytes(row['public_half']) };
  }

  identities(): { partition: string; record: IdentityRecord }[] {
    return this.#all('SELECT partition, serial, cka_id, public_half FROM identity').map((row) => ({
      partition: String(row['partition']),
      record: { serial: String(row['serial']), ckaId: bytes(row['cka_id']), publicHalf: bytes(row['public_half']) },
    }));
  }

  addIdentity(partition: string, { serial, ckaId, publicHalf }: IdentityRecord): void {
    this.#transaction(() => {
      this.#run('INSERT OR REPLACE INTO identity VALUES (?, ?, ?, ?)', partition, serial, ckaId, publicHalf);
      this.#run('DELETE FROM own_key_intent WHERE serial = ? AND cka_id = ?', serial, ckaId);
    });
  }

  /** One that has been made and waits to be pinned everywhere. */
  nextIdentity(partition: string): IdentityRecord | undefined {
    const row = this.#get("SELECT * FROM moved_identity WHERE partition = ? AND state = 'next'", partition);
    return row && { serial: String(row['serial']), ckaId: bytes(row['cka_id']), publicHalf: bytes(row['public_half']) };
  }

  addNextIdentity(partition: string, { serial, ckaId, publicHalf }: IdentityRecord): void {
    this.#run("INSERT INTO moved_identity VALUES (?, ?, ?, ?, 'next', '{}')", partition, serial, ckaId, publicHalf);
  }

  /** Those that this partition has had before, in the token or not. */
  formerIdentities(partition: string): FormerIdentity[] {
    return this.#all("SELECT * FROM moved_identity WHERE partition = ? AND state <> 'next'", partition).map((row) => ({
      serial: String(row['serial']),
      ckaId: bytes(row['cka_id']),
      publicHalf: bytes(row['public_half']),
      state: String(row['state']) as FormerIdentity['state'],
      versions: JSON.parse(String(row['versions'])) as Record<string, number>,
    }));
  }

  /** The next identity takes the place of the one in use: at one moment there is one. */
  switchIdentity(partition: string, versions: Readonly<Record<string, number>>): void {
    const [used, next] = [this.identity(partition), this.nextIdentity(partition)];
    if (used === undefined || next === undefined) return;
    this.#transaction(() => {
      this.#run(
        "INSERT INTO moved_identity VALUES (?, ?, ?, ?, 'former', ?)",
        partition,
        used.serial,
        used.ckaId,
        used.publicHalf,
        JSON.stringify(versions),
      );
      this.#run("DELETE FROM moved_identity WHERE partition = ? AND state = 'next'", partition);
      this.#run(
        'INSERT OR REPLACE INTO identity VALUES (?, ?, ?, ?)',
        partition,
        next.serial,
        next.ckaId,
        next.publicHalf,
      );
      this.#run('DELETE FROM own_key_intent WHERE serial = ? AND cka_id = ?', next.serial, next.ckaId);
    });
  }

  endFormerIdentity(partition: string, { publicHalf }: IdentityRecord): void {
    this.#run(
      "UPDATE moved_identity SET state = 'destroyed' WHERE partition = ? AND public_half = ?",
      partition,
      publicHalf,
    );
  }

  /** CKA_IDs under which an own key was about to be made, and of which there is no record: a crash lay between. */
  announcedKeys(serial: string): Uint8Array[] {
    return [
      ...this.#all('SELECT cka_id FROM own_key_intent WHERE serial = ?', serial),
      // What is destroyed, or was, and is there all the same, in a token that was restored say: ours, and never captured.
      ...this.#all('SELECT cka_id FROM moved_identity WHERE serial = ?', serial),
      ...this.#all("SELECT cka_id FROM retired_domain_key WHERE serial = ? AND state = 'destroyed'", serial),
      ...this.#all(
        `SELECT t.cka_id FROM trusted_key t JOIN retired_domain_key r USING (serial, grp, version)
         WHERE t.serial = ? AND t.cka_id IS NOT NULL AND r.state = 'destroyed'`,
        serial,
      ),
    ].map((row) => bytes(row['cka_id']));
  }

  announceKey(serial: string, ckaId: Uint8Array): void {
    this.#run('INSERT INTO own_key_intent VALUES (?, ?)', serial, ckaId);
  }

  domainKeys(serial: string): DomainKeyRecord[] {
    return this.#all(
      `SELECT d.grp, d.version, d.cka_id, d.check_tag, t.cka_id AS trusted_id, t.check_tag AS trusted_tag
       FROM domain_key d LEFT JOIN trusted_key t ON t.serial = d.serial AND t.grp = d.grp AND t.version = d.version
       WHERE d.serial = ? ORDER BY d.grp, d.version`,
      serial,
    ).map((row) => ({
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
  addDomainKey(serial: string, { group, version, ckaId, checkTag }: DomainKeyRecord, trusted?: TrustedKeyRecord): void {
    this.#transaction(() => {
      this.#run('INSERT INTO domain_key VALUES (?, ?, ?, ?, ?)', serial, group, version, ckaId, checkTag);
      if (trusted !== undefined)
        this.#run(
          'INSERT INTO trusted_key (serial, grp, version, sealed) VALUES (?, ?, ?, ?)',
          serial,
          group,
          version,
          trusted.sealed,
        );
      this.#run('DELETE FROM own_key_intent WHERE serial = ? AND cka_id = ?', serial, ckaId);
    });
  }

  /** Trusted keys that the security officer has not brought into the token yet. */
  deliveredKeys(serial: string): TrustedKeyRecord[] {
    return this.#all(
      'SELECT grp, version, sealed FROM trusted_key WHERE serial = ? AND sealed IS NOT NULL ORDER BY grp, version',
      serial,
    ).map((row) => ({ group: String(row['grp']), version: Number(row['version']), sealed: bytes(row['sealed']) }));
  }

  /** Of this delivery nothing is kept. */
  addTrustedKey(serial: string, { group, version, ckaId, checkTag }: DomainKeyRecord): void {
    this.#transaction(() => {
      this.#run(
        'UPDATE trusted_key SET sealed = NULL, cka_id = ?, check_tag = ? WHERE serial = ? AND grp = ? AND version = ?',
        ckaId,
        checkTag,
        serial,
        group,
        version,
      );
      this.#run('DELETE FROM own_key_intent WHERE serial = ? AND cka_id = ?', serial, ckaId);
    });
  }

  /** Every version that was to be destroyed, with what became of it. */
  retiredDomainKeys(serial: string): RetiredDomainKey[] {
    return this.#all('SELECT * FROM retired_domain_key WHERE serial = ? ORDER BY grp, version', serial).map((row) => ({
      group: String(row['grp']),
      version: Number(row['version']),
      ckaId: bytes(row['cka_id']),
      checkTag: bytes(row['check_tag']),
      state: String(row['state']) as RetirementState,
    }));
  }

  /** Whether a version was ever installed here, destroyed or not. */
  hasHadDomainKey(serial: string, group: string, version: number): boolean {
    return ['domain_key', 'retired_domain_key'].some(
      (table) =>
        this.#get(`SELECT 1 FROM ${table} WHERE serial = ? AND grp = ? AND version = ?`, serial, group, version) !==
        undefined,
    );
  }

  /** Durable on return: only after it may the key be destroyed. */
  beginRetirement(serial: string, { group, version, ckaId, checkTag }: DomainKeyRecord): void {
    this.#run(
      "INSERT INTO retired_domain_key VALUES (?, ?, ?, ?, ?, 'begun') ON CONFLICT (serial, grp, version) DO UPDATE SET state = 'begun'",
      serial,
      group,
      version,
      ckaId,
      checkTag,
    );
  }

  /** In one: with the key its record goes, or neither. */
  endRetirement(
    serial: string,
    { group, version }: Pick<DomainKeyRecord, 'group' | 'version'>,
    state: RetirementState,
  ): void {
    this.#transaction(() => {
      this.#run(
        'UPDATE retired_domain_key SET state = ? WHERE serial = ? AND grp = ? AND version = ?',
        state,
        serial,
        group,
        version,
      );
      if (state !== 'destroyed') return;
      this.#run('DELETE FROM domain_key WHERE serial = ? AND grp = ? AND version = ?', serial, group, version);
      // Nobody waits for the officer any more. Its id stays: what comes back with an older copy of the token is still ours.
      const ofVersion = 'serial = ? AND grp = ? AND version = ?';
      this.#run(`UPDATE trusted_key SET sealed = NULL WHERE ${ofVersion}`, serial, group, version);
    });
  }

  // --- fences and seats ---

  fence(group: string): PersistedFence | undefined {
    const row = this.#get('SELECT epoch, owner FROM fence WHERE grp = ?', group);
    return row && { epoch: BigInt(row['epoch'] as number), owner: String(row['owner']) };
  }

  /** Persists a higher epoch, and in the same transaction ends the tenure of an active seat here. */
  raiseFence(group: string, { epoch, owner }: PersistedFence): void {
    this.#transaction(() => this.#raiseFence(group, { epoch, owner }));
  }

  #raiseFence(group: string, { epoch, owner }: PersistedFence): void {
    this.#run(
      'INSERT INTO fence VALUES (?, ?, ?) ON CONFLICT (grp) DO UPDATE SET epoch = excluded.epoch, owner = excluded.owner',
      group,
      epoch,
      owner,
    );
    this.#run("UPDATE member SET role = 'fenced' WHERE grp = ? AND role = 'active'", group);
  }

  seat(group: string): Seat | undefined {
    const row = this.#get('SELECT * FROM member WHERE grp = ?', group);
    return row && seatFrom(row);
  }

  seats(): Seat[] {
    return this.#all('SELECT * FROM member ORDER BY grp').map(seatFrom);
  }

  setSeat(group: string, serial: string, role: Role): void {
    this.#run(
      'INSERT INTO member (grp, serial, role) VALUES (?, ?, ?) ON CONFLICT (grp) DO UPDATE SET serial = excluded.serial, role = excluded.role',
      group,
      serial,
      role,
    );
  }

  divergent(group: string): DivergentObject[] {
    return this.#all('SELECT object_id, digest FROM divergent WHERE grp = ? ORDER BY object_id', group).map((row) => ({
      objectId: String(row['object_id']),
      digest: String(row['digest']),
    }));
  }

  /** What stays in the partition and is in no generation of the line; the seat carries how many. */
  setUnexplained(
    group: string,
    { divergent, unaccounted }: { divergent: readonly DivergentObject[]; unaccounted: number },
  ): void {
    this.#transaction(() => {
      this.#run('DELETE FROM divergent WHERE grp = ?', group);
      for (const { objectId, digest } of divergent)
        this.#run('INSERT INTO divergent VALUES (?, ?, ?)', group, objectId, digest);
      this.#run('UPDATE member SET divergent = ?, unaccounted = ? WHERE grp = ?', divergent.length, unaccounted, group);
    });
  }

  /** What the newest apply could not restore here: exceptions of what this member acknowledges. */
  refused(group: string): RefusedHere[] {
    return this.#all('SELECT * FROM refused WHERE grp = ? ORDER BY object_id', group).map((row) => ({
      objectId: String(row['object_id']),
      kind: String(row['kind']),
      code: String(row['code']),
      returnValue: String(row['return_value']),
    }));
  }

  setRefused(group: string, refused: readonly RefusedHere[]): void {
    this.#transaction(() => {
      this.#run('DELETE FROM refused WHERE grp = ?', group);
      for (const { objectId, kind, code, returnValue } of refused)
        this.#run('INSERT INTO refused VALUES (?, ?, ?, ?, ?)', group, objectId, kind, code, returnValue);
    });
  }

  /** What the newest proofs here could not try. */
  untried(group: string): UntriedUse[] {
    return this.#all('SELECT * FROM untried WHERE grp = ? ORDER BY object_id, use', group).map((row) => ({
      objectId: String(row['object_id']),
      use: String(row['use']),
      reason: String(row['reason']),
    }));
  }

  setUntried(group: string, untried: readonly UntriedUse[]): void {
    this.#transaction(() => {
      this.#run('DELETE FROM untried WHERE grp = ?', group);
      for (const { objectId, use, reason } of untried)
        this.#run('INSERT INTO untried VALUES (?, ?, ?, ?)', group, objectId, use, reason);
    });
  }

  /** What the captures here have found that no replica gets. */
  notCarried(group: string): NotCarriedHere[] {
    return this.#all('SELECT * FROM not_carried WHERE grp = ? ORDER BY object_id', group).map((row) => ({
      objectId: String(row['object_id']),
      kind: String(row['kind']),
      attributes: String(row['attributes']).split(' '),
    }));
  }

  setNotCarried(group: string, objects: readonly NotCarriedHere[]): void {
    this.#transaction(() => {
      this.#run('DELETE FROM not_carried WHERE grp = ?', group);
      for (const { objectId, kind, attributes } of objects)
        this.#run('INSERT INTO not_carried VALUES (?, ?, ?, ?)', group, objectId, kind, attributes.join(' '));
    });
  }

  /** What this device wrapped of these keys when they were proved first (wrap-digests.ts). */
  wrapDigests(device: string, blobs: readonly string[]): Map<string, string> {
    const found = new Map<string, string>();
    for (const blob of blobs)
      for (const row of this.#all('SELECT print FROM print WHERE device = ? AND blob = ?', device, blob))
        found.set(blob, String(row['print']));
    return found;
  }

  /** The first that is recorded stays. */
  addWrapDigests(device: string, digests: readonly (readonly [blob: string, digest: string])[]): void {
    this.#transaction(() => {
      for (const [blob, digest] of digests)
        this.#run('INSERT OR IGNORE INTO print VALUES (?, ?, ?)', device, blob, digest);
    });
  }

  // --- generations ---

  head(group: string, kind: HeadKind): string | undefined {
    const row = this.#get('SELECT digest FROM head WHERE grp = ? AND kind = ?', group, kind);
    return row && String(row['digest']);
  }

  setHead(group: string, kind: HeadKind, digest: string): void {
    this.#run(
      'INSERT INTO head VALUES (?, ?, ?) ON CONFLICT (grp, kind) DO UPDATE SET digest = excluded.digest',
      group,
      kind,
      digest,
    );
  }

  dropHead(group: string, kind: HeadKind): void {
    this.#run('DELETE FROM head WHERE grp = ? AND kind = ?', group, kind);
  }

  /** Whether this partition was ever captured as the active one. */
  hasCaptured(group: string): boolean {
    if (this.head(group, 'captured') !== undefined) return true;
    return this.#get('SELECT 1 FROM had_captured WHERE grp = ?', group) !== undefined;
  }

  /** A head that a newer one has overtaken for good: what it stood for is remembered, the generation is not. */
  dropOvertaken(group: string, kind: HeadKind): void {
    this.#transaction(() => {
      const table = kind === 'captured' ? 'had_captured' : 'restored';
      this.#run(`INSERT OR IGNORE INTO ${table} VALUES (?)`, group);
      this.dropHead(group, kind);
    });
  }

  openIntents(group: string): ApplyIntent[] {
    return this.#all('SELECT * FROM apply_intent WHERE grp = ? ORDER BY object_id, attributes_digest', group).map(
      (row) => ({
        objectId: String(row['object_id']),
        objectClass: String(row['object_class']) as ApplyIntent['objectClass'],
        ...(row['key_type'] === null ? {} : { keyType: String(row['key_type']) as KeyType }),
        id: bytes(row['id']),
        label: bytes(row['label']),
        attributesDigest: bytes(row['attributes_digest']),
      }),
    );
  }

  beginIntents(group: string, intents: readonly ApplyIntent[]): void {
    this.#transaction(() => {
      const statement = this.#database.prepare(
        'INSERT OR IGNORE INTO apply_intent (grp, object_id, object_class, key_type, id, label, attributes_digest) VALUES (?, ?, ?, ?, ?, ?, ?)',
      );
      for (const { objectId, objectClass, keyType = null, id, label, attributesDigest } of intents)
        statement.run(group, objectId, objectClass, keyType, id, label, attributesDigest);
    });
  }

  /** As hsm-core needs it. */
  ofApply(group: string): ApplyJournal {
    return {
      openIntents: () => this.openIntents(group),
      begin: (intents) => this.beginIntents(group, intents),
      commit: (digest, objectIds) => this.stage(group, { digest, objectIds }),
    };
  }

  /** A generation is here and not read back yet; what was begun for these objects has ended. */
  stage(group: string, { digest, objectIds }: { digest: string; objectIds: readonly string[] }): void {
    this.#transaction(() => {
      this.setHead(group, 'staged', digest);
      this.#dropIntents(group, objectIds);
    });
  }

  /** Ends what was begun for these objects, and records no generation: they were restored by hand. */
  endIntents(group: string, objectIds: readonly string[]): void {
    this.#transaction(() => this.#dropIntents(group, objectIds));
  }

  /** In one statement: one for each of 100,000 objects would hold up the lease for a second. */
  #dropIntents(group: string, objectIds: readonly string[]): void {
    this.#database
      .prepare('DELETE FROM apply_intent WHERE grp = ? AND object_id IN (SELECT value FROM json_each(?))')
      .run(group, JSON.stringify(objectIds));
  }

  // --- deletions ---

  /** What the last capture would have lost, and was held for. */
  held(group: string): Loss[] {
    return this.#all('SELECT object_id, reason FROM held WHERE grp = ? ORDER BY object_id', group).map((row) => ({
      objectId: String(row['object_id']),
      reason: String(row['reason']) as Loss['reason'],
    }));
  }

  setHeld(group: string, losses: readonly Loss[]): void {
    this.#transaction(() => {
      this.#run('DELETE FROM held WHERE grp = ?', group);
      const statement = this.#database.prepare('INSERT INTO held VALUES (?, ?, ?)');
      for (const { objectId, reason } of losses) statement.run(group, objectId, reason);
    });
  }

  /** Objects of which an operator accepts that they are gone, or have another value. */
  accepted(group: string): ReadonlySet<string> {
    const rows = this.#all('SELECT object_id FROM accepted WHERE grp = ?', group);
    return new Set(rows.map((row) => String(row['object_id'])));
  }

  accept(group: string, objectIds: readonly string[]): void {
    this.#transaction(() => {
      const statement = this.#database.prepare('INSERT OR IGNORE INTO accepted VALUES (?, ?)');
      for (const objectId of objectIds) statement.run(group, objectId);
    });
  }

  hasRestored(group: string): boolean {
    return this.#get('SELECT 1 FROM restored WHERE grp = ?', group) !== undefined;
  }

  /** They are back by hand: what an operator has accepted of them counts no more. */
  setRestored(group: string, objectIds: readonly string[]): void {
    this.#transaction(() => {
      this.#run('INSERT OR IGNORE INTO restored VALUES (?)', group);
      const forget = this.#database.prepare('DELETE FROM accepted WHERE grp = ? AND object_id = ?');
      const remember = this.#database.prepare('INSERT OR IGNORE INTO restored_object VALUES (?, ?)');
      for (const objectId of objectIds) {
        forget.run(group, objectId);
        remember.run(group, objectId);
      }
    });
  }

  /** Brought back by hand since the last capture. */
  restored(group: string): ReadonlySet<string> {
    const rows = this.#all('SELECT object_id FROM restored_object WHERE grp = ?', group);
    return new Set(rows.map((row) => String(row['object_id'])));
  }

  /** A capture has gone on by these: what it did not need of them counts for no later one. */
  endDecisions(
    group: string,
    { accepted, restored }: { accepted: Iterable<string>; restored: Iterable<string> },
  ): void {
    this.#transaction(() => {
      const ofAccepted = this.#database.prepare('DELETE FROM accepted WHERE grp = ? AND object_id = ?');
      for (const objectId of accepted) ofAccepted.run(group, objectId);
      const ofRestored = this.#database.prepare('DELETE FROM restored_object WHERE grp = ? AND object_id = ?');
      for (const objectId of restored) ofRestored.run(group, objectId);
    });
  }

  /** Generations of this member alone, with what was set aside. */
  asides(group: string): string[] {
    return this.#all('SELECT digest FROM aside WHERE grp = ?', group).map((row) => String(row['digest']));
  }

  addAside(group: string, digest: string): void {
    this.#run('INSERT OR IGNORE INTO aside VALUES (?, ?)', group, digest);
  }

  /** How many objects of others bear names of the generation's objects here. */
  namesakes(group: string): number {
    return Number(this.#get('SELECT objects FROM namesake WHERE grp = ?', group)?.['objects'] ?? 0);
  }

  setNamesakes(group: string, objects: number): void {
    if (objects === this.namesakes(group)) return;
    this.#run(
      'INSERT INTO namesake VALUES (?, ?) ON CONFLICT (grp) DO UPDATE SET objects = excluded.objects',
      group,
      objects,
    );
  }

  // --- domain key distributions and drills ---

  distribution(group: string, version: number): string | undefined {
    const row = this.#get('SELECT result FROM distribution WHERE grp = ? AND version = ?', group, version);
    return row && String(row['result']);
  }

  setDistribution(group: string, version: number, result: string): void {
    this.#run(
      'INSERT INTO distribution VALUES (?, ?, ?) ON CONFLICT (grp, version) DO UPDATE SET result = excluded.result',
      group,
      version,
      result,
    );
  }

  openDrill(serial: string): string | undefined {
    const row = this.#get('SELECT drill_id FROM open_drill WHERE serial = ?', serial);
    return row && String(row['drill_id']);
  }

  /** `strangers` were there before: whatever becomes of the drill, they are not its own. */
  beginDrill(serial: string, drillId: string, strangers: ReadonlyMap<string, number> = new Map()): void {
    this.#transaction(() => {
      this.#run('DELETE FROM stranger WHERE serial = ?', serial);
      for (const [readDigest, copies] of strangers)
        this.#run('INSERT INTO stranger VALUES (?, ?, ?)', serial, readDigest, copies);
      this.#run(
        'INSERT INTO open_drill VALUES (?, ?) ON CONFLICT (serial) DO UPDATE SET drill_id = excluded.drill_id',
        serial,
        drillId,
      );
    });
  }

  strangers(serial: string): ReadonlyMap<string, number> {
    const rows = this.#all('SELECT read_digest, copies FROM stranger WHERE serial = ?', serial);
    return new Map(rows.map((row) => [String(row['read_digest']), Number(row['copies'])]));
  }

  endDrill(serial: string): void {
    this.#run('DELETE FROM open_drill WHERE serial = ?', serial);
  }

  // --- whether it can be written to ---

  /** Why it could not be written to when it was last tried. */
  get fault(): AntipodeError | undefined {
    return this.#fault;
  }

  /** Tries it, and remembers the outcome for {@link fault}. */
  check(): AntipodeError | undefined {
    this.#fault = writeFault(this.#database);
    return this.#fault;
  }

  /** An order waits here before its writes, which themselves wait for nobody. @throws FILE_BUSY, FILE_UNWRITABLE */
  untilWritable(clock: Clock, signal?: AbortSignal): Promise<void> {
    return untilWritable(this.#database, { clock, signal });
  }

  close(): void {
    this.#database.close();
  }

  /** Every write counts, in its own transaction: so an older copy of this file is known for what it is. */
  #transaction(work: () => void): void {
    transaction(this.#database, () => {
      work();
      this.#history.count();
    });
  }

  #run(sql: string, ...values: (string | number | bigint | Uint8Array | null)[]): void {
    const run = (): void => void reaching(this.#path, () => this.#database.prepare(sql).run(...values));
    if (this.#database.isTransaction) run();
    else this.#transaction(run);
  }

  #get(sql: string, ...values: (string | number)[]): Record<string, SQLOutputValue> | undefined {
    return reaching(this.#path, () => this.#database.prepare(sql).get(...values));
  }

  #all(sql: string, ...values: (string | number)[]): Record<string, SQLOutputValue>[] {
    return reaching(this.#path, () => this.#database.prepare(sql).all(...values));
  }
}

const bytes = (value: SQLOutputValue | undefined): Uint8Array => new Uint8Array(value as Uint8Array);

const seatFrom = (row: Record<string, SQLOutputValue>): Seat => ({
  group: String(row['grp']),
  serial: String(row['serial']),
  role: String(row['role']) as Role,
  divergent: Number(row['divergent']),
  unaccounted: Number(row['unaccounted']),
});
