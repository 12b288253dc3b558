/** Has the active member captured, and records what it says. */
import { filterMessage, movementField } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import { deletionsMessage } from '../../groups/group-spec.ts';
import type { Generation, Group } from '../../model.ts';
import { recordCapture, releaseNumber, reserveNumber } from '../../store/tables/generations.ts';
import type { Intent } from '../../store/tables/intents.ts';
import {
  beganMs,
  type EffectContext,
  fenceOf,
  generationFrom,
  requireActive,
  requireRef,
  WORK_TIMEOUT_MS,
} from '../context.ts';
import type { CaptureEvent } from './machine.ts';

export async function capture(context: EffectContext, intent: Intent): Promise<CaptureEvent> {
  const group = await context.group(intent);
  const name = group.spec.name;
  if (requireActive(group).site !== intent.site)
    throw new AntipodeError('ROLE_REFUSED', `site ${intent.site} is not active in group ${name} any more`, {
      details: { group: name, site: intent.site },
    });
  await context.requireNoMove(name);
  const { generation, isNew, sealedObjects } = await captureActive(context, intent, group);
  return { type: 'captured', generation, isNew, sealedObjects };
}

export async function captureActive(
  context: EffectContext,
  intent: Intent,
  group: Group,
  signal?: AbortSignal,
): Promise<{ generation: Generation; isNew: boolean; sealedObjects: number }> {
  const { clock } = context.ports;
  const name = group.spec.name;
  const active = requireActive(group);
  const tenure = { group: name, epoch: group.epoch };
  const seen = context.highestSeen(group);
  const number = await context.writeUnder(tenure, (trx) => reserveNumber(trx, name, { seen }));
  // Read our own clock before the order leaves. The agent's clock may be wrong, and must not make the recovery point
  // look better than it is (I13).
  const leftMs = clock.wallMs();
  const answer = await context.agent(active.site).capture(
    {
      fence: fenceOf(group, intent),
      domainKeyVersion: group.domainKeyVersion,
      filter: filterMessage(group.spec.filter),
      reservedGeneration: number,
      ...movementField(group.spec.movement),
      ...(group.spec.deletions === undefined ? {} : { policy: deletionsMessage(group.spec)! }),
    },
    { timeoutMs: WORK_TIMEOUT_MS, ...(signal === undefined ? {} : { signal }) },
  );
  const generation = generationFrom(requireRef(answer.generation), beganMs(clock, answer, leftMs));
  await context.writeUnder(tenure, async (trx, record) => {
    await recordCapture(trx, name, generation);
    if (!answer.isNew) {
      await releaseNumber(trx, name, number);
      return;
    }
    const { epoch, objectCount: objects, uncaptured } = generation;
    record({
      kind: 'generation-captured',
      group: name,
      site: active.site,
      details: { epoch, number: generation.number, objects, uncaptured: uncaptured.length },
    });
  });
  return { generation, isNew: answer.isNew, sealedObjects: answer.sealedObjects };
}
