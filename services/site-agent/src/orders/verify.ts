/** Reads a staged generation back and uses its keys; only then does it count as applied here. */
import {
  bury,
  findNamesakes,
  type Generation,
  lookForNamesakes,
  type ProofSummary,
  type Replica,
  readBack,
  setAside,
} from '@antipode/hsm-core';
import { digestOf, fenceOf, proofSummary, type VerifyRequest, type VerifyResponseSchema } from '@antipode/protocol';
import { AntipodeError, fromHex, inSpan } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { settleTaken } from '../objects/set-aside-objects.ts';
import { inTenure, type OpenPartition } from '../partition/partition.ts';
import { UnexplainedObjects } from '../partition/unexplained-objects.ts';
import { previousOf, refusedAt, type Site, seatOf } from '../site.ts';
import type { PartitionOf } from '../storage/journal/line.ts';
import type { Touched } from './apply.ts';

export async function verify(
  site: Site,
  touched: Touched,
  request: VerifyRequest,
  signal?: AbortSignal,
): Promise<MessageInitShape<typeof VerifyResponseSchema>> {
  const fence = fenceOf(request);
  const { group, epoch } = fence;
  const { journal, store } = site;
  const { seat, partition } = seatOf(site, group);
  const digest = digestOf(request.generation);
  const mayAct = (): void => {
    site.authority.asStandby({ ...fence, serial: seat.serial });
    if (journal.heads.of(seat, 'staged') === digest) return;
    if (journal.heads.of(seat, 'applied') === digest) return;
    throw new AntipodeError('GENERATION_UNKNOWN', 'the generation is not the one restored here last', {
      details: { group, generation: digest },
    });
  };
  mayAct();
  await site.mender.mend(group, { signal });
  return partition.use(
    inTenure(fence, (open) =>
      inSpan('verify', { 'antipode.group': group, 'antipode.epoch': epoch.toString() }, async () => {
        mayAct();
        const target = await store.open(digest);
        const known = touched.of(seat);
        const objectIds = request.everything || known?.digest !== digest ? 'everything' : known.objectIds;
        const replica = {
          provider: open.provider,
          keyring: open.keyring,
          clock: site.clock,
          memory: open.replica,
          target,
          previous: await previousOf(site, seat),
          journal: journal.intents.ofApply(seat),
          checkFence: mayAct,
        };
        const { contentDigest, proof } = await readBack({ ...replica, objectIds, refused: refusedAt(site, seat) });
        noteUntried(site, seat, { proved: objectIds, proof });
        let counts: ForeignObjects = {};
        if (contentDigest === target.contentDigest && proof.failed === 0) {
          const isBuried = await buryDeleted(site, replica);
          if (isBuried) await stampMended(open, target.generation);
          counts = await clearNames(site, seat, { replica, open });
          // A higher epoch may have come while the token worked; what is staged changes only in a turn like this one.
          mayAct();
          if (journal.heads.of(seat, 'staged') === digest) journal.heads.setApplied(seat, digest);
          if (known?.digest === digest) touched.delete(seat);
        } else {
          // Objects that were restored and proved before are missing or altered. The next apply looks at every object
          // and makes these again.
          mayAct();
          touched.set(seat, { digest: '', objectIds: [], ...known, failed: new Set(proof.failedObjectIds) });
          if (journal.heads.of(seat, 'applied') === digest) {
            open.replica.forget();
            journal.heads.drop(seat, 'applied');
          }
          site.log.error('generation does not verify', {
            group,
            epoch,
            generation: target.generation.number,
            failed: proof.failed,
            digestMatches: contentDigest === target.contentDigest,
          });
        }
        return { contentDigest: fromHex(contentDigest), proof: proofSummary(proof), ...counts };
      }),
    ),
    signal,
  );
}

/**
 * Deleted objects leave the token before the generation counts as applied: no name may find them any more (I14).
 * @returns whether none is left
 */
async function buryDeleted(site: Site, replica: Replica): Promise<boolean> {
  const { buried, left } = await bury({
    ...replica,
    hasBlob: (sha256) => site.store.hasSoundBlob(sha256),
    putBlobs: (blobs) => site.store.putBlobs(blobs),
  });
  const { group, epoch, number: generation } = replica.target.generation;
  if (buried.length > 0)
    site.log.info('deleted objects left the token', { group, epoch, generation, objects: buried.length });
  if (left.length > 0)
    site.log.warn('deleted objects stay in the token', { group, epoch, generation, objects: left.length });
  return left.length === 0;
}

