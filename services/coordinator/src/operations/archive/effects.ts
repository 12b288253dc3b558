/** Has a site work with its vault, and records what came of it. */
import { archiveWorkNumber, NO_PROOF, proofOf } from '@antipode/protocol';
import { AntipodeError, hasCode } from '@antipode/runtime';
import { archivePolicyOf, isSettled } from '../../model.ts';
import { recordArchiveRun } from '../../store/tables/evidence/archives.ts';
import { recordDrill } from '../../store/tables/evidence/drills.ts';
import type { Intent } from '../../store/tables/intents.ts';
import { beganMs, type EffectContext, fenceOf } from '../context.ts';
import { type ArchiveEffect, type ArchiveEvent, AWAY_CODES } from './machine.ts';

/** Objects move one by one, and a partition has thousands. The driver ends a run that hangs long before. */
const ARCHIVE_TIMEOUT_MS = 12 * 3_600_000;

export async function archive(context: EffectContext, intent: Intent, effect: ArchiveEffect): Promise<ArchiveEvent> {
  const { clock } = context.ports;
  const group = await context.group(intent);
  const { name } = group.spec;
  const { work, serial, backup, isScheduled } = effect.target;
  if (effect.type === 'record-work') {
    await record(context, intent, effect);
    return { type: 'recorded' };
  }
  await context.requireNoMove(name);
  if (!isSettled(group))
    throw new AntipodeError('GROUP_BUSY', `nobody is active in group ${name}`, { details: { group: name } });
  const plain = fenceOf(group, intent);
  const fence = work === 'restore' ? await context.guarded(group, intent, plain, 'restore') : plain;
  const leftMs = clock.wallMs();
  const fromMs = clock.monotonicMs();
  const asked = await context
    .agent(intent.site)
    .archive(
      {
        fence,
        archiveId: intent.id,
        vaultSerial: serial,
        work: archiveWorkNumber(work),
        backup,
        keep: archivePolicyOf(group.spec).keep,
      },
      { timeoutMs: ARCHIVE_TIMEOUT_MS },
    )
    .catch((thrown: unknown) => {
      if (isScheduled && hasCode(thrown, ...AWAY_CODES)) return thrown.code;
      return overtaken(thrown);
    });
  if (typeof asked === 'string') return { type: 'away', code: asked };
  const answer = asked;
  const tookMs = Math.max(clock.monotonicMs() - fromMs, Number(answer.order?.ageMs ?? 0n));
  return {
    type: 'worked',
    outcome: {
      verdict: answer.verdict,
      why: answer.why,
      backup: answer.backup?.name ?? '',
      epoch: answer.backup?.generation?.epoch ?? 0n,
      number: answer.backup?.generation?.generation ?? 0n,
      objects: answer.movedObjects,
      deleted: answer.deleted,
      safetyBackup: answer.safetyBackup,
      proof: answer.proof === undefined ? NO_PROOF : proofOf(answer.proof),
      isClean: answer.isClean,
      startedMs: beganMs(clock, answer, leftMs),
      recoveryTimeMs: Math.round(tookMs - (answer.times?.cleanMs ?? 0)),
      evidence: answer.evidence,
      signature: Buffer.from(answer.signature).toString('base64'),
      signer: Buffer.from(answer.signer).toString('base64'),
    },
  };
}

/** In one transaction: the record, the drill among the others, and the event. */
async function record(
  context: EffectContext,
  intent: Intent,
  { target: { work, serial, backup }, code, outcome }: Extract<ArchiveEffect, { type: 'record-work' }>,
): Promise<void> {
  const { id, group, site, createdMs } = intent;
  const startedMs = outcome?.startedMs ?? createdMs;
  const signed = {
    evidence: outcome?.evidence ?? '',
    signature: Buffer.from(outcome?.signature ?? '', 'base64'),
    signer: Buffer.from(outcome?.signer ?? '', 'base64'),
  };
  const proof = outcome?.proof ?? NO_PROOF;
  const name = outcome?.backup ?? backup;
  await context.write(async (trx, recordEvent) => {
    await recordArchiveRun(trx, {
      ...{ id, group, site, serial, work, startedMs, proof },
      backup: name,
      epoch: outcome?.epoch ?? 0n,
      number: outcome?.number ?? 0n,
      verdict: outcome?.verdict ?? '',
      errorCode: code,
      objects: outcome?.objects ?? 0,
      ...signed,
    });
    if (work === 'drill')
      await recordDrill(trx, {
        ...{ id, group, site, startedMs, proof },
        number: outcome?.number ?? 0n,
        passed: code === '',
        errorCode: code,
        recoveryTimeMs: outcome?.recoveryTimeMs ?? 0,
        vault: serial,
        ...signed,
      });
    const kind = code === '' ? 'archive-worked' : 'archive-not-worked';
    const details = { archive: id, work, vault: serial, backup: name, verdict: outcome?.verdict ?? '', code };
    recordEvent({ kind, group, site, details });
  });
}

/** A move has overtaken it, which says nothing of the vault. It begins again under the epoch in force. */
function overtaken(thrown: unknown): never {
  if (!hasCode(thrown, 'EPOCH_STALE')) throw thrown;
  throw new AntipodeError('GROUP_BUSY', 'the active role has moved during work with a vault, which begins again', {
    cause: thrown,
    details: thrown.details,
  });
}
