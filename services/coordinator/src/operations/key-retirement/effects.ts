/**
 * Orders one site to destroy the domain key versions that nobody needs. Checks every member once more right before each
 * order.
 */
import { contradictionOf } from '../../groups/contradiction.ts';
import { readAcknowledged, readNewest } from '../../store/tables/generations.ts';
import { readGroup } from '../../store/tables/groups.ts';
import { type Intent, readOpenIntents } from '../../store/tables/intents.ts';
import { type EffectContext, fenceOf, orderRefOf, WORK_TIMEOUT_MS } from '../context.ts';
import type { KeyRetirementEffect, KeyRetirementEvent, Retired } from './machine.ts';
import { olderKeysNeededFor, seatsWithOlderKeys } from './older-keys.ts';

export async function keyRetirement(
  context: EffectContext,
  intent: Intent,
  effect: KeyRetirementEffect,
): Promise<KeyRetirementEvent> {
  const { site } = intent;
  if (effect.type === 'record') {
    const { destroyed } = effect;
    await context.write(async (_trx, record) => {
      for (const { serial, versions } of destroyed)
        record({
          kind: 'domain-key-destroyed',
          group: intent.group,
          site,
          details: { serial, versions: versions.join(', ') },
        });
    });
    return { type: 'recorded' };
  }
  const view = context.ports.detector.snapshot();
  const facts = await context.ports.store.snapshot(async (db) => ({
    group: await readGroup(db, intent.group),
    newest: await readNewest(db, intent.group),
    acknowledged: await readAcknowledged(db, intent.group),
    open: await readOpenIntents(db, { group: intent.group }),
  }));
  const { group, newest } = facts;
  const contradiction = contradictionOf({ ...facts, view });
  // Whatever has changed since this was planned: it is planned again when it is so again.
  if (newest === undefined || olderKeysNeededFor({ ...facts, contradiction, view }) !== '')
    return { type: 'destroyed', destroyed: [] };
  const destroyed: Retired[] = [];
  let failure: unknown;
  for (const { serial } of seatsWithOlderKeys({ group, view }).filter((seat) => seat.site === site)) {
    const sources = await context.holders(group, site);
    const order = { fence: fenceOf(group, intent), serial, generation: orderRefOf(newest), sources };
    try {
      const { destroyed: versions } = await context.agent(site).retireDomainKeys(order, { timeoutMs: WORK_TIMEOUT_MS });
      if (versions.length > 0) destroyed.push({ serial, versions });
    } catch (thrown) {
      failure ??= thrown;
    }
  }
  // Versions destroyed in one partition are recorded even if another partition failed. The rest is planned again.
  if (failure !== undefined && destroyed.length === 0) throw failure;
  return { type: 'destroyed', destroyed };
}
