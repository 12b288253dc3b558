/** Makes a standby the active member: everything is read back and used first (I4), then the role is persisted (I1). */
import { readBack } from '@antipode/hsm-core';
import type { PromoteRequest } from '@antipode/protocol';
import { AntipodeError, inSpan } from '@antipode/runtime';
import { digestOf } from './generation-ref.ts';
import { fenceOf, headOf, type Site, seatOf } from './site.ts';
import { proofMessage } from './verify.ts';

/** The agent stops a quarter early, so that clocks may differ in rate and messages take their time. */
const SELF_STOP_SHARE = 0.75;

export async function promote(
  site: Site,
  request: PromoteRequest,
): Promise<{ proof: ReturnType<typeof proofMessage> }> {
  const receivedAtMs = site.clock.monotonicMs();
  const { group, epoch, owner } = fenceOf(request);
  const { journal, leases, fences } = site;
  const { seat, partition } = seatOf(site, group);
  if (owner !== site.name)
    throw new AntipodeError('ROLE_REFUSED', `epoch ${epoch} belongs to ${owner}, not to this site`, {
      details: { group, owner },
    });
  if (seat.role === 'fenced')
    throw new AntipodeError('ROLE_REFUSED', `this site is fenced in group ${group}`, {
      details: { group, role: seat.role },
    });
  const applied = headOf(site, group, 'applied');
  if (seat.role === 'standby' && request.generation !== undefined && applied?.digest !== digestOf(request.generation)) {
    throw new AntipodeError('ROLE_REFUSED', 'another generation is applied here than the order says', {
      details: { group, applied: applied?.digest ?? 'none' },
    });
  }
  const proof = await partition.use((open) =>
    inSpan('promote', { 'antipode.group': group, 'antipode.epoch': epoch.toString() }, async () => {
      if (applied === undefined) return { proved: 0, failed: 0, failedObjectIds: [], usesNotExercised: 0 };
      const read = await readBack({
        provider: open.provider,
        keyring: open.keyring,
        memory: open.replica,
        target: applied,
        objectIds: 'everything',
      });
      if (read.proof.failed > 0) {
        throw new AntipodeError(
          'OBJECT_UNPROVEN',
          `${read.proof.failed} keys do not work, so this site is not promoted`,
          {
            details: { group, objectIds: read.proof.failedObjectIds.slice(0, 20).join(',') },
          },
        );
      }
      return read.proof;
    }),
  );
  fences.check(group, epoch);
  journal.setSeat(group, seat.serial, 'active');
  leases.grant({ group, epoch, sentAtMs: receivedAtMs, selfStopMs: Number(request.leaseMs) * SELF_STOP_SHARE });
  site.log.info('promoted to active', { group, epoch, proved: proof.proved });
  return { proof: proofMessage(proof) };
}
