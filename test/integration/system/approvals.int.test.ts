/** A group whose agents guard their actions, from its declaration to a failover with a silent member. Simulated. */
import { type ApprovalRequest, FailoverPolicy, type SignedApproval } from '@antipode/protocol';
import { SomeOperators, someRequest } from '@antipode/protocol/testing';
import { rejection } from '@antipode/runtime/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SimulatedSystem } from '../../support/simulated-system.ts';

const GROUP = 'payments';
const SITES = ['a', 'b', 'c', 'd', 'e'];
const NO_LIMITS = { losesAtMost: 0, keepsGeneration: 0, withoutHearing: [] };
const operators = new SomeOperators();
const { required, breakGlass, operators: list } = operators.policy;

describe('a guarded group', () => {
  let system: SimulatedSystem;
  beforeAll(async () => {
    const approvals = { required, breakGlass, operators: [...list], groups: {} };
    system = await SimulatedSystem.start({ seed: 'approvals', approvals }, { sites: SITES, group: GROUP });
  });
  afterAll(() => system.close());

  const shown = async () => (await system.operator.getGroup({ group: GROUP })).group!;
  const partition = (site: string, identity = '') => ({ site, serial: `${site}-1`, role: 'member' as const, identity });
  const request = (changes: Partial<ApprovalRequest>) =>
    someRequest({ limits: NO_LIMITS, ...changes }, system.clock.wallMs());
  const submit = ({ request: bytes, signatures }: SignedApproval) =>
    system.until(system.operator.submitApproval({ approval: { request: bytes, signatures: [...signatures] } }));
  const ended = async (operationId: string) => system.until(system.ended(operationId));
  const spec = {
    name: GROUP,
    members: SITES.map((site) => ({ site, serial: `${site}-1` })),
    scratch: [{ site: 'c', serial: 'c-2' }],
    rpoSeconds: 60,
    failoverPolicy: FailoverPolicy.MANUAL,
  };

  it('gets no domain key before operators have approved its partitions, and then all of it', async () => {
    const first = await system.until(system.operator.createGroup({ spec }));
    expect(await ended(first.operationId)).toMatchObject({ status: 'parked', errorCode: 'APPROVAL_REQUIRED' });
    expect(system.sites.get('a')!.site.journal.tenure.seat(GROUP)).toBeUndefined();
    const scratch = system.sites.get('c')!.scratch.keyring.identity.sha256;
    const partitions = [
      ...SITES.map((site) => partition(site, system.sites.get(site)!.member.keyring.identity.sha256)),
      { site: 'c', serial: 'c-2', role: 'scratch' as const, identity: scratch },
    ];
    const enrol = request({ action: 'enrol', partitions, epochs: { from: 1, to: 99 }, nonce: '1'.repeat(32) });
    await submit(operators.sign(enrol, ['alice', 'bob']));
    const second = await system.until(system.operator.createGroup({ spec }));
    expect(await ended(second.operationId)).toMatchObject({ errorCode: 'APPROVAL_INSUFFICIENT' });
    await submit(operators.sign(enrol, ['carol']));
    const third = await system.until(system.operator.createGroup({ spec }));
    expect(await ended(third.operationId)).toMatchObject({ status: 'done' });
    system.sites.get('a')!.member.hsm.addSecret('a key');
    await system.seen(async () => (await shown()).protection === 'protected');
    const uses = await system.seen(async () => {
      const { approvalUses } = await shown();
      return approvalUses.length === SITES.length && approvalUses;
    });
    expect(new Set(uses.map(({ use }) => use?.approvedBy.join()))).toEqual(new Set(['bob,carol']));
  });

  it('moves as planned without an approval, since nothing is lost', async () => {
    const { operationId } = await system.until(system.operator.failover({ group: GROUP, toSite: 'b' }));
    expect(await ended(operationId)).toMatchObject({ status: 'done' });
    await system.seen(async () => (await shown()).activeSite === 'b');
    await system.seen(async () => (await shown()).protection === 'protected');
  });

  it('does not fail over while a member is silent that may hold more, and changes nothing', async () => {
    await system.lose('b');
    await system.lose('e');
    const plan = await system.seen(async () => {
      const planned = await system.operator.planFailover({ group: GROUP, toSite: 'c' });
      return planned.neededApproval !== undefined && planned;
    });
    expect(plan.neededApproval).toMatchObject({ site: 'c', serial: 'c-1', epoch: 3n, loses: 0n, silentSites: ['e'] });
    const { operationId } = await system.until(system.operator.failover({ group: GROUP, toSite: 'c' }));
    expect(await ended(operationId)).toMatchObject({ status: 'failed', errorCode: 'APPROVAL_REQUIRED' });
    expect((await system.until(shown())).epoch).toBe(2n);
  });

  it('fails over with an approval that was prepared for any of the targets, and says who approved it', async () => {
    const night = request({
      partitions: ['a', 'c', 'd'].map((site) => partition(site)),
      epochs: { from: 3, to: 9 },
      limits: { ...NO_LIMITS, withoutHearing: ['b', 'e'] },
      nonce: '2'.repeat(32),
    });
    await submit(operators.sign(night));
    const { operationId } = await system.until(system.operator.failover({ group: GROUP, toSite: 'c' }));
    expect(await ended(operationId)).toMatchObject({ status: 'done' });
    const use = await system.seen(async () => {
      const { approvals } = await system.operator.listApprovals({ group: GROUP });
      return approvals.find(({ uses }) => uses.some(({ use: one }) => one?.action === 'failover'))?.uses[0];
    });
    expect(use).toMatchObject({ site: 'c', use: { requestedBy: 'alice', approvedBy: ['bob', 'carol'], operationId } });
    const events = await system.store.query((db) =>
      db.selectFrom('event').select('details').where('kind', '=', 'approval-used').where('site', '=', 'c').execute(),
    );
    expect(events.map(({ details }) => (JSON.parse(details) as { approvedBy: string }).approvedBy)).toContain(
      'bob carol',
    );
  });

  it('keeps a member until its removal is approved', async () => {
    const change = { kind: { case: 'removeMember', value: { site: 'd', serial: '' } } } as const;
    const remove = async () => {
      const { revision } = await system.until(system.operator.planGroupChange({ group: GROUP, change }));
      return system.until(system.operator.changeGroup({ group: GROUP, change, revision }));
    };
    expect((await rejection(remove())).code).toBe('APPROVAL_REQUIRED');
    const epochs = { from: 3, to: 9 };
    await submit(
      operators.sign(request({ action: 'release', partitions: [partition('d')], epochs, nonce: '3'.repeat(32) })),
    );
    await remove();
    const { journal } = system.sites.get('d')!.site;
    await system.seen(async () => journal.tenure.seat(GROUP) === undefined);
  });
});
