/** Journals as earlier agents wrote them: the very tables, not made from what the agent has today. */
import { openDatabase } from '../storage/database.ts';

/** The tables of version 19, the last one that told partitions of one site and group not apart. */
const VERSION_19 = `
  CREATE TABLE identity (partition TEXT PRIMARY KEY, serial TEXT NOT NULL, cka_id BLOB NOT NULL, public_half BLOB NOT NULL) STRICT;
  CREATE TABLE domain_key (serial TEXT, grp TEXT, version INTEGER, cka_id BLOB NOT NULL, check_tag BLOB NOT NULL, PRIMARY KEY (serial, grp, version)) STRICT;
  CREATE TABLE fence (grp TEXT PRIMARY KEY, epoch INTEGER NOT NULL, owner TEXT NOT NULL) STRICT;
  CREATE TABLE member (grp TEXT PRIMARY KEY, serial TEXT NOT NULL, role TEXT NOT NULL, divergent INTEGER NOT NULL DEFAULT 0, unaccounted INTEGER NOT NULL DEFAULT 0) STRICT;
  CREATE TABLE head (grp TEXT, kind TEXT, digest TEXT NOT NULL, PRIMARY KEY (grp, kind)) STRICT;
  CREATE TABLE apply_intent (grp TEXT, object_id TEXT, object_class TEXT NOT NULL, key_type TEXT, id BLOB NOT NULL, label BLOB NOT NULL, attributes_digest BLOB, PRIMARY KEY (grp, object_id, attributes_digest)) STRICT;
  CREATE TABLE own_key_intent (serial TEXT, cka_id BLOB, PRIMARY KEY (serial, cka_id)) STRICT;
  CREATE TABLE distribution (grp TEXT, version INTEGER, result TEXT NOT NULL, PRIMARY KEY (grp, version)) STRICT;
  CREATE TABLE open_drill (serial TEXT PRIMARY KEY, drill_id TEXT NOT NULL) STRICT;
  CREATE TABLE divergent (grp TEXT, object_id TEXT, digest TEXT NOT NULL, PRIMARY KEY (grp, object_id)) STRICT;
  CREATE TABLE journal (id TEXT PRIMARY KEY) STRICT;
  CREATE TABLE run (seq INTEGER PRIMARY KEY, token TEXT NOT NULL, writes INTEGER NOT NULL) STRICT;
  CREATE TABLE quarantine (grp TEXT PRIMARY KEY, reason TEXT NOT NULL) STRICT;
  CREATE TABLE held (grp TEXT, object_id TEXT, reason TEXT NOT NULL, PRIMARY KEY (grp, object_id)) STRICT;
  CREATE TABLE accepted (grp TEXT, object_id TEXT, PRIMARY KEY (grp, object_id)) STRICT;
  CREATE TABLE restored (grp TEXT PRIMARY KEY) STRICT;
  CREATE TABLE aside (grp TEXT, digest TEXT, PRIMARY KEY (grp, digest)) STRICT;
  CREATE TABLE namesake (grp TEXT PRIMARY KEY, objects INTEGER NOT NULL) STRICT;
  CREATE TABLE refused (grp TEXT, object_id TEXT, kind TEXT NOT NULL, code TEXT NOT NULL, return_value TEXT NOT NULL, PRIMARY KEY (grp, object_id)) STRICT;
  CREATE TABLE restored_object (grp TEXT, object_id TEXT, PRIMARY KEY (grp, object_id)) STRICT;
  CREATE TABLE not_carried (grp TEXT, object_id TEXT, kind TEXT NOT NULL, attributes TEXT NOT NULL, PRIMARY KEY (grp, object_id)) STRICT;
  CREATE TABLE print (device TEXT, blob TEXT, print TEXT NOT NULL, PRIMARY KEY (device, blob)) STRICT;
  CREATE TABLE retired_domain_key (serial TEXT, grp TEXT, version INTEGER, cka_id BLOB NOT NULL, check_tag BLOB NOT NULL, state TEXT NOT NULL, PRIMARY KEY (serial, grp, version)) STRICT;
  CREATE TABLE watch (one INTEGER PRIMARY KEY CHECK (one = 1), ms INTEGER NOT NULL) STRICT;
  CREATE TABLE buried (grp TEXT, object_id TEXT, epoch INTEGER, generation INTEGER, version INTEGER, blobs TEXT NOT NULL, retention_ms INTEGER NOT NULL, since_ms INTEGER NOT NULL, PRIMARY KEY (grp, object_id, epoch, generation)) STRICT;
  CREATE TABLE unneeded (digest TEXT PRIMARY KEY, since_ms INTEGER NOT NULL) STRICT;
  CREATE TABLE erasure (seq INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, blobs INTEGER NOT NULL, bytes INTEGER NOT NULL, object_ids TEXT NOT NULL, is_done INTEGER NOT NULL) STRICT;
  CREATE TABLE had_captured (grp TEXT PRIMARY KEY) STRICT;
  CREATE TABLE trusted_key (serial TEXT, grp TEXT, version INTEGER, sealed BLOB, cka_id BLOB, check_tag BLOB, PRIMARY KEY (serial, grp, version)) STRICT;
  CREATE TABLE moved_identity (partition TEXT, serial TEXT NOT NULL, cka_id BLOB NOT NULL, public_half BLOB, state TEXT NOT NULL, versions TEXT NOT NULL, PRIMARY KEY (partition, public_half)) STRICT;
  CREATE TABLE stranger (serial TEXT, read_digest TEXT, copies INTEGER NOT NULL, PRIMARY KEY (serial, read_digest)) STRICT;
  CREATE TABLE untried (grp TEXT, object_id TEXT, use TEXT, reason TEXT NOT NULL, PRIMARY KEY (grp, object_id, use)) STRICT;
  CREATE TABLE known_place (grp TEXT PRIMARY KEY, place BLOB NOT NULL) STRICT;
  CREATE TABLE filter (grp TEXT PRIMARY KEY, rules TEXT NOT NULL) STRICT;
`;

/** Writes a journal of version 19, and runs statements on it. */
export function writeJournal19(path: string, statements: string): void {
  const database = openDatabase(path, { schema: VERSION_19, version: 19 });
  database.exec(statements);
  database.close();
}
