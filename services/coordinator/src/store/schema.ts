/** The tables as kysely sees them. Epochs and numbers are BigInt, times milliseconds of the timeline (timeline.ts). */
import type { Generated } from 'kysely';

/** JSON, as text: compared and read as a whole, never queried into. */
type Json = string;

export interface Schema {
  leader_lease: { id: number; epoch: bigint; seq: bigint; holder: string };
  lease_length: { id: number; lease_ms: bigint };
  /** The newest epoch of each group that each hook has accepted. */
  hook_accepted: { hook: string; grp: string; epoch: bigint };
  /** Notices for operators, with when each began and ended. */
  notice: {
    id: string;
    kind: string;
    grp: string;
    site: string;
    text: string;
    since_ms: bigint;
    raised_ms: bigint | null;
    absent_ms: bigint | null;
    resolved_ms: bigint | null;
  };
  /** The message under way to each receiver; empty for none. */
  notice_receiver: { name: string; since_ms: bigint; batch: Json };
  /** The last state of each notice that each receiver has accepted. */
  notice_told: { receiver: string; notice: string; state: string };
  site: { name: string; address: string; version: string; partitions: Json };
  replication_group: {
    name: string;
    spec: Json;
    domain_key_version: number;
    highest_version: number;
    highest_number: bigint;
    revision: number;
    rotate_above: number;
    first_epoch: bigint;
    created_ms: bigint;
    paused_ms: bigint | null;
    paused_by: string;
    pause_reason: string;
    resumed_ms: bigint | null;
  };
  member: {
    grp: string;
    site: string;
    serial: string;
    position: number;
    role: string;
    divergent: number;
    unaccounted: number;
  };
  epoch: {
    grp: string;
    epoch: bigint;
    owner: string;
    reason: string;
    issued_ms: bigint;
    is_active: boolean;
    recovery_time_ms: bigint | null;
    base_epoch: bigint | null;
    base_number: bigint | null;
    /** The sites that may vouch for its owner, as a JSON list; null before any may. */
    vouchers: string | null;
  };
  generation: {
    grp: string;
    epoch: bigint;
    number: bigint;
    manifest_digest: string;
    content_digest: string;
    object_count: number;
    key_count: number | null;
    domain_key_version: number;
    uncaptured: Json;
    recovery_point_ms: bigint;
    trace: Json;
  };
  acknowledgement: { grp: string; epoch: bigint; number: bigint; site: string; acknowledged_ms: bigint };
  intent: {
    id: string;
    kind: string;
    grp: string;
    site: string;
    state: Json;
    phase: string;
    status: string;
    attempts: number;
    performing: number;
    next_attempt_ms: bigint;
    error_code: string;
    error_message: string;
    failure: Json;
    trace: Json;
    created_ms: bigint;
    updated_ms: bigint;
  };
  drill: {
    id: string;
    grp: string;
    site: string;
    number: bigint;
    passed: boolean;
    proof: Json;
    error_code: string;
    started_ms: bigint;
    recovery_time_ms: bigint;
    evidence: string;
    signature: Buffer;
    signer: Buffer;
    /** Serial number of the vault; empty for a drill of a sealed generation. */
    vault: Generated<string>;
  };
  archive_run: {
    id: string;
    grp: string;
    site: string;
    serial: string;
    work: string;
    backup: string;
    epoch: bigint;
    number: bigint;
    verdict: string;
    error_code: string;
    objects: number;
    started_ms: bigint;
    proof: Json;
    evidence: string;
    signature: Buffer;
    signer: Buffer;
  };
  scrub: { grp: string; site: string; started_ms: bigint; error_code: string; failures: Generated<number> };
  member_refused: { grp: string; site: string; refused: Json; objects: number; at_ms: bigint };
  journal_mark: { site: string; journal: string; run: string; writes: bigint; answered: bigint };
  /** Members that were removed: an agent that was away learns it from this. */
  former_seat: {
    grp: string;
    site: string;
    serial: string;
    epoch: bigint;
    owner: string;
    at_ms: bigint;
    is_deleted: boolean;
  };
  /** Groups that were deleted: one of the same name goes on above their numbers. */
  former_group: {
    name: string;
    highest_epoch: bigint;
    highest_version: number;
    highest_number: bigint;
    revision: number;
    deleted_ms: bigint;
  };
  approval: {
    digest: string;
    grp: string;
    action: string;
    /** The canonical text. */
    request: string;
    signatures: Json;
    submitted_by: string;
    submitted_ms: bigint;
    expires_ms: bigint;
  };
  approval_use: { site: string; digest: string; grp: string; use: Json; used_ms: bigint };
  /** Of tokens with which machines join: the secret itself is nowhere here. */
  site_token: {
    id: string;
    site: string;
    secret_digest: string;
    created_by: string;
    created_ms: bigint;
    expires_ms: bigint;
    /** SHA-256 of the public key that used it first; null before. */
    used_key: string | null;
    used_ms: bigint | null;
    used_from: string | null;
    revoked_ms: bigint | null;
    revoked_by: string | null;
  };
  /** Sites that operators have retired, and where the agent of each was last. */
  forgotten_site: { name: string; operator: string; at_ms: bigint; address: string };
  schedule_fire: { schedule: string; fire_ms: bigint };
  timeline: { id: number; at_ms: bigint; wall_ms: bigint; boot_id: string; uptime_ms: bigint };
  /**
   * The events deleted from the beginning of the log: first and last number, count, and a digest over them and the
   * digest before.
   */
  event_retirement: {
    first_id: bigint;
    last_id: bigint;
    count: number;
    sha256: string;
    at_ms: bigint;
  };
  event: { id: Generated<bigint>; at_ms: bigint; kind: string; grp: string; site: string; details: Json };
}

