/**
 * Rehearses a restore in a scratch partition. It opens no partition but one that this site's own configuration declares
 * as scratch (I7). It writes to that partition, or empties it, only if the partition held no keys and no private
 * objects when the drill began. The next drill cleans up after one that was cut short. A drill needs no other site if
 * the generation is here.
 */
import { emptyScratch, lookIntoScratch, type Rehearsal, rehearse } from '@antipode/hsm-core';
import { type DrillRequest, type DrillResponseSchema, digestOf, fenceOf, proofSummary } from '@antipode/protocol';
import { AntipodeError, canonicalJson, hasCode, inSpan } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { PartitionSettings } from '../config.ts';
import type { OpenPartition } from '../partition/partition.ts';
import type { Site } from '../site.ts';
import { EVIDENCE_PREFIX } from './evidence.ts';

/** Objects that are named with the uses that nothing could try; the count beside them is whole. */
const NOT_EXERCISED_MAX = 1_000;

export async function drill(
  site: Site,
  request: DrillRequest,
  signal?: AbortSignal,
): Promise<MessageInitShape<typeof DrillResponseSchema>> {
  const fence = fenceOf(request);
  const { group } = fence;
  const { clock, partitions, store, transfer } = site;
  const scratch = partitions.all.find(({ serial }) => serial === request.scratchSerial);
  if (scratch === undefined || scratch.settings.role !== 'scratch') {
    throw new AntipodeError(
      'SCRATCH_REFUSED',
      `partition ${request.scratchSerial} is not declared as scratch at this site`,
      { details: { serial: request.scratchSerial } },
    );
  }
  const seat = site.journal.tenure.seats().find(({ serial }) => serial === request.scratchSerial);
  if (seat !== undefined)
    throw new AntipodeError(
      'SCRATCH_REFUSED',
      `partition ${request.scratchSerial} has the seat of this site in group ${seat.group}`,
      {
        details: { serial: request.scratchSerial, group: seat.group },
        hint: `Remove this site from group ${seat.group} first, or declare the partition as a member again.`,
      },
    );
  const startedMs = clock.wallMs();
  const pullStartMs = clock.monotonicMs();
  const { sealed } = await transfer.pull({
    group,
    digest: digestOf(request.generation),
    sources: request.sources,
    signal,
  });
  const pullMs = clock.monotonicMs() - pullStartMs;
  const inTurn = () =>
    scratch.use(
      (open) =>
        inSpan('drill', { 'antipode.group': group, 'antipode.drill': request.drillId }, async () => {
          site.authority.inForce(fence);
          const rehearsal = await inScratch(site, open, {
            drillId: request.drillId,
            group,
            work: () =>
              rehearse({
                provider: open.under(fence).provider,
                keyring: open.keyring,
                clock,
                target: sealed,
                blobOf: (sha256) => store.blob(sha256),
              }),
          });
          const times = {
            pullMs: Math.round(pullMs),
            restoreMs: Math.round(rehearsal.restoreMs),
            proveMs: Math.round(rehearsal.proveMs),
            cleanMs: Math.round(rehearsal.cleanMs),
          };
          const { generation } = sealed;
          const evidence = canonicalJson({
            drillId: request.drillId,
            group,
            site: site.name,
            epoch: generation.epoch.toString(),
            generation: generation.number.toString(),
            manifestDigest: sealed.digest,
            contentDigest: sealed.contentDigest,
            contentDigestMatches: rehearsal.isEqual,
            source: {
              serial: generation.source.serial,
              model: generation.source.model,
              firmware: generation.source.firmware,
              identity: generation.source.identitySha256,
            },
            scratch: {
              serial: open.description.serial,
              model: open.description.model,
              firmware: open.description.firmware,
              identity: open.keyring.identity.sha256,
              clean: rehearsal.isClean,
              strangers: rehearsal.strangers,
            },
            objects: {
              expected: generation.entries.length,
              proved: rehearsal.proof.proved,
              failed: rehearsal.proof.failed,
              failedIds: rehearsal.proof.failedObjectIds,
              usesNotExercised: rehearsal.proof.usesNotExercised,
              notExercised: rehearsal.proof.notExercised
                .slice(0, NOT_EXERCISED_MAX)
                .map(({ objectId, uses }) => ({ objectId, uses: [...uses] })),
              uncaptured: generation.uncaptured.length,
            },
            times,
            startedMs,
            endedMs: clock.wallMs(),
            software: `antipode ${site.version}`,
          });
          const signature = await open.provider.signAsIdentity(
            open.keyring.identity.handle,
            Buffer.concat([EVIDENCE_PREFIX, Buffer.from(evidence)]),
          );
          site.log.info('drill done', {
            group,
            drill: request.drillId,
            generation: generation.number,
            proved: rehearsal.proof.proved,
            failed: rehearsal.proof.failed,
            clean: rehearsal.isClean,
            strangers: rehearsal.strangers,
          });
          const failed = rehearsal.isEqual
            ? rehearsal.proof
            : { ...rehearsal.proof, failed: Math.max(1, rehearsal.proof.failed) };
          return {
            proof: proofSummary(failed),
            times,
            isClean: rehearsal.isClean,
            evidence,
            signature,
            signer: open.keyring.identity.publicHalf,
          };
        }),
      signal,
    );
  return store.inUse.during(sealed, inTurn);
}

