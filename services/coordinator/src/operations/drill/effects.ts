/** Has a generation rehearsed in a scratch partition, and records what came of it. */
import { NO_PROOF, proofOf } from '@antipode/protocol';
import { AntipodeError, hasCode } from '@antipode/runtime';
import { isSettled } from '../../model.ts';
import { recordDrill } from '../../store/tables/evidence/drills.ts';
import { readGeneration } from '../../store/tables/generations.ts';
import type { Intent } from '../../store/tables/intents.ts';
import { beganMs, type EffectContext, fenceOf, orderRefOf, WORK_TIMEOUT_MS } from '../context.ts';
import type { DrillEffect, DrillEvent } from './machine.ts';

export async function drill(context: EffectContext, intent: Intent, effect: DrillEffect): Promise<DrillEvent> {
  const { store, clock, agents } = context.ports;
  const group = await context.group(intent);
  const name = group.spec.name;
  if (effect.type === 'record-drill') {
    const { outcome, code, number } = effect;
    await context.write(async (trx, record) => {
      await recordDrill(trx, {
        id: intent.id,
        group: name,
        site: intent.site,
        number,
        passed: code === '',
        proof: outcome?.proof ?? NO_PROOF,
        errorCode: code,
        startedMs: outcome?.startedMs ?? intent.createdMs,
        recoveryTimeMs: outcome?.recoveryTimeMs ?? 0,
        evidence: outcome?.evidence ?? '',
        signature: Buffer.from(outcome?.signature ?? '', 'base64'),
        signer: Buffer.from(outcome?.signer ?? '', 'base64'),
      });
      const kind = code === '' ? 'drill-passed' : 'drill-failed';
      record({ kind, group: name, site: intent.site, details: { drill: intent.id, number, code } });
    });
    return { type: 'recorded' };
  }
  const generation = await store.query((db) => readGeneration(db, name, effect));
  if (generation === undefined)
    throw new AntipodeError('GENERATION_UNKNOWN', 'the generation is not in the database', {
      details: { group: name, number: effect.number },
    });
  await context.requireNoMove(name);
  if (!isSettled(group))
    throw new AntipodeError('GROUP_BUSY', `nobody is active in group ${name}`, { details: { group: name } });
  const leftMs = clock.wallMs();
  const fromMs = clock.monotonicMs();
  const order = {
    fence: fenceOf(group, intent),
    drillId: intent.id,
    generation: orderRefOf(generation),
    scratchSerial: effect.serial,
    sources: group.members.map(({ site }) => agents.address(site)),
  };
  const answer = await context.agent(intent.site).drill(order, { timeoutMs: WORK_TIMEOUT_MS }).catch(overtaken);
  const tookMs = Math.max(clock.monotonicMs() - fromMs, Number(answer.order?.ageMs ?? 0n));
  return {
    type: 'rehearsed',
    outcome: {
      proof: proofOf(answer.proof),
      isClean: answer.isClean,
      startedMs: beganMs(clock, answer, leftMs),
      // A real restore does not include cleaning up.
      recoveryTimeMs: Math.round(tookMs - (answer.times?.cleanMs ?? 0)),
      evidence: answer.evidence,
      signature: Buffer.from(answer.signature).toString('base64'),
      signer: Buffer.from(answer.signer).toString('base64'),
    },
  };
}

/**
 * A move has overtaken the drill, which says nothing of its keys. The drill begins again under the epoch in force.
 * Otherwise it would count as failed until the next one is due.
 */
function overtaken(thrown: unknown): never {
  if (!hasCode(thrown, 'EPOCH_STALE')) throw thrown;
  throw new AntipodeError('GROUP_BUSY', 'the active role has moved during the drill, which begins again', {
    cause: thrown,
    details: thrown.details,
  });
}
