import { CoordinatorReportSchema } from '@antipode/protocol';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { coordinatorStates } from './coordinators.ts';

type Report = MessageInitShape<typeof CoordinatorReportSchema>;
const MAIN: Report = { coordinator: 'main', address: 'm:1', reached: true, leads: true };
const SOUTH: Report = { coordinator: 'south', address: 's:1' };

/** Each site reports: the first of them now, and each other one a second earlier. */
const shown = (...said: Report[][]) =>
  coordinatorStates({
    id: 'main',
    address: 'm:1',
    leadsForMs: 60_000.4,
    nowMs: 10_000,
    reports: said.map((reports, at) => ({
      site: 'abc'[at]!,
      atMs: 10_000 - at * 1_000,
      coordinators: reports.map((report) => create(CoordinatorReportSchema, report)),
    })),
  });

describe('the coordinators', () => {
  it('are this one alone while no site has said anything', () => {
    expect(shown()).toEqual([
      { coordinator: 'main', address: 'm:1', state: 'leads', stateAgeMs: 60_000n, silenceMs: 0n, reachedBy: [] },
    ]);
  });

  it('stand by where a site reaches them, since the longest of what the sites say', () => {
    const first = { ...SOUTH, reached: true, sinceMs: 5_000n, answeredMs: 200n };
    const second = { ...SOUTH, reached: true, sinceMs: 7_000n, answeredMs: 300n };
    const third = { ...SOUTH, reached: false, sinceMs: 90_000n };
    expect(shown([MAIN, first], [MAIN, second], [MAIN, third])).toEqual([
      expect.objectContaining({ coordinator: 'main', reachedBy: ['a', 'b', 'c'] }),
      {
        coordinator: 'south',
        address: 's:1',
        state: 'stands-by',
        stateAgeMs: 8_000n,
        silenceMs: 200n,
        reachedBy: ['a', 'b'],
        missedBy: ['c'],
      },
    ]);
  });

  it('are silent where no site reaches them, with the time of their last answer', () => {
    const silent = { ...SOUTH, reached: false, sinceMs: 4_000n };
    expect(shown([silent], [{ ...silent, answeredMs: 5_000n }])[1]).toMatchObject({
      state: 'silent',
      stateAgeMs: 5_000n,
      silenceMs: 6_000n,
      missedBy: ['a', 'b'],
    });
  });

  it('lead too where one still says so of itself', () => {
    expect(shown([{ ...SOUTH, reached: true, leads: true, sinceMs: 1_000n, answeredMs: 0n }])[1]).toMatchObject({
      state: 'leads',
      stateAgeMs: 1_000n,
    });
  });
});