/**
 * An older copy of the store has everything again, and nothing that was deleted. Otherwise the next deletion here as the
 * active member would pass for a loss of the copy.
 */
async function stampMended({ provider, replica }: OpenPartition, { group, epoch, number }: Generation): Promise<void> {
  if (!replica.olderFor.includes(group)) return;
  const isStamped = await provider.stampStore({ group, epoch, number, replacesOlder: true });
  if (isStamped) replica.olderFor = replica.olderFor.filter((one) => one !== group);
}

type ForeignObjects = Pick<MessageInitShape<typeof VerifyResponseSchema>, 'divergentObjects' | 'unaccountedObjects'>;

/** A name finds what the generation has under it, where this member's own past is what lies beside it (I14). */
async function clearNames(
  site: Site,
  seat: PartitionOf,
  { replica, open }: { replica: Replica; open: OpenPartition },
): Promise<ForeignObjects> {
  const { journal, store, log, prng } = site;
  const { group, epoch, number: generation } = replica.target.generation;
  const { setAside: objects, destroyed } = await setAside({
    ...replica,
    wasActive: journal.heads.hasCaptured(seat),
    movement: journal.decisions.movement(group),
    prng,
    store: async (sealed, blobs) => {
      store.putBlobs(blobs.values());
      await store.put(sealed);
      journal.decisions.addAside(group, sealed.digest);
    },
  });
  if (objects.length > 0)
    log.warn('objects made way for those of the generation; they stay sealed at this site', {
      group,
      epoch,
      generation,
      objects: objects.length,
    });
  if (destroyed > 0)
    log.warn('damaged, unusable objects are destroyed; their successors work', {
      group,
      epoch,
      generation,
      objects: destroyed,
    });
  await settleTaken(site, seat, replica.target.generation);
  const { length: left } = await findNamesakes(replica);
  recordNamesakes(site, seat, { generation: replica.target.generation, objects: left });
  if (objects.length === 0) return {};
  // The apply has counted them as in the token.
  const unexplained = await UnexplainedObjects.before(site, open, seat);
  await lookForNamesakes({ ...replica, previous: unexplained.previous });
  const { divergent, unaccounted } = await unexplained.after(replica.target);
  return { divergentObjects: divergent, unaccountedObjects: unaccounted };
}

/** Objects of others that have names of the group in the token of a standby. */
export function recordNamesakes(
  { journal, log }: Site,
  seat: PartitionOf,
  { generation: { group, epoch, number: generation }, objects }: { generation: Generation; objects: number },
): void {
  if (objects > 0 && objects !== journal.findings.namesakes(seat))
    log.warn('other objects have names of the group here', { group, epoch, generation, objects });
  journal.findings.setNamesakes(seat, objects);
}

/** For the people of the site: which keys their applications have to try by themselves. */
export function noteUntried(
  { journal, log }: Site,
  seat: PartitionOf,
  { proved, proof }: { proved: readonly string[] | 'everything'; proof: ProofSummary },
): void {
  const again = new Set(proved === 'everything' ? [] : proved);
  const before = journal.findings.untried(seat);
  const kept = proved === 'everything' ? [] : before.filter(({ objectId }) => !again.has(objectId));
  const now = proof.notExercised.flatMap(({ objectId, uses, reasons }) =>
    uses.map((use, index) => ({ objectId, use, reason: reasons[index] ?? '' })),
  );
  const key = ({ objectId, use }: { objectId: string; use: string }): string => `${objectId} ${use}`;
  const after = [...kept, ...now].sort((a, b) => (key(a) < key(b) ? -1 : 1)).slice(0, UNTRIED_MAX);
  if (JSON.stringify(after) === JSON.stringify(before)) return;
  journal.findings.setUntried(seat, after);
  log.warn('the uses of keys that no proof here can try have changed', { group: seat.group, uses: after.length });
}

/** A list for people; summaries count all. */
const UNTRIED_MAX = 1_000;
