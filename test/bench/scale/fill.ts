/** A coordinator's database with a whole fleet in it, as it is after every group has been captured and acknowledged once. */
import type { Store } from '@antipode/coordinator/testing';
import { insertGroup, SPEC } from '@antipode/coordinator/testing';
import { sql } from 'kysely';
import { FIRST_NUMBER, type FleetSize, fleetGroups, generationOf } from './fleet.ts';

const RPO_MS = 300_000;
const WEEK_MS = 604_800_000;

/** Captures and scrubs come due evenly, not all at once. The leader is of epoch 0. */
export async function fillFleet(store: Store, size: FleetSize, nowMs: number): Promise<void> {
  const groups = fleetGroups(size);
  await store.write(0n, async (trx) => {
    for (const [index, { name, seats }] of groups.entries()) {
      const spread = index / groups.length;
      const createdMs = nowMs - WEEK_MS;
      await insertGroup(trx, { ...SPEC, name, members: seats, scratch: [], rpoMs: RPO_MS }, createdMs);
      const { manifestDigest, contentDigest, objectCount, keyCount } = generationOf(name, {
        epoch: 1n,
        number: FIRST_NUMBER,
      });
      const recoveryPointMs = Math.round(nowMs - (spread * RPO_MS) / 2);
      await trx
        .insertInto('generation')
        .values({
          grp: name,
          epoch: 1n,
          number: FIRST_NUMBER,
          manifest_digest: manifestDigest,
          content_digest: contentDigest,
          object_count: objectCount,
          key_count: keyCount,
          domain_key_version: 1,
          uncaptured: '[]',
          recovery_point_ms: BigInt(recoveryPointMs),
          trace: '{}',
        })
        .execute();
      const sites = seats.map(({ site }) => site);
      await sql`INSERT INTO acknowledgement SELECT ${name}, 1, ${FIRST_NUMBER}, site, ${BigInt(recoveryPointMs)} FROM unnest(${sites.slice(1)}::text[]) site`.execute(
        trx,
      );
      await sql`INSERT INTO scrub SELECT ${name}, site, ${BigInt(Math.round(nowMs - spread * WEEK_MS * 0.9))}, '' FROM unnest(${sites}::text[]) site`.execute(
        trx,
      );
    }
    await sql`UPDATE replication_group SET domain_key_version = 1, highest_version = 1, highest_number = ${FIRST_NUMBER}`.execute(
      trx,
    );
  });
  await store.query((db) => sql`ANALYZE`.execute(db));
}
