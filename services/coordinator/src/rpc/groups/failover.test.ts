/** The plan of a failover, as an operator is shown it. */
import { PlanFailoverRequestSchema, VOUCH_MS } from '@antipode/protocol';
import { create } from '@bufbuild/protobuf';
import { beforeEach, describe, expect, it } from 'vitest';
import { surelyOver } from '../../sites/leases.ts';
import { setVouchers } from '../../store/tables/groups.ts';
import { testDatabase } from '../../testing/database.ts';
import { EffectsBench } from '../../testing/effects-bench.ts';
import { OPERATOR, OperatorBench, TIMINGS } from '../../testing/operator-bench.ts';
import { failoverHandlers } from './failover.ts';

const database = testDatabase();
let bench: OperatorBench;
let effects: EffectsBench;

beforeEach(async () => {
  bench = new OperatorBench(database);
  effects = new EffectsBench(database);
  await database.rows.group();
  effects.answers.set('describe a', 'SITE_UNREACHABLE');
  // Every lease of the leader before is over.
  await bench.clock.advance(TIMINGS.leaseMs * 2);
});

/** Site b gave its word so long ago, by its last heartbeat. */
function vouched(silentMs: number): void {
  bench.hear('b');
  const view = bench.detector.view('b')!;
  bench.detector.heard(view.state!, { address: 'b:1', vouching: { vouchees: [], silentMs } });
}

async function leaseWaitMs(): Promise<number> {
  const ports = { ...bench.ports, context: effects.context };
  const request = create(PlanFailoverRequestSchema, { group: 'payments', toSite: 'b' });
  return Number((await failoverHandlers(ports).planFailover(request, OPERATOR)).leaseWaitMs);
}

describe('the wait that a plan shows', () => {
  it('has no part for sites that have no right to vouch', async () => {
    vouched(0);
    expect(await leaseWaitMs()).toBe(0);
  });

  it('has the time until the last word of other sites is over', async () => {
    await database.rows.write((trx) => setVouchers(trx, 'payments', { epoch: 1n, vouchers: ['b', 'c'] }));
    expect(await leaseWaitMs()).toBe(Math.round(surelyOver(VOUCH_MS)));
    vouched(0);
    expect(await leaseWaitMs()).toBe(Math.round(surelyOver(VOUCH_MS)));
    await bench.clock.advance(1_000);
    expect(await leaseWaitMs()).toBeLessThan(surelyOver(VOUCH_MS) - 700);
    vouched(60_000);
    expect(await leaseWaitMs()).toBe(0);
  });
});
