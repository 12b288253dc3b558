/** Has the active member captured, and records what it says. */
import type { CaptureEvent } from '../machines/capture.ts';
import type { Generation, Group } from '../model.ts';
import { readHighestNumber, recordCapture } from '../store/generations.ts';
import type { Intent } from '../store/intents.ts';
import {
  beganMs,
  type EffectContext,
  fenceOf,
  generationFrom,
  requireActive,
  requireRef,
  WORK_TIMEOUT_MS,
} from './context.ts';

export async function capture(context: EffectContext, intent: Intent): Promise<CaptureEvent> {
  const { generation, isNew, sealedObjects } = await captureActive(context, intent, await context.group(intent));
  return { type: 'captured', generation, isNew, sealedObjects };
}

export async function captureActive(
  context: EffectContext,
  intent: Intent,
  group: Group,
): Promise<{ generation: Generation; isNew: boolean; sealedObjects: number }> {
  const { store, clock } = context.ports;
  const name = group.spec.name;
  const active = requireActive(group);
  const { excludeIds, excludeLabels, excludeClasses } = group.spec.filter;
  const aboveGeneration = await store.query((db) => readHighestNumber(db, name));
  // By our clock and from before the order left: the agent's clock may be wrong, and may not make us look better (I13).
  const leftMs = clock.wallMs();
  const answer = await context.agent(active.site).capture(
    {
      fence: fenceOf(group, intent),
      domainKeyVersion: group.domainKeyVersion,
      filter: {
        excludeIds: [...excludeIds],
        excludeLabels: [...excludeLabels],
        excludeClasses: [...excludeClasses],
      },
      aboveGeneration,
    },
    { timeoutMs: WORK_TIMEOUT_MS },
  );
  const generation = generationFrom(requireRef(answer.generation), beganMs(clock, answer, leftMs));
  await context.write(async (trx, record) => {
    await recordCapture(trx, name, generation);
    if (!answer.isNew) return;
    const { epoch, number, objectCount: objects, uncaptured } = generation;
    record({
      kind: 'generation-captured',
      group: name,
      site: active.site,
      details: { epoch, number, objects, uncaptured: uncaptured.length },
    });
  });
  return { generation, isNew: answer.isNew, sealedObjects: answer.sealedObjects };
}
