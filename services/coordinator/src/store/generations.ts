/** Generations and who has acknowledged them. */
import { AntipodeError } from '@antipode/runtime';
import type { Generation, Uncaptured } from '../model.ts';
import type { Schema } from './schema.ts';
import { type Read, toJson, type Write } from './store.ts';

export async function readNewest(db: Read, group: string): Promise<Generation | undefined> {
  const row = await db
    .selectFrom('generation')
    .selectAll()
    .where('grp', '=', group)
    .orderBy('epoch', 'desc')
    .orderBy('number', 'desc')
    .limit(1)
    .executeTakeFirst();
  return row && generationFrom(row);
}

export async function readGeneration(
  db: Read,
  group: string,
  { epoch, number }: { epoch: bigint; number: bigint },
): Promise<Generation | undefined> {
  const row = await db
    .selectFrom('generation')
    .selectAll()
    .where('grp', '=', group)
    .where('epoch', '=', epoch)
    .where('number', '=', number)
    .executeTakeFirst();
  return row && generationFrom(row);
}

export interface Acknowledged extends Generation {
  readonly site: string;
}

/** The newest generation that each site has acknowledged. */
export async function readAcknowledged(db: Read, group: string): Promise<Acknowledged[]> {
  const rows = await db
    .selectFrom('acknowledgement')
    .innerJoin('generation', (join) =>
      join
        .onRef('generation.grp', '=', 'acknowledgement.grp')
        .onRef('generation.epoch', '=', 'acknowledgement.epoch')
        .onRef('generation.number', '=', 'acknowledgement.number'),
    )
    .selectAll('generation')
    .select('acknowledgement.site')
    .distinctOn('acknowledgement.site')
    .where('acknowledgement.grp', '=', group)
    .orderBy('acknowledgement.site')
    .orderBy('acknowledgement.epoch', 'desc')
    .orderBy('acknowledgement.number', 'desc')
    .execute();
  return rows.map((row) => ({ ...generationFrom(row), site: row.site }));
}

/** The highest number that was ever given, under whatever epoch; 0 before the first. */
export async function readHighestNumber(db: Read, group: string): Promise<bigint> {
  const row = await db
    .selectFrom('generation')
    .select(({ fn }) => fn.max('number').as('number'))
    .where('grp', '=', group)
    .executeTakeFirst();
  return BigInt(row?.number ?? 0n);
}

export interface Known {
  readonly epoch: bigint;
  readonly number: bigint;
  readonly manifestDigest: string;
  /** By any member. */
  readonly isAcknowledged: boolean;
}

/** Every generation on record, newest last. */
export async function readKnown(db: Read, group: string): Promise<Known[]> {
  const rows = await db
    .selectFrom('generation')
    .select(['epoch', 'number', 'manifest_digest'])
    .select((eb) =>
      eb
        .exists(
          eb
            .selectFrom('acknowledgement')
            .select('site')
            .whereRef('acknowledgement.grp', '=', 'generation.grp')
            .whereRef('acknowledgement.epoch', '=', 'generation.epoch')
            .whereRef('acknowledgement.number', '=', 'generation.number'),
        )
        .as('is_acknowledged'),
    )
    .where('grp', '=', group)
    .orderBy('epoch')
    .orderBy('number')
    .execute();
  return rows.map(({ epoch, number, manifest_digest, is_acknowledged }) => ({
    epoch,
    number,
    manifestDigest: manifest_digest,
    isAcknowledged: Boolean(is_acknowledged),
  }));
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
  if (numInsertedOrUpdatedRows === 1n) return;
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
    domainKeyVersion: row.domain_key_version,
    uncaptured: JSON.parse(row.uncaptured) as Uncaptured[],
    recoveryPointMs: Number(row.recovery_point_ms),
    trace: JSON.parse(row.trace) as Record<string, string>,
  };
}
