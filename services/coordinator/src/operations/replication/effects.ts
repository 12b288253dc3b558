/** Brings a generation to one standby: applied, verified, acknowledged. */
import { proofOf } from '@antipode/protocol';
import { AntipodeError, hex } from '@antipode/runtime';
import type { Generation, Group, Proof } from '../../model.ts';
import {
  readGeneration,
  readNewest,
  recordAcknowledgement,
  withdrawAcknowledgements,
} from '../../store/tables/generations.ts';
import { readGroup, setForeignObjects } from '../../store/tables/groups.ts';
import { type Intent, requireOpen } from '../../store/tables/intents.ts';
import { type EffectContext, fenceOf, orderRefOf, WORK_TIMEOUT_MS } from '../context.ts';
import type { ReplicationEffect, ReplicationEvent } from './machine.ts';

export async function replication(
  context: EffectContext,
  intent: Intent,
  effect: ReplicationEffect,
): Promise<ReplicationEvent> {
  const { store } = context.ports;
  const group = await context.group(intent);
  const name = group.spec.name;
  const generation = await store.query((db) => readGeneration(db, name, effect));
  if (generation === undefined)
    throw new AntipodeError('GENERATION_UNKNOWN', 'the generation is not in the database', {
      details: { group: name, number: effect.number },
    });
  const target = { site: intent.site, generation };
  if (effect.type === 'apply' || effect.type === 'verify') {
    await context.requireNoMove(name);
    // A generation that only the former active member and a late standby have is out of the line. It would bury keys that
    // are in it.
    if (generation.epoch !== group.epoch)
      throw new AntipodeError(
        'EPOCH_STALE',
        `generation ${generation.number} is of epoch ${generation.epoch}, group ${name} is in epoch ${group.epoch}`,
        {
          details: { group: name, epoch: generation.epoch, inForce: group.epoch },
        },
      );
  }
  switch (effect.type) {
    case 'apply': {
      // A newer one has been captured meanwhile, or this one was lost with its site: nobody should wait for it.
      const newest = await store.query((db) => readNewest(db, name));
      if (newest !== undefined && (newest.epoch !== effect.epoch || newest.number !== effect.number)) {
        throw new AntipodeError(
          'GENERATION_NOT_NEWER',
          `generation ${effect.number} has been superseded by ${newest.number}`,
          {
            details: { group: name, number: effect.number, newest: newest.number },
          },
        );
      }
      const { appliedObjects, pulledBlobs } = await applyAt(context, intent, group, target);
      return { type: 'applied', appliedObjects, pulledBlobs };
    }
    case 'verify':
      return { type: 'verified', ...(await verifyAt(context, intent, group, { ...target, everything: false })) };
    case 'acknowledge':
      // A generation of an earlier tenure may be one that was lost with its site.
      await acknowledge(context, group, { ...target, epoch: effect.epoch, proof: intent });
      return { type: 'acknowledged' };
    case 'withdraw':
      await withdraw(context, group, { ...target, code: effect.code });
      return { type: 'withdrawn' };
  }
}

interface Target {
  readonly site: string;
  readonly generation: Generation;
  /** The epoch in force is the default. */
  readonly fence?: ReturnType<typeof fenceOf>;
  /** Cancels the order. */
  readonly signal?: AbortSignal;
  /** The token is asked once more for what it has refused. */
  readonly retryRefused?: boolean;
}

export async function applyAt(
  context: EffectContext,
  intent: Intent,
  group: Group,
  { site, generation, fence = fenceOf(group, intent), signal, retryRefused = false }: Target,
): Promise<{ appliedObjects: number; pulledBlobs: number; refusedObjects: number }> {
  const sources = await context.holders(group, site);
  const order = { fence, generation: orderRefOf(generation), sources, retryRefused };
  const answer = await context.agent(site).apply(order, optionsOf(signal));
  const { appliedObjects, pulledBlobs, refusedObjects } = answer;
  const { divergentObjects: divergent, unaccountedObjects: unaccounted } = answer;
  await recordForeign(context, group, site, { divergent, unaccounted });
  return { appliedObjects, pulledBlobs, refusedObjects };
}

async function recordForeign(
  context: EffectContext,
  group: Group,
  site: string,
  counts: { divergent: number; unaccounted: number },
): Promise<void> {
  const seat = [...group.members, ...group.joining].find((one) => one.site === site);
  if (seat !== undefined) await context.write((trx) => setForeignObjects(trx, group.spec.name, seat, counts));
}

export async function verifyAt(
  context: EffectContext,
  intent: Intent,
  group: Group,
  { site, generation, everything, fence = fenceOf(group, intent), signal }: Target & { everything: boolean },
): Promise<{ contentDigest: string; proof: Proof }> {
  const answer = await context
    .agent(site)
    .verify({ fence, generation: orderRefOf(generation), everything }, optionsOf(signal));
  const { contentDigest, proof, divergentObjects: divergent, unaccountedObjects: unaccounted } = answer;
  if (divergent !== undefined && unaccounted !== undefined)
    await recordForeign(context, group, site, { divergent, unaccounted });
  return { contentDigest: hex(contentDigest), proof: proofOf(proof) };
}

const optionsOf = (signal: AbortSignal | undefined): { timeoutMs: number; signal?: AbortSignal } => ({
  timeoutMs: WORK_TIMEOUT_MS,
  ...(signal === undefined ? {} : { signal }),
});

/**
 * Under the tenure in which the member verified it, while no later one was issued: from then on, what is acknowledged can
 * no longer hold up the move. `proof` is the operation that proved it, where that may have ended meanwhile.
 * @throws EPOCH_STALE, ROLE_REFUSED
 */
export async function acknowledge(
  context: EffectContext,
  group: Group,
  { site, generation, epoch: underEpoch, proof }: Target & { epoch: bigint; proof?: Intent },
): Promise<void> {
  const { epoch, number } = generation;
  const name = group.spec.name;
  const nowMs = context.ports.clock.wallMs();
  await context.writeUnder({ group: name, epoch: underEpoch }, async (trx, record) => {
    // A removal ends the operations of its site. The partition that has the seat now may be another one (I3, I13).
    if (proof !== undefined) await requireOpen(trx, proof);
    const { members, joining } = await readGroup(trx, name);
    if (![...members, ...joining].some((seat) => seat.site === site))
      throw new AntipodeError('ROLE_REFUSED', `site ${site} has no seat in group ${name} any more`, {
        details: { group: name, site },
      });
    await recordAcknowledgement(trx, name, { epoch, number, site, nowMs });
    record({ kind: 'generation-acknowledged', group: name, site, details: { epoch, number } });
  });
}

/** A member that does not prove what it holds has acknowledged nothing up to there: a scrub is not the only judge (I13). */
export async function withdraw(
  context: EffectContext,
  group: Group,
  { site, generation, code }: { site: string; generation: { epoch: bigint; number: bigint }; code: string },
): Promise<void> {
  const { epoch, number } = generation;
  const name = group.spec.name;
  await context.write(async (trx, record) => {
    await withdrawAcknowledgements(trx, name, { epoch, number, site });
    record({ kind: 'acknowledgements-withdrawn', group: name, site, details: { epoch, number, code } });
  });
}
