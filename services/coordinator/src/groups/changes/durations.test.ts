import { describe, expect, it } from 'vitest';
import type { Intent } from '../../store/tables/intents.ts';
import { generation, intent } from '../../testing/situation.ts';
import type { GroupChange } from './change.ts';
import { type DurationFacts, durationsOf } from './durations.ts';

const SCRATCH: GroupChange = { kind: 'scratch', seats: [] };
const done = (kind: Intent['kind'], id: string, tookMs: number, state: object = {}, site = ''): Intent =>
  intent(kind, {
    id,
    site,
    status: 'done',
    createdMs: 1_000,
    updatedMs: 1_000 + tookMs,
    state: { phase: 'p', ...state },
  });

const facts = (past: Partial<DurationFacts['past']> = {}): DurationFacts => ({
  past: { domainKeys: [], captures: [], replications: [], ...past },
  newest: generation({ objectCount: 100 }),
  heartbeatMs: 1_000,
  toWallMs: (ms) => ms + 1_000,
});

describe('the duration of a change of the partitions', () => {
  it('is what each step took last time, with the operation that it was measured by, and the sum', () => {
    const past = {
      domainKeys: [done('domain-key', 'k2', 300), done('domain-key', 'k1', 900)],
      captures: [done('capture', 'c9', 5, { sealedObjects: 2 }), done('capture', 'c1', 4_000, { sealedObjects: 95 })],
      replications: [
        done('replication', 'r3', 10, { appliedObjects: 1 }, 'b'),
        done('replication', 'r2', 2_000, { appliedObjects: 100 }, 'b'),
        done('replication', 'r1', 7_000, { appliedObjects: 100 }, 'c'),
        done('replication', 'r0', 9_000, { appliedObjects: 100 }, 'c'),
      ],
    };
    const durations = durationsOf(SCRATCH, facts(past));
    expect(durations.map(({ ms }) => ms)).toEqual([300n, 4_000n, 7_000n, 11_300n]);
    expect(durations.slice(0, 3).map(({ source }) => source)).toEqual([
      'measured: operation k2 of 1970-01-01T00:00:02.000Z',
      'measured: operation c1 of 1970-01-01T00:00:02.000Z, 95 objects sealed',
      'measured: operation r1 of 1970-01-01T00:00:02.000Z, 100 objects restored at the slowest site',
    ]);
  });

  it('is not known for a step that was never done with everything, and there is no sum then', () => {
    const past = {
      domainKeys: [done('domain-key', 'k', 300)],
      captures: [done('capture', 'c', 5, { sealedObjects: 89 })],
    };
    for (const change of [SCRATCH, { kind: 'add-member', seat: { site: 'd', serial: 's' } } as const]) {
      const durations = durationsOf(change, facts(past));
      expect(durations.map(({ ms }) => ms)).toEqual([300n, undefined, undefined]);
      expect(durations[1]?.source).toContain('no such operation on record');
    }
  });
});

it('a change of settings is in force at once, and a deletion reaches the agents with a heartbeat', () => {
  expect(durationsOf({ kind: 'settings', settings: {} as never }, facts()).map(({ ms }) => ms)).toEqual([0n]);
  expect(durationsOf({ kind: 'delete' }, facts()).map(({ ms }) => ms)).toEqual([0n, 1_000n]);
});
