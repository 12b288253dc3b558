/** The tables of the journal, and what brings the file of an older agent to them. */
import { ACKNOWLEDGED } from './acknowledgements.ts';
import { COLLECTION, COLLECTION_UPGRADE } from './collection.ts';
import { JOURNAL_HISTORY, RUN_PLACE } from './history.ts';
import { beforeSerials, LINE, LINE_UPGRADE } from './line.ts';
import { SITE_NAME } from './site-name.ts';

export const SCHEMA_VERSION = 28;

/** Digest of what a device wraps of an RSA key, by that of the sealed blob. */
const PRINT = 'CREATE TABLE print (device TEXT, blob TEXT, print TEXT NOT NULL, PRIMARY KEY (device, blob)) STRICT';

const APPLY_INTENT_3 =
  'CREATE TABLE apply_intent (grp TEXT, object_id TEXT, object_class TEXT NOT NULL, key_type TEXT, digest BLOB, PRIMARY KEY (grp, object_id, digest)) STRICT';

/**
 * Intents of version 3 have no names, and digests of another kind. Of an apply that was cut short under that version,
 * only objects without names are found.
 */
const APPLY_INTENT_4 = `
  ALTER TABLE apply_intent RENAME COLUMN digest TO attributes_digest;
  ALTER TABLE apply_intent ADD COLUMN id BLOB NOT NULL DEFAULT x'';
  ALTER TABLE apply_intent ADD COLUMN label BLOB NOT NULL DEFAULT x''`;

/** CKA_IDs of own keys that were about to be made: without a record of the key, a crash lies between. */
const OWN_KEY_INTENT = 'CREATE TABLE own_key_intent (serial TEXT, cka_id BLOB, PRIMARY KEY (serial, cka_id)) STRICT';

/** Up to version 11 deleted objects were counted in `kept`. */
const DELETIONS_5 = `
  ${beforeSerials('held')};
  ${beforeSerials('accepted')};
  ${beforeSerials('restored')};
  CREATE TABLE kept (grp TEXT, object_id TEXT, kept_ms INTEGER NOT NULL, PRIMARY KEY (grp, object_id)) STRICT`;

/** Generations of what was set aside here, from whichever partition. */
const ASIDE = 'CREATE TABLE aside (grp TEXT, digest TEXT, PRIMARY KEY (grp, digest)) STRICT';

/**
 * Domain keys that are being destroyed, or were. The record stays for ever: no version is ever installed twice, and a
 * key that comes back with an older copy of its token is still ours.
 */
const RETIRED_DOMAIN_KEY =
  'CREATE TABLE retired_domain_key (serial TEXT, grp TEXT, version INTEGER, cka_id BLOB NOT NULL, check_tag BLOB NOT NULL, state TEXT NOT NULL, PRIMARY KEY (serial, grp, version)) STRICT';

/**
 * Trusted keys of domain key versions. Each is kept as it was delivered until the security officer has brought it into
 * the token. Then the record has its id and its check tag.
 */
const TRUSTED_KEY =
  'CREATE TABLE trusted_key (serial TEXT, grp TEXT, version INTEGER, sealed BLOB, cka_id BLOB, check_tag BLOB, PRIMARY KEY (serial, grp, version)) STRICT';

/**
 * Identities of a partition beside the one in use:
 * - `next` waits to be pinned.
 * - `former` has been replaced, and may be in its token.
 * - `destroyed` is gone, and everything that it has signed is ours for ever.
 *
 * `versions` has the newest domain key of each group at the change.
 */
const MOVED_IDENTITY =
  'CREATE TABLE moved_identity (partition TEXT, serial TEXT NOT NULL, cka_id BLOB NOT NULL, public_half BLOB, state TEXT NOT NULL, versions TEXT NOT NULL, PRIMARY KEY (partition, public_half)) STRICT';

/** Objects that anybody can make and that were in a scratch partition before its open drill, by their looks. */
const STRANGER = 'CREATE TABLE stranger (serial TEXT, looks TEXT, PRIMARY KEY (serial, looks)) STRICT';

const STRANGER_16 =
  'CREATE TABLE stranger (serial TEXT, read_digest TEXT, copies INTEGER NOT NULL, PRIMARY KEY (serial, read_digest)) STRICT';

/**
 * Read digests of version 24 mean nothing to another process. A drill that was cut short beside strangers ends with its
 * upgrade: nobody can tell its objects from theirs any more.
 */
const STRANGER_25 = `
  DELETE FROM open_drill WHERE serial IN (SELECT serial FROM stranger);
  DROP TABLE stranger;
  ${STRANGER}`;

/** Where clients of each group must go, as a coordinator last said (protobuf). */
const KNOWN_PLACE = 'CREATE TABLE known_place (grp TEXT PRIMARY KEY, place BLOB NOT NULL) STRICT';
/** The rules of each group's filter, and how its keys move unless sealed, as the newest order to capture had them. JSON. */
const FILTER = 'CREATE TABLE filter (grp TEXT PRIMARY KEY, rules TEXT NOT NULL) STRICT';

