/** Generations and who has acknowledged them. */
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

/** Records a capture; one that found no change moves the recovery point of its generation forward. */
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
  await trx
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
      conflict.columns(['grp', 'epoch', 'number']).doUpdateSet({ recovery_point_ms: BigInt(recoveryPointMs) }),
    )
    .execute();
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