/**
 * The version of the tables that the previous release has. Every migration behind it leaves the tables so that this
 * release can still read and write them: `test/rules/migrations.test.ts` holds them to it. Moved together with
 * `PREVIOUS_RELEASE` (test/support/previous-release.ts).
 */
export const SCHEMA_OF_PREVIOUS_RELEASE = 24;

/** In order; each runs once. Never edited, only added to. */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE leader_lease (id int PRIMARY KEY CHECK (id = 1), epoch int8 NOT NULL, seq int8 NOT NULL, holder text NOT NULL);
  INSERT INTO leader_lease VALUES (1, 0, 0, '');
  CREATE TABLE site (name text PRIMARY KEY, address text NOT NULL, version text NOT NULL, partitions text NOT NULL);
  CREATE TABLE replication_group (name text PRIMARY KEY, spec text NOT NULL, domain_key_version int NOT NULL, highest_version int NOT NULL, created_ms int8 NOT NULL);
  CREATE TABLE member (grp text REFERENCES replication_group, site text, serial text NOT NULL UNIQUE, position int NOT NULL, role text NOT NULL, divergent int NOT NULL, PRIMARY KEY (grp, site));
  CREATE UNIQUE INDEX one_active_member ON member (grp) WHERE role = 'active';
  CREATE TABLE epoch (grp text REFERENCES replication_group, epoch int8, owner text NOT NULL, reason text NOT NULL, issued_ms int8 NOT NULL, is_active boolean NOT NULL,
    recovery_time_ms int8, PRIMARY KEY (grp, epoch));
  CREATE TABLE generation (grp text REFERENCES replication_group, epoch int8, number int8, manifest_digest text NOT NULL, content_digest text NOT NULL, object_count int NOT NULL,
    domain_key_version int NOT NULL, uncaptured text NOT NULL, recovery_point_ms int8 NOT NULL, trace text NOT NULL, PRIMARY KEY (grp, epoch, number));
  CREATE TABLE acknowledgement (grp text, epoch int8, number int8, site text, acknowledged_ms int8 NOT NULL, PRIMARY KEY (grp, epoch, number, site),
    FOREIGN KEY (grp, epoch, number) REFERENCES generation);
  CREATE TABLE intent (id text PRIMARY KEY, kind text NOT NULL, grp text NOT NULL, site text NOT NULL, state text NOT NULL, phase text NOT NULL, status text NOT NULL, attempts int NOT NULL,
    next_attempt_ms int8 NOT NULL, error_code text NOT NULL, error_message text NOT NULL, trace text NOT NULL, created_ms int8 NOT NULL, updated_ms int8 NOT NULL);
  CREATE UNIQUE INDEX one_open_intent ON intent (grp, kind, site) WHERE status IN ('open', 'parked');
  CREATE INDEX intent_by_time ON intent (created_ms);
  CREATE TABLE drill (id text PRIMARY KEY, grp text NOT NULL, site text NOT NULL, number int8 NOT NULL, passed boolean NOT NULL, proof text NOT NULL, error_code text NOT NULL, started_ms int8 NOT NULL,
    recovery_time_ms int8 NOT NULL, evidence text NOT NULL, signature bytea NOT NULL, signer bytea NOT NULL);
  CREATE TABLE schedule_fire (schedule text, fire_ms int8, PRIMARY KEY (schedule, fire_ms));
  CREATE TABLE event (id bigserial PRIMARY KEY, at_ms int8 NOT NULL, kind text NOT NULL, grp text NOT NULL, site text NOT NULL, details text NOT NULL);
  CREATE RULE event_is_append_only_update AS ON UPDATE TO event DO INSTEAD NOTHING;
  CREATE RULE event_is_append_only_delete AS ON DELETE TO event DO INSTEAD NOTHING;
  `,
  `
  ALTER TABLE member ADD COLUMN unaccounted int NOT NULL DEFAULT 0;
  CREATE INDEX intent_by_status ON intent (status, created_ms);
  `,
  `
  CREATE TABLE scrub (grp text REFERENCES replication_group, site text, started_ms int8 NOT NULL, error_code text NOT NULL, PRIMARY KEY (grp, site));
  `,
  // Every read of a planning pass uses an index, so that it costs the same after a year.
  `
  CREATE INDEX acknowledgement_newest ON acknowledgement (grp, site, epoch DESC, number DESC);
  CREATE INDEX generation_by_number ON generation (grp, number);
  CREATE INDEX intent_by_group ON intent (grp, status, created_ms);
  CREATE INDEX intent_by_kind ON intent (grp, kind, status, created_ms);
  CREATE INDEX drill_by_group ON drill (grp, started_ms);
  CREATE INDEX drill_by_outcome ON drill (grp, passed, started_ms);
  CREATE INDEX drill_by_time ON drill (started_ms);
  `,
  `
  ALTER TABLE intent ADD COLUMN performing int NOT NULL DEFAULT 0;
  `,
  `
  ALTER TABLE replication_group ADD COLUMN highest_number int8 NOT NULL DEFAULT 0;
  UPDATE replication_group SET highest_number = coalesce((SELECT max(number) FROM generation WHERE grp = name), 0);
  ALTER TABLE epoch ADD COLUMN base_epoch int8, ADD COLUMN base_number int8;
  `,
  `
  CREATE TABLE timeline (id int PRIMARY KEY CHECK (id = 1), at_ms int8 NOT NULL, wall_ms int8 NOT NULL, boot_id text NOT NULL, uptime_ms int8 NOT NULL);
  `,
  // The length of leases granted by earlier versions is not on record, so this assumes the longest of all profiles.
  `
  CREATE TABLE lease_length (id int PRIMARY KEY CHECK (id = 1), lease_ms int8 NOT NULL);
  INSERT INTO lease_length SELECT 1, CASE WHEN EXISTS (SELECT 1 FROM replication_group) THEN 40000 ELSE 0 END;
  `,
  `
  CREATE TABLE journal_mark (site text PRIMARY KEY, journal text NOT NULL, run text NOT NULL, writes int8 NOT NULL);
  ALTER TABLE intent ADD COLUMN failure text NOT NULL DEFAULT '';
  `,
  `
  ALTER TABLE generation ADD COLUMN key_count int;
  `,
  // The event log may lose its beginning, and only what is on record in event_retirement. Everything else stays refused.
  `
  CREATE INDEX intent_by_group_time ON intent (grp, created_ms);
  CREATE TABLE event_retirement (first_id int8 NOT NULL, last_id int8 PRIMARY KEY, count int NOT NULL, sha256 text NOT NULL, at_ms int8 NOT NULL);
  CREATE FUNCTION keep_event() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF TG_OP = 'DELETE' AND TG_TABLE_NAME = 'event' THEN
        IF OLD.id <= (SELECT max(last_id) FROM event_retirement) THEN RETURN OLD; END IF;
      END IF;
      RETURN NULL;
    END $$;
  DROP RULE event_is_append_only_delete ON event;
  DROP RULE event_is_append_only_update ON event;
  CREATE TRIGGER event_is_append_only BEFORE UPDATE OR DELETE ON event FOR EACH ROW EXECUTE FUNCTION keep_event();
  CREATE TRIGGER event_retirement_is_append_only BEFORE UPDATE OR DELETE ON event_retirement FOR EACH ROW EXECUTE FUNCTION keep_event();
  CREATE FUNCTION keep_all_events() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the event log is append-only'; END $$;
  CREATE TRIGGER event_is_not_truncated BEFORE TRUNCATE ON event EXECUTE FUNCTION keep_all_events();
  CREATE TRIGGER event_retirement_is_not_truncated BEFORE TRUNCATE ON event_retirement EXECUTE FUNCTION keep_all_events();
  `,
  // Finds the last operation of its kind at a place. The index is on an expression of the time. Otherwise PostgreSQL
  // would choose the index over all intents for a place without any.
  `
  CREATE INDEX intent_by_place ON intent (grp, kind, site, status, (created_ms + 0));
  `,
  // The objects that each member last reported it could not restore. They are shown even if its site is down.
  `
  CREATE TABLE member_refused (grp text REFERENCES replication_group, site text, refused text NOT NULL, objects int NOT NULL, at_ms int8 NOT NULL, PRIMARY KEY (grp, site));
  `,
  `
  ALTER TABLE journal_mark ADD COLUMN answered int8 NOT NULL DEFAULT 0;
  `,
  // Operations that have ended. A coordinator of an earlier release may still lead, so the first leader of this release
  // renames those under way (store/tables/kind-names.ts).
  `
  UPDATE intent SET kind = 'domain-key' WHERE kind = 'enrolment' AND status NOT IN ('open', 'parked');
  `,
  // How often the declaration of a group was changed: a change names the declaration that its operator has seen.
  `
  ALTER TABLE replication_group ADD COLUMN revision int NOT NULL DEFAULT 1;
  `,
  // Members that were removed, and the version of the domain key that they may hold: a later one is due.
  `
  ALTER TABLE replication_group ADD COLUMN rotate_above int NOT NULL DEFAULT 0;
  CREATE TABLE former_seat (grp text, site text, serial text NOT NULL, epoch int8 NOT NULL, owner text NOT NULL, at_ms int8 NOT NULL, PRIMARY KEY (grp, site));
  `,
  // Groups that were deleted. Agents remember their epochs, versions and numbers by the name of the group.
  `
  ALTER TABLE replication_group ADD COLUMN first_epoch int8 NOT NULL DEFAULT 1;
  ALTER TABLE former_seat ADD COLUMN is_deleted boolean NOT NULL DEFAULT false;
  CREATE TABLE former_group (name text PRIMARY KEY, highest_epoch int8 NOT NULL, highest_version int NOT NULL, highest_number int8 NOT NULL, deleted_ms int8 NOT NULL);
  `,
  // A change that names a declaration of a deleted group must not fit one of a later group of the same name.
  `
  ALTER TABLE former_group ADD COLUMN revision int NOT NULL DEFAULT 0;
  `,
  `
  CREATE TABLE hook_accepted (hook text, grp text, epoch int8 NOT NULL, PRIMARY KEY (hook, grp));
  `,
  // Automation that is paused, and since when moves count for the wait between two automatic ones.
  `
  ALTER TABLE replication_group ADD COLUMN paused_ms int8, ADD COLUMN paused_by text NOT NULL DEFAULT '', ADD COLUMN pause_reason text NOT NULL DEFAULT '', ADD COLUMN resumed_ms int8;
  `,
  // Approvals of operators, for the orders that need them, and where agents have used them.
  `
  CREATE TABLE approval (digest text PRIMARY KEY, grp text NOT NULL, action text NOT NULL, request text NOT NULL, signatures text NOT NULL, submitted_by text NOT NULL, submitted_ms int8 NOT NULL, expires_ms int8 NOT NULL);
  CREATE INDEX approval_by_group ON approval (grp, expires_ms);
  CREATE TABLE approval_use (site text, digest text, grp text NOT NULL, use text NOT NULL, used_ms int8 NOT NULL, PRIMARY KEY (site, digest));
  CREATE INDEX approval_use_by_group ON approval_use (grp, used_ms);
  `,
  // Captures that found no change, the oldest first: the hourly retention finds those that it deletes, and no others.
  `
  CREATE INDEX intent_unchanged ON intent (created_ms) WHERE kind = 'capture' AND status = 'done' AND state LIKE '%"isNew":false%';
  `,
  // The sites that may keep the lease of an epoch alive while no coordinator does.
  `
  ALTER TABLE epoch ADD COLUMN vouchers text;
  `,
  // Work with vaults that ended. A vault may be offline for weeks, so this is what is known of it.
  `
  CREATE TABLE archive_run (id text PRIMARY KEY, grp text NOT NULL, site text NOT NULL, serial text NOT NULL, work text NOT NULL, backup text NOT NULL, epoch int8 NOT NULL, number int8 NOT NULL,
    verdict text NOT NULL, error_code text NOT NULL, objects int NOT NULL, started_ms int8 NOT NULL, proof text NOT NULL, evidence text NOT NULL, signature bytea NOT NULL, signer bytea NOT NULL);
  CREATE INDEX archive_run_by_place ON archive_run (grp, site, serial, work, started_ms);
  CREATE INDEX archive_run_by_group ON archive_run (grp, started_ms);
  ALTER TABLE drill ADD COLUMN vault text NOT NULL DEFAULT '';
  `,
  // Scrubs in a row that could not look: the pause before the next one grows with them.
  `
  ALTER TABLE scrub ADD COLUMN failures int NOT NULL DEFAULT 0;
  `,
  // Tokens with which machines join as sites. A token belongs to the first key that uses it.
  `
  CREATE TABLE site_token (id text PRIMARY KEY, site text NOT NULL, secret_digest text NOT NULL, created_by text NOT NULL, created_ms int8 NOT NULL, expires_ms int8 NOT NULL,
    used_key text, used_ms int8, used_from text, revoked_ms int8, revoked_by text);
  CREATE INDEX site_token_by_end ON site_token (expires_ms);
  `,
  // Notices for operators, and how far each receiver has been told.
  `
  CREATE TABLE notice (id text PRIMARY KEY, kind text NOT NULL, grp text NOT NULL, site text NOT NULL, text text NOT NULL, since_ms int8 NOT NULL, raised_ms int8, absent_ms int8, resolved_ms int8);
  CREATE TABLE notice_receiver (name text PRIMARY KEY, since_ms int8 NOT NULL, batch text NOT NULL);
  CREATE TABLE notice_told (receiver text, notice text, state text NOT NULL, PRIMARY KEY (receiver, notice));
  `,
  // Sites that operators have retired: their heartbeats are refused.
  `
  CREATE TABLE forgotten_site (name text PRIMARY KEY, operator text NOT NULL, at_ms int8 NOT NULL, address text NOT NULL);
  `,
];
