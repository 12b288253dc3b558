/** Asks the agent of the site, and writes its answer into the log of events. */
import { type EffectContext, ORDER_TIMEOUT_MS } from '../../operations/context.ts';
import type { Intent } from '../../store/tables/intents.ts';
import type { RollCallEffect, RollCallEvent } from './machine.ts';

export async function rollCall(context: EffectContext, intent: Intent, effect: RollCallEffect): Promise<RollCallEvent> {
  const { group, site } = intent;
  switch (effect.type) {
    case 'ask': {
      const { partitions } = await context.agent(site).describe({}, { timeoutMs: ORDER_TIMEOUT_MS });
      return { type: 'answered', partitions: partitions.length };
    }
    case 'record-answer':
      await context.write(async (_trx, record) =>
        record({ kind: 'roll-called', group, site, details: { partitions: effect.partitions } }),
      );
      return { type: 'written' };
  }
}
