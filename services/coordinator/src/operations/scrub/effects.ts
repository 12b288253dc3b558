/**
 * Orders a member to look for silent damage, and records the result. A damaged replica no longer counts as having
 * acknowledged anything (I13).
 */
import { proofOf } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import { recordScrub } from '../../store/tables/evidence/scrubs.ts';
import { withdrawAcknowledgements } from '../../store/tables/generations.ts';
import { type Intent, requireOpen } from '../../store/tables/intents.ts';
import { beganMs, type EffectContext, fenceOf, requireRef, WORK_TIMEOUT_MS } from '../context.ts';
import { DAMAGE_CODES, type ScrubEffect, type ScrubEvent } from './machine.ts';

export async function scrub(context: EffectContext, intent: Intent, effect: ScrubEffect): Promise<ScrubEvent> {
  const group = await context.group(intent);
  const name = group.spec.name;
  const { site } = intent;
  if (effect.type === 'record-scrub') {
    const { code, outcome } = effect;
    await context.write(async (trx, record) => {
      const startedMs = outcome?.startedMs ?? intent.createdMs;
      // A removal ends the operations of its site. The partition that has the seat now may be another one (I13).
      await requireOpen(trx, intent);
      const hasLooked = code === '' || DAMAGE_CODES.has(code);
      await recordScrub(trx, { group: name, site, startedMs, errorCode: code, hasLooked });
      if (code !== '' && outcome?.isReplica) await withdrawAcknowledgements(trx, name, { ...outcome, site });
      const kind = code === '' ? 'scrub-passed' : 'scrub-failed';
      record({ kind, group: name, site, details: { scrub: intent.id, code, number: outcome?.number ?? 0n } });
    });
    return { type: 'recorded' };
  }
  const member = group.members.find((one) => one.site === site);
  if (member === undefined)
    throw new AntipodeError('NOT_FOUND', `site ${site} has no seat in group ${name}`, {
      details: { group: name, site },
    });
  const { clock } = context.ports;
  const leftMs = clock.wallMs();
  const sources = await context.holders(group, site);
  const order = { fence: fenceOf(group, intent), sources };
  const answer = await context.agent(site).scrub(order, { timeoutMs: WORK_TIMEOUT_MS });
  const { epoch, generation: number } = requireRef(answer.generation);
  return {
    type: 'scrubbed',
    outcome: {
      startedMs: beganMs(clock, answer, leftMs),
      isReplica: member.role !== 'active',
      epoch,
      number,
      proof: proofOf(answer.proof),
      missing: answer.missingObjects,
      altered: answer.alteredObjects,
      mendedBlobs: answer.mendedBlobs,
    },
  };
}
