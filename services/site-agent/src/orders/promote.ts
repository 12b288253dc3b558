/**
 * Makes a standby the active member. It first reads back and uses every object (I4), and then persists the role (I1).
 * The member has no lease yet. The lease comes by heartbeat, as always, once the coordinator has put the new tenure in
 * force.
 */
import { readBack } from '@antipode/hsm-core';
import { digestOf, fenceOf, type PromoteRequest, proofSummary } from '@antipode/protocol';
import { AntipodeError, inSpan } from '@antipode/runtime';
import { guardPromotion } from '../approvals/promotion-guard.ts';
import { inTenure } from '../partition/partition.ts';
import { checkCaller } from '../partition/turns.ts';
import { newestHere, previousOf, refusedAt, type Site, seatOf } from '../site.ts';
import { retryRefused } from './apply.ts';
import { HEADS } from './describe.ts';

export async function promote(
  site: Site,
  request: PromoteRequest,
  signal?: AbortSignal,
): Promise<{ proof: ReturnType<typeof proofSummary> }> {
  const fence = fenceOf(request);
  const { group, epoch, requestId } = fence;
  const { journal, store } = site;
  const { seat, partition } = seatOf(site, group);
  const refuse = (why: string, details: Record<string, string> = {}): never => {
    throw new AntipodeError('ROLE_REFUSED', why, { details: { group, ...details } });
  };
  const headsNow = (): string => HEADS.map((kind) => journal.heads.of(seat, kind)).join(' ');
  /** The heads at the time when the base was found. */
  let heads: string | undefined;
  const mayAct = (): void => {
    const { role } = site.authority.asSuccessor({ ...fence, serial: seat.serial });
    if (role === 'standby' && heads !== undefined && heads !== headsNow())
      refuse('the newest generation here has changed in the meantime');
  };
  /** The generation that this member would go on from. */
  const base = async (): Promise<string | undefined> => {
    heads = undefined;
    mayAct();
    const found = headsNow();
    const newest = await newestHere(site, seat);
    // A repeated order meets a member that is active by the first one, and may have captured since.
    const { role } = seatOf(site, group).seat;
    if (role === 'standby' && request.generation !== undefined && newest?.digest !== digestOf(request.generation))
      refuse('the newest generation here is not the one in the order', { newest: newest?.digest ?? 'none' });
    heads = found;
    mayAct();
    return newest?.digest;
  };
  await site.mender.mend(group, { signal });
  await base();
  // A repeated order meets a member that is active by the first one.
  if (seat.role === 'standby') {
    await guardPromotion(site, { fence, serial: seat.serial, signal });
    // This site has persisted the epoch, so it gives no further word.
    await site.vouches.untilOver(group, signal);
    await site.deviceCopies.untilOver(seat);
  }
  return partition.use(
    inTenure(fence, (open) =>
      inSpan('promote', { 'antipode.group': group, 'antipode.epoch': epoch.toString() }, async () => {
        const digest = await base();
        const target = digest === undefined ? undefined : await store.open(digest);
        if (target !== undefined && seatOf(site, group).seat.role === 'standby')
          await retryRefused(site, open, { seat, target, checkFence: mayAct });
        const proof =
          target === undefined
            ? { proved: 0, failed: 0, failedObjectIds: [], usesNotExercised: 0, notExercised: [] }
            : (
                await readBack({
                  ...open,
                  clock: site.clock,
                  memory: open.replica,
                  target,
                  previous: await previousOf(site, seat),
                  journal: journal.intents.ofApply(seat),
                  checkFence: mayAct,
                  objectIds: 'everything',
                  refused: refusedAt(site, seat),
                })
              ).proof;
        if (proof.failed > 0) {
          throw new AntipodeError('OBJECT_UNPROVEN', `${proof.failed} keys do not work, so this site is not promoted`, {
            details: { group, objectIds: proof.failedObjectIds.slice(0, 20).join(',') },
          });
        }
        mayAct();
        // The caller has gone, and may have turned to another site. Do not take a role that nobody knows of.
        checkCaller(signal);
        journal.tenure.setSeat(group, seat.serial, 'active');
        site.log.info('promoted to active', { group, epoch, request: requestId, proved: proof.proved });
        return { proof: proofSummary(proof) };
      }),
    ),
    signal,
    'urgent',
  );
}