/** The highest term of a coordinator that gave an order or answered a heartbeat, and whose it is. */
const TERM =
  'CREATE TABLE term (id INTEGER PRIMARY KEY CHECK (id = 1), term INTEGER NOT NULL, coordinator TEXT NOT NULL) STRICT';

/**
 * Approvals that were used here, each once and for ever. The partitions that are enrolled, each with the digest of its
 * approval, or without one if it was trusted before this site guarded its actions.
 */
const APPROVALS = `
  CREATE TABLE approval_use (nonce TEXT PRIMARY KEY, digest TEXT NOT NULL, grp TEXT NOT NULL, action TEXT NOT NULL, operation TEXT NOT NULL, scope TEXT NOT NULL, requested_by TEXT NOT NULL, approved_by TEXT NOT NULL, used_ms INTEGER NOT NULL) STRICT;
  CREATE TABLE enrolled (grp TEXT, site TEXT, serial TEXT, role TEXT, identity TEXT, digest TEXT NOT NULL, PRIMARY KEY (grp, site, serial, role, identity)) STRICT;
  CREATE TABLE approvals_begun (id INTEGER PRIMARY KEY) STRICT`;

/** Divergent objects that an operator keeps as they are. */
const KEPT_DIVERGENT =
  'CREATE TABLE kept_divergent (grp TEXT, serial TEXT, object_id TEXT, PRIMARY KEY (grp, serial, object_id)) STRICT';

/** Objects that were merged into the active member's partition, until a capture has taken them, each with its manifest. */
const ADOPTED =
  'CREATE TABLE adopted (grp TEXT, serial TEXT, object_id TEXT, digest TEXT NOT NULL, PRIMARY KEY (grp, serial, object_id)) STRICT';

/** Objects in asides that nobody has to decide about any more: `kept` by an operator, or `taken` by the group. */
const SETTLED_ASIDE =
  'CREATE TABLE settled_aside (grp TEXT, object_id TEXT, how TEXT NOT NULL, PRIMARY KEY (grp, object_id)) STRICT';

export const SCHEMA = `
  CREATE TABLE identity (partition TEXT PRIMARY KEY, serial TEXT NOT NULL, cka_id BLOB NOT NULL, public_half BLOB NOT NULL) STRICT;
  CREATE TABLE domain_key (serial TEXT, grp TEXT, version INTEGER, cka_id BLOB NOT NULL, check_tag BLOB NOT NULL, PRIMARY KEY (serial, grp, version)) STRICT;
  CREATE TABLE fence (grp TEXT PRIMARY KEY, epoch INTEGER NOT NULL, owner TEXT NOT NULL) STRICT;
  CREATE TABLE member (grp TEXT PRIMARY KEY, serial TEXT NOT NULL, role TEXT NOT NULL, divergent INTEGER NOT NULL DEFAULT 0, unaccounted INTEGER NOT NULL DEFAULT 0) STRICT;
  ${LINE};
  ${OWN_KEY_INTENT};
  CREATE TABLE distribution (grp TEXT, version INTEGER, result TEXT NOT NULL, PRIMARY KEY (grp, version)) STRICT;
  CREATE TABLE open_drill (serial TEXT PRIMARY KEY, drill_id TEXT NOT NULL) STRICT;
  ${JOURNAL_HISTORY};
  ${ASIDE};
  ${PRINT};
  ${RETIRED_DOMAIN_KEY};
  ${COLLECTION};
  ${TRUSTED_KEY};
  ${MOVED_IDENTITY};
  ${STRANGER};
  ${KNOWN_PLACE};
  ${FILTER};
  ${ACKNOWLEDGED};
  ${RUN_PLACE};
  ${TERM};
  ${SITE_NAME};
  ${APPROVALS};
  ${KEPT_DIVERGENT};
  ${ADOPTED};
  ${SETTLED_ASIDE};
`;

/** For each version of a file, the statements that bring it to the next version. */
export const UPGRADES = {
  1: beforeSerials('divergent'),
  2: `DROP TABLE apply_intent; ${APPLY_INTENT_3}; ${OWN_KEY_INTENT}`,
  3: APPLY_INTENT_4,
  4: JOURNAL_HISTORY,
  5: DELETIONS_5,
  6: `${ASIDE}; ${beforeSerials('namesake')}`,
  7: beforeSerials('refused'),
  8: beforeSerials('restored_object'),
  9: beforeSerials('not_carried'),
  10: PRINT,
  11: RETIRED_DOMAIN_KEY,
  12: `${COLLECTION_UPGRADE}; ${beforeSerials('had_captured')}`,
  13: TRUSTED_KEY,
  14: MOVED_IDENTITY,
  15: STRANGER_16,
  16: beforeSerials('untried'),
  17: KNOWN_PLACE,
  18: FILTER,
  19: LINE_UPGRADE,
  20: ACKNOWLEDGED,
  21: RUN_PLACE,
  22: TERM,
  23: SITE_NAME,
  24: STRANGER_25,
  25: APPROVALS,
  26: `${KEPT_DIVERGENT}; ${ADOPTED}`,
  27: SETTLED_ASIDE,
};