/**
 * Runs a rehearsal between the journal's two records. It begins only in a partition without keys and private objects.
 * From then until it ends, every object in the partition is the drill's, except the strangers that were there before.
 * @throws SCRATCH_REFUSED when somebody else's objects are in it, DRILL_UNCLEAN when an earlier drill's cannot be
 * removed
 */
async function inScratch(
  { journal, log }: Site,
  open: OpenPartition,
  { drillId, group, work }: { drillId: string; group: string; work: () => Promise<Rehearsal> },
): Promise<Rehearsal> {
  const { serial } = open.description;
  // Nothing of a drill stays because its tenure has ended meanwhile: it is taken away in the one that holds now.
  const now = (): OpenPartition => open.under({ group, epoch: journal.tenure.fence(group)?.epoch ?? 0n });
  const cutShort = journal.drills.open(serial);
  if (cutShort !== undefined) {
    if (!(await emptyScratch({ ...now(), looks: journal.drills.strangers(serial) })))
      throw new AntipodeError('DRILL_UNCLEAN', `the leftovers of drill ${cutShort} cannot be removed`, {
        details: { serial, drill: cutShort },
      });
    journal.drills.end(serial);
  }
  const { foreign, strangers, looks } = await lookIntoScratch(open);
  if (foreign > 0)
    throw new AntipodeError('SCRATCH_REFUSED', `the scratch partition holds ${foreign} objects, expected none`, {
      details: { serial, objects: foreign },
    });
  if (strangers.size > 0)
    log.warn('the scratch partition has objects that can be made without a PIN; they are left alone', {
      serial,
      drill: drillId,
      objects: [...strangers.values()].reduce((sum, copies) => sum + copies, 0),
    });
  // Whatever it once held as a member is not in it any more.
  journal.tenure.forgetPartition(serial);
  journal.drills.begin(serial, drillId, looks);
  try {
    const rehearsal = await work();
    if (rehearsal.isClean) journal.drills.end(serial);
    return rehearsal;
  } catch (thrown) {
    // Refused: somebody was quicker, and nothing in there is ours. Anything else has cleaned up, if the token let it.
    const isOver =
      hasCode(thrown, 'SCRATCH_REFUSED') || (await emptyScratch({ ...now(), strangers }).catch(() => false));
    if (isOver) journal.drills.end(serial);
    throw thrown;
  }
}

/**
 * A drill that was cut short owns everything in its partition until the next drill. It ends where the partition is not
 * declared as scratch any more: objects that are made there from now on belong to no drill, even if it is scratch again
 * one day.
 */
export function endStrayDrills({
  settings,
  journal,
  log,
}: Pick<Site, 'journal' | 'log'> & { settings: readonly Pick<PartitionSettings, 'name' | 'role'>[] }): void {
  for (const { name, role } of settings) {
    const serial = journal.identities.of(name)?.serial;
    const drill = serial === undefined || role === 'scratch' ? undefined : journal.drills.open(serial);
    if (serial === undefined || drill === undefined) continue;
    journal.drills.end(serial);
    log.warn('a drill was cut short in a partition that is not scratch any more; it may have left objects', {
      partition: name,
      serial,
      drill,
    });
  }
}
