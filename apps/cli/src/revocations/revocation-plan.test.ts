import { type GetStatusResponse, GetStatusResponseSchema, MemberRole } from '@antipode/protocol';
import { someRevocation, someRevocations } from '@antipode/protocol/testing';
import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { isNamed, revocationPlan } from './revocation-plan.ts';

const status: GetStatusResponse = create(GetStatusResponseSchema, {
  coordinators: [{ coordinator: 'main' }, { coordinator: 'south' }],
  groups: [
    {
      spec: { name: 'payments' },
      activeSite: 'b',
      votingSites: 3,
      newest: { generation: 7n },
      members: [
        { site: 'a', role: MemberRole.STANDBY, acknowledgedGeneration: 5n },
        { site: 'b', role: MemberRole.ACTIVE, acknowledgedGeneration: 7n },
        { site: 'c', role: MemberRole.STANDBY, acknowledgedGeneration: 4n },
      ],
    },
    {
      spec: { name: 'codes' },
      activeSite: 'a',
      votingSites: 3,
      members: [{ site: 'a' }, { site: 'c' }],
      witnesses: [{ site: 'b' }],
    },
    { spec: { name: 'other' }, activeSite: 'x', votingSites: 1, members: [{ site: 'x' }] },
  ],
});
const named = (name: string) => someRevocation({ name: `spiffe://test.example/${name}` });
const textOf = (...entries: Parameters<typeof someRevocations>[0] & object) =>
  revocationPlan(someRevocations(entries), { inForce: undefined, status }).consequences.join('\n');

describe('the plan of a list', () => {
  it('says which generations are lost with an active site, and what to do first', () => {
    const text = textOf(named('site/b'));
    expect(text).toContain('Group payments loses its ACTIVE member');
    expect(text).toContain('2 of them are lost to service');
    expect(text).toContain('antipode switchover payments');
    expect(text).toContain('2 of 3 votes are left, and a failover needs 2');
    expect(text).toContain('Group codes loses a witness');
    expect(text).not.toContain('Group other');
  });

  it('says that a standby is lost, and that its acknowledgements do not count', () => {
    expect(textOf(named('site/c'))).toMatch(/Group payments loses a standby: 2 members are left.*do not count/);
  });

  it('says who leads after a coordinator, and that nobody does after the only one', () => {
    expect(textOf(named('coordinator/main'))).toContain('Coordinator south leads then');
    const alone = create(GetStatusResponseSchema, { coordinators: [{ coordinator: 'main' }] });
    const list = someRevocations([named('coordinator/main')]);
    const { consequences } = revocationPlan(list, { inForce: undefined, status: alone });
    expect(consequences.join()).toContain('nobody leads');
  });

  it('warns whoever cuts off themselves', () => {
    const own = 'spiffe://test.example/operator/olga';
    const plan = (of: string) =>
      revocationPlan(someRevocations([named('operator/olga')]), { inForce: undefined, status, own: of }).consequences;
    expect(plan(own).join()).toContain('your own certificate');
    expect(plan(`${own}x`).join()).not.toContain('your own certificate');
  });

  it('names what is added and what is taken off, and nothing that stays', () => {
    const inForce = someRevocations([named('site/a'), named('site/b')]);
    const later = { ...named('site/a'), issuedBefore: '2026-05-01T00:00:00.000Z' };
    const plan = revocationPlan(someRevocations([later, named('site/c')], inForce), { inForce, status });
    expect(plan.cut).toEqual(['site/a', 'site/c']);
    expect(plan.removed.map(({ name }) => name)).toEqual(inForce.entries.map(({ name }) => name));
    const text = plan.consequences.join('\n');
    expect(text).toMatch(/NOT refused any more: every certificate of .*site\/b/);
    expect(text).not.toMatch(/NOT refused any more: .*site\/a/);
    expect(revocationPlan(inForce, { inForce, status }).consequences).toEqual(['It changes nothing.']);
  });

  it('does not guess where no coordinator answers', () => {
    const list = someRevocations([named('site/b')]);
    const { consequences } = revocationPlan(list, { inForce: undefined, status: undefined });
    expect(consequences.join()).toContain('nobody can say which groups lose something');
  });
});

it('an entry is named by its identity, short or whole, or by the first digits of its certificate', () => {
  const certificate = someRevocation({ kind: 'certificate', subject: 'ab'.repeat(32), name: '' });
  expect(['site/b', 'spiffe://test.example/site/b'].map((what) => isNamed(named('site/b'), what))).toEqual([
    true,
    true,
  ]);
  expect([isNamed(named('site/b'), 'site/bb'), isNamed(certificate, 'abababab'), isNamed(certificate, 'abab')]).toEqual(
    [false, true, false],
  );
});
