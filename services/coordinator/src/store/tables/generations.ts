/** Generations and who has acknowledged them. */
import { type GenerationPosition, isNewer } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import { sql } from 'kysely';
import type { Generation, Uncaptured } from '../../model.ts';
import { fixed } from '../fixed-statement.ts';
import type { Schema } from '../schema.ts';
import { type Read, toJson, type Write } from '../store.ts';
import { JOINING } from './groups.ts';

export async function readNewest(db: Read, group: string): Promise<Generation | undefined> {
  const [row] = (await newestOf(db, { group })).rows;
  return row && generationFrom(row);
}

const newestOf = fixed((db, { group }: { group: string }) =>
  db
    .selectFrom('generation')
    .selectAll()
    .where('grp', '=', group)
    .orderBy('epoch', 'desc')
    .orderBy('number', 'desc')
    .limit(1),
);

export async function readGeneration(
  db: Read,
  group: string,
  { epoch, number }: { epoch: bigint; number: bigint },
): Promise<Generation | undefined> {
  const [row] = (await numbered(db, { group, epoch, number })).rows;
  return row && generationFrom(row);
}

const numbered = fixed((db, { group, epoch, number }: { group: string; epoch: bigint; number: bigint }) =>
  db
    .selectFrom('generation')
    .selectAll()
    .where('grp', '=', group)
    .where('epoch', '=', epoch)
    .where('number', '=', number),
);

export interface Acknowledged extends Generation {
  readonly site: string;
}

/** The newest generation that each member has acknowledged. Reads one row of each index, however long the history is. */
export const readAcknowledged = async (db: Read, group: string): Promise<Acknowledged[]> =>
  (await acknowledgedByMembers(db, { group })).rows.map(acknowledgedFrom);

/** The same of members that have not caught up yet. It counts for nothing but their own way into the group. */
export const readAcknowledgedByJoining = async (db: Read, group: string): Promise<Acknowledged[]> =>
  (await acknowledgedByJoining(db, { group })).rows.map(acknowledgedFrom);

const acknowledgedByMembers = fixed((db, { group }: { group: string }) => acknowledgedBy(db, group, '!='));
const acknowledgedByJoining = fixed((db, { group }: { group: string }) => acknowledgedBy(db, group, '='));

function acknowledgedBy(db: Read, group: string, joining: '=' | '!=') {
  return db
    .selectFrom('member')
    .innerJoinLateral(
      (eb) =>
        eb
          .selectFrom('acknowledgement')
          .select(['acknowledgement.epoch', 'acknowledgement.number'])
          .whereRef('acknowledgement.grp', '=', 'member.grp')
          .whereRef('acknowledgement.site', '=', 'member.site')
          .orderBy('acknowledgement.epoch', 'desc')
          .orderBy('acknowledgement.number', 'desc')
          .limit(1)
          .as('held'),
      (join) => join.onTrue(),
    )
    .innerJoin('generation', (join) =>
      join
        .onRef('generation.grp', '=', 'member.grp')
        .onRef('generation.epoch', '=', 'held.epoch')
        .onRef('generation.number', '=', 'held.number'),
    )
    .selectAll('generation')
    .select('member.site')
    .where('member.grp', '=', group)
    .where('member.role', joining, JOINING)
    .orderBy('member.site');
}

const acknowledgedFrom = (row: Schema['generation'] & { readonly site: string }): Acknowledged => ({
  ...generationFrom(row),
  site: row.site,
});

/**
 * Reserves the number of the next generation, under whatever epoch: above every number that was reserved before, recorded
 * or not, and above `seen`. So no two generations of a group have one number, even if the answer to a capture is lost.
 */
export async function reserveNumber(trx: Write, group: string, { seen }: { seen: bigint }): Promise<bigint> {
  const row = await trx
    .updateTable('replication_group')
    .set({ highest_number: sql<bigint>`greatest(highest_number, ${seen}::int8) + 1` })
    .where('name', '=', group)
    .returning('highest_number')
    .executeTakeFirstOrThrow();
  return row.highest_number;
}

/** For the number of an order that was answered, and needed none. Only the last one can be given again. */
export async function releaseNumber(trx: Write, group: string, number: bigint): Promise<void> {
  await trx
    .updateTable('replication_group')
    .set({ highest_number: number - 1n })
    .where('name', '=', group)
    .where('highest_number', '=', number)
    .execute();
}

export interface Known {
  readonly epoch: bigint;
  readonly number: bigint;
  readonly manifestDigest: string;
  /** By any member. */
  readonly isAcknowledged: boolean;
}

/** More than anybody can lose: what lies further back is behind every member that has acknowledged anything newer. */
const KNOWN_MAX = 500;

/** No site has this name. */
const NOBODY = '';

/**
 * The newest generations on record, and the newest that each member has acknowledged; newest last. An older generation
 * that a member holds is found by {@link readGeneration}.
 */
