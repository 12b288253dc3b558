import { Metrics } from '@antipode/runtime';
import { expect, it } from 'vitest';
import { OperationMeter } from './operation-meter.ts';

const TRACE = { traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' };

function meter() {
  const metrics = new Metrics({ role: 'coordinator', name: 'main' });
  const samples = async (name: string) => (await metrics.collect()).find((family) => family.name === name)?.samples;
  return { samples, meter: new OperationMeter({ metrics, isSite: (name) => name === 'a' }) };
}

const failover = (value: object) => ({ case: 'failover', value: { reason: 'automatic', ...value } }) as const;
const intent = { kind: 'failover', group: 'payments', trace: TRACE, createdMs: 1_000 } as const;

it('counts a move with its recovery time and its trace when it has ended well', async () => {
  const { meter: told, samples } = meter();
  told.ended(intent, { status: 'done', nowMs: 9_000, found: failover({ recoveryTimeMs: 4_200n }) });
  expect(await samples('antipode_failovers_total')).toEqual([
    { labels: { group: 'payments', reason: 'automatic', outcome: 'done' }, value: 1 },
  ]);
  const [recovery] = (await samples('antipode_failover_recovery_time_seconds'))!;
  expect(recovery).toMatchObject({ labels: { group: 'payments', reason: 'automatic' }, value: { sum: 4.2 } });
  const { exemplars } = recovery!.value as { exemplars: readonly ({ traceId: string } | undefined)[] };
  expect(exemplars.flatMap((one) => one?.traceId ?? [])).toEqual(['4bf92f3577b34da6a3ce929d0e0e4736']);
  expect((await samples('antipode_operation_duration_seconds'))![0]).toMatchObject({
    labels: { kind: 'failover', outcome: 'done' },
    value: { sum: 8 },
  });
});

it('counts a move that was given up, without a recovery time', async () => {
  const { meter: told, samples } = meter();
  told.ended(intent, { status: 'failed', nowMs: 9_000, found: failover({}) });
  expect((await samples('antipode_failovers_total'))![0]!.labels['outcome']).toBe('failed');
  expect(await samples('antipode_failover_recovery_time_seconds')).toBeUndefined();
});

it('does not count an operation that waits for a person as one that has ended', async () => {
  const { meter: told, samples } = meter();
  told.ended({ ...intent, kind: 'domain-key' }, { status: 'parked', nowMs: 9_000, found: undefined });
  expect(await samples('antipode_operation_duration_seconds')).toBeUndefined();
});

it('names only sites that there are, whatever an error says', async () => {
  const { meter: told, samples } = meter();
  told.orderFailed({ kind: 'capture', site: 'a', code: 'HSM_REFUSED' });
  told.orderFailed({ kind: 'capture', site: 'no site of ours', code: 'HSM_REFUSED' });
  expect((await samples('antipode_order_failures_total'))!.map(({ labels }) => labels['site'])).toEqual(['a', '']);
});
