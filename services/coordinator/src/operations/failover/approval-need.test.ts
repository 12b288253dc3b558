import type { ApprovalRequest } from '@antipode/protocol';
import { someRequest } from '@antipode/protocol/testing';
import { describe, expect, it } from 'vitest';
import { approvalNeed, type Promotion } from './approval-need.ts';
import type { Candidate, Held, Survey } from './plan.ts';
import { planFailover } from './plan.ts';

const held = (number: bigint, epoch = 1n): Held => ({ epoch, number, manifestDigest: `ab${number}` });
const candidate = (site: string, number: bigint, change: Partial<Candidate> = {}): Candidate => ({
  site,
  serial: `${site}-1`,
  role: 'standby',
  epoch: 1n,
  applied: held(number),
  problem: '',
  approvalsRequired: 2,
  source: 'a',
  ...change,
});
const members = ['a', 'b', 'c'];
const need = (
  reachable: readonly Candidate[],
  {
    epoch = 2n,
    holds = held(5n),
    approvals = [],
    ...more
  }: Partial<Promotion> & { approvals?: readonly ApprovalRequest[] } = {},
) =>
  approvalNeed({ target: { ...reachable[0]!, approvals }, epoch, holds, source: 'a', ...more }, { reachable, members });

describe('the need of an approval', () => {
  it('is none where the target guards nothing', () => {
    expect(need([candidate('b', 5n, { approvalsRequired: 0 })])).toBeUndefined();
  });

  it('is none where everybody else answers and has no more, but for the source', () => {
    expect(need([candidate('b', 5n), candidate('c', 5n)])).toBeUndefined();
  });

  it('is none while a standby is away, if the source answers and no tenure lies between', () => {
    const source = candidate('a', 5n, { role: 'active' });
    expect(need([candidate('b', 5n), source])).toBeUndefined();
    expect(need([candidate('b', 5n), source], { epoch: 3n })).toMatchObject({ silent: ['c'] });
  });

  it('is there where another member has more, or cannot be asked', () => {
    expect(need([candidate('b', 5n), candidate('c', 7n)])).toEqual({
      site: 'b',
      serial: 'b-1',
      epoch: 2n,
      loses: 2n,
      silent: [],
      required: 2,
    });
    expect(need([candidate('b', 5n)])).toMatchObject({ loses: 0n, silent: ['c'] });
  });

  it('is there where another member is in quarantine: its journal may have forgotten a generation', () => {
    const quarantined = candidate('c', 5n, { problem: 'SITE_QUARANTINED' });
    expect(need([candidate('b', 5n), quarantined])).toMatchObject({ loses: 0n, silent: ['c'] });
    expect(need([candidate('b', 5n), { ...quarantined, problem: 'HSM_UNAVAILABLE' }])).toBeUndefined();
  });

  it('is met by an approval on record whose limits allow it', () => {
    const reachable = [candidate('b', 5n), candidate('c', 6n)];
    const by = (changes: Parameters<typeof someRequest>[0]) => need(reachable, { approvals: [someRequest(changes)] });
    expect(by({})).toBeUndefined();
    for (const limits of [
      { losesAtMost: 0, keepsGeneration: 0, withoutHearing: [] },
      { losesAtMost: 1, keepsGeneration: 6, withoutHearing: [] },
    ])
      expect(by({ limits })).toMatchObject({ loses: 1n });
    expect(by({ epochs: { from: 3, to: 4 } })).toBeDefined();
    expect(by({ partitions: someRequest().partitions.slice(1) })).toBeDefined();
    const none = { losesAtMost: 0, keepsGeneration: 0, withoutHearing: [] };
    expect(by({ action: 'break-glass', limits: none })).toBeUndefined();
    const silent = (withoutHearing: string[]) =>
      need([candidate('b', 5n)], { approvals: [someRequest({ limits: { ...none, withoutHearing } })] });
    expect(silent(['a'])).toBeDefined();
    expect(silent(['c'])).toBeUndefined();
  });
});

describe('a failover of a guarded group', () => {
  const survey = (reachable: readonly Candidate[]): Survey => ({
    active: 'a',
    reachable,
    voters: 3,
    highestEpoch: 1n,
    known: [5n, 6n].map((number) => ({ ...held(number), isAcknowledged: true })),
    members,
  });
  const operator = {
    from: 'a',
    wanted: 'b',
    acceptLoss: true,
    reason: 'operator',
    excluded: [],
    accepted: 'all',
  } as const;

  it('is not begun while its target would refuse', () => {
    const reachable = [candidate('b', 5n), candidate('c', 6n, { problem: 'HSM_WORKER_LOST' })];
    const { obstacle, needs } = planFailover(operator, survey(reachable));
    expect(obstacle).toContain('needs the approval of 2 operators');
    expect(needs).toMatchObject({ site: 'b', loses: 1n });
  });

  it('is begun with an approval on record', () => {
    const reachable = [candidate('b', 5n, { approvals: [someRequest()] }), candidate('c', 6n)];
    const plan = planFailover(operator, survey(reachable));
    expect([plan.obstacle, plan.choice?.to]).toEqual([undefined, 'b']);
  });

  it('is begun without one where nothing is lost, also while the target catches up', () => {
    const active = candidate('a', 6n, { role: 'active' });
    expect(planFailover(operator, survey([active, candidate('b', 5n)])).choice).toMatchObject({ canCatchUp: true });
    const automatic = { ...operator, wanted: '', acceptLoss: false, reason: 'automatic', accepted: [] } as const;
    expect(planFailover(automatic, survey([candidate('b', 6n), candidate('c', 6n)])).choice?.to).toBe('b');
  });
});