export async function readKnown(db: Read, group: string): Promise<Known[]> {
  // Read before, since a join would look at a member for each acknowledgement.
  const joining = (
    await db.selectFrom('member').select('site').where('grp', '=', group).where('role', '=', JOINING).execute()
  ).map(({ site }) => site);
  // The limit first, then one look into an index for each: an EXISTS may be answered from every acknowledgement there is.
  const rows = await db
    .selectFrom((eb) =>
      eb
        .selectFrom('generation')
        .select(['grp', 'epoch', 'number', 'manifest_digest'])
        .where('grp', '=', group)
        .orderBy('epoch', 'desc')
        .orderBy('number', 'desc')
        .limit(KNOWN_MAX)
        .as('newest'),
    )
    .leftJoinLateral(
      (eb) =>
        eb
          .selectFrom('acknowledgement')
          .select('acknowledgement.site')
          .whereRef('acknowledgement.grp', '=', 'newest.grp')
          .whereRef('acknowledgement.epoch', '=', 'newest.epoch')
          .whereRef('acknowledgement.number', '=', 'newest.number')
          .where('acknowledgement.site', 'not in', [...joining, NOBODY])
          .limit(1)
          .as('held'),
      (join) => join.onTrue(),
    )
    .select(['newest.epoch', 'newest.number', 'newest.manifest_digest', 'held.site'])
    .orderBy('newest.epoch', 'desc')
    .orderBy('newest.number', 'desc')
    .execute();
  const newest = rows.map(({ epoch, number, manifest_digest, site }) => ({
    epoch,
    number,
    manifestDigest: manifest_digest,
    isAcknowledged: site !== null,
  }));
  const isListed = ({ epoch, number }: Acknowledged): boolean =>
    newest.some((one) => one.epoch === epoch && one.number === number);
  const older = newest.length < KNOWN_MAX ? [] : (await readAcknowledged(db, group)).filter((one) => !isListed(one));
  const inOrder = [...newest].reverse();
  return [
    ...older
      .filter((one, at) => older.findIndex(({ manifestDigest }) => manifestDigest === one.manifestDigest) === at)
      .map(({ epoch, number, manifestDigest }) => ({ epoch, number, manifestDigest, isAcknowledged: true }))
      .sort((a, b) => Number(a.epoch - b.epoch || a.number - b.number)),
    ...inOrder,
  ];
}

/** Those that are newer than `base`, newest last: as many as anybody can lose. */
export async function readAhead(db: Read, group: string, base: GenerationPosition | undefined): Promise<Known[]> {
  return (await readKnown(db, group)).filter((one) => isNewer(one, base));
}

/**
 * Records a capture; one that found no change moves the recovery point of its generation forward.
 * @throws MANIFEST_INVALID when another generation is on record under the same number
 */
export async function recordCapture(trx: Write, group: string, generation: Generation): Promise<void> {
  const {
    epoch,
    number,
    manifestDigest,
    contentDigest,
    objectCount,
    keyCount,
    domainKeyVersion,
    uncaptured,
    recoveryPointMs,
    trace,
  } = generation;
  const { numInsertedOrUpdatedRows } = await trx
    .insertInto('generation')
    .values({
      grp: group,
      epoch,
      number,
      manifest_digest: manifestDigest,
      content_digest: contentDigest,
      object_count: objectCount,
      key_count: keyCount ?? null,
      domain_key_version: domainKeyVersion,
      uncaptured: toJson(uncaptured),
      recovery_point_ms: BigInt(recoveryPointMs),
      trace: toJson(trace),
    })
    .onConflict((conflict) =>
      conflict
        .columns(['grp', 'epoch', 'number'])
        .doUpdateSet({ recovery_point_ms: BigInt(recoveryPointMs) })
        .where('generation.manifest_digest', '=', manifestDigest),
    )
    .executeTakeFirstOrThrow();
  if (numInsertedOrUpdatedRows === 1n) {
    await trx
      .updateTable('replication_group')
      .set({ highest_number: number })
      .where('name', '=', group)
      .where('highest_number', '<', number)
      .execute();
    return;
  }
  throw new AntipodeError('MANIFEST_INVALID', `another generation is on record as number ${number} of epoch ${epoch}`, {
    details: { group, epoch, number, digest: manifestDigest },
  });
}

export async function recordAcknowledgement(
  trx: Write,
  group: string,
  { epoch, number, site, nowMs }: { epoch: bigint; number: bigint; site: string; nowMs: number },
): Promise<void> {
  await trx
    .insertInto('acknowledgement')
    .values({ grp: group, epoch, number, site, acknowledged_ms: BigInt(nowMs) })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

/** Takes back what a site has acknowledged, up to the generation that it was found not to hold. */
export async function withdrawAcknowledgements(
  trx: Write,
  group: string,
  { epoch, number, site }: { epoch: bigint; number: bigint; site: string },
): Promise<void> {
  await trx
    .deleteFrom('acknowledgement')
    .where('grp', '=', group)
    .where('site', '=', site)
    .where((eb) => eb.or([eb('epoch', '<', epoch), eb.and([eb('epoch', '=', epoch), eb('number', '<=', number)])]))
    .execute();
}

function generationFrom(row: Schema['generation']): Generation {
  return {
    epoch: row.epoch,
    number: row.number,
    manifestDigest: row.manifest_digest,
    contentDigest: row.content_digest,
    objectCount: row.object_count,
    ...(row.key_count === null ? {} : { keyCount: row.key_count }),
    domainKeyVersion: row.domain_key_version,
    uncaptured: JSON.parse(row.uncaptured) as Uncaptured[],
    recoveryPointMs: Number(row.recovery_point_ms),
    trace: JSON.parse(row.trace) as Record<string, string>,
  };
}
