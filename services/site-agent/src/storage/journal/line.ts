/**
 * Tables that describe a partition by the generations of a group. They say what was captured there and restored there,
 * and what was found there. Each row names the partition by its serial number, since a site may change the partition
 * that has its seat. A row of one partition says nothing of another. Otherwise an object of somebody else in it would be
 * taken for a damaged one of the group. Sealed generations, deletions and own keys are not here.
 */

/** A partition in the life of a group, whether it has the seat of its site or not. */
export interface PartitionOf {
  readonly group: string;
  readonly serial: string;
}

/** The columns beside group and serial number, and those of them that belong to the key. */
const TABLES = {
  /** The generations by which the partition goes. */
  head: { columns: 'kind TEXT, digest TEXT NOT NULL', key: 'kind' },
  /** Objects that an apply began to make, as they were to be. */
  apply_intent: {
    columns:
      'object_id TEXT, object_class TEXT NOT NULL, key_type TEXT, id BLOB NOT NULL, label BLOB NOT NULL, attributes_digest BLOB',
    key: 'object_id, attributes_digest',
  },
  /** Where the entry of an object stands that is in no generation of the group's line. */
  divergent: { columns: 'object_id TEXT, digest TEXT NOT NULL', key: 'object_id' },
  /** Objects that a capture would have lost, those whose loss an operator has accepted, and those brought back by hand. */
  held: { columns: 'object_id TEXT, reason TEXT NOT NULL', key: 'object_id' },
  accepted: { columns: 'object_id TEXT', key: 'object_id' },
  restored: { columns: '', key: '' },
  /** Deleted objects that were brought back by hand, until a capture has seen them. */
  restored_object: { columns: 'object_id TEXT', key: 'object_id' },
  /** How many objects of others bear names of the group's. */
  namesake: { columns: 'objects INTEGER NOT NULL', key: '' },
  /** Objects of the generation that was applied last which this token does not take, each with its reason. */
  refused: {
    columns: 'object_id TEXT, kind TEXT NOT NULL, code TEXT NOT NULL, return_value TEXT NOT NULL',
    key: 'object_id',
  },
  /** Attributes of captured objects that no replica gets; names with blanks between them. */
  not_carried: { columns: 'object_id TEXT, kind TEXT NOT NULL, attributes TEXT NOT NULL', key: 'object_id' },
  /** Uses that a key allows and that no proof here has tried, each with its reason. */
  untried: { columns: 'object_id TEXT, use TEXT, reason TEXT NOT NULL', key: 'object_id, use' },
  /** Partitions that were captured as the active one, even if no head says so any more. */
  had_captured: { columns: '', key: '' },
} as const;

type Table = keyof typeof TABLES;

export const LINE_TABLES = Object.keys(TABLES) as Table[];

const joined = (...parts: string[]): string => parts.filter((part) => part !== '').join(', ');
const create = (table: Table, owner: string, key: string): string =>
  `CREATE TABLE ${table} (${joined(owner, TABLES[table].columns, `PRIMARY KEY (${joined(key, TABLES[table].key)})`)}) STRICT`;

/** Up to version 19 the rows named the group only. */
export const beforeSerials = (table: Table): string => create(table, 'grp TEXT', 'grp');

/**
 * Partitions that have left a group. Nobody has watched them since: an object there that looks like one of the group's
 * may be anybody's. The row goes when the partition has been proved as a member again.
 */
const LEFT = 'CREATE TABLE left_seat (grp TEXT, serial TEXT, PRIMARY KEY (grp, serial)) STRICT';

export const LINE = [...LINE_TABLES.map((table) => create(table, 'grp TEXT, serial TEXT', 'grp, serial')), LEFT].join(
  ';\n  ',
);

/**
 * The rows of an older journal are about the partition that has the seat. Where none has it, nobody knows which
 * partition they are about: they keep their generations, and decide nothing.
 */
export const LINE_UPGRADE = [
  ...LINE_TABLES.flatMap((table) => {
    const columns = TABLES[table].columns
      .split(', ')
      .map((column) => column.split(' ')[0]!)
      .filter((name) => name !== '');
    const older = `older_${table}`;
    return [
      `ALTER TABLE ${table} RENAME TO ${older}`,
      create(table, 'grp TEXT, serial TEXT', 'grp, serial'),
      `INSERT INTO ${table} (${joined('grp', 'serial', ...columns)})
       SELECT ${joined('grp', `COALESCE((SELECT serial FROM member WHERE member.grp = ${older}.grp), '')`, ...columns)} FROM ${older}`,
      `DROP TABLE ${older}`,
    ];
  }),
  LEFT,
].join(';\n  ');
