import {
  GenerationRefSchema,
  GroupStateSchema,
  NeededApprovalSchema,
  PlanFailoverResponseSchema,
} from '@antipode/protocol';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import {
  acceptedLosses,
  consequences,
  leftBehind,
  meaningOfAcceptance,
  otherSite,
  refuseObstacle,
  takesAlong,
} from './consequences.ts';

const said = (init: MessageInitShape<typeof PlanFailoverResponseSchema> = {}): string =>
  consequences(
    'payments',
    create(PlanFailoverResponseSchema, {
      fromSite: 'a',
      toSite: 'b',
      targetGeneration: create(GenerationRefSchema, { generation: 7n }),
      ...init,
    }),
  ).join('\n');

it('the consequence of a failover names both sites, what the target has, and what becomes of the old one', () => {
  expect(said()).toMatch(/from a to b\. The newest generation of b is 7/);
  expect(said()).toMatch(/No generation is lost/);
  expect(said()).toMatch(/Site a is fenced/);
  expect(said()).not.toContain('lease');
});

it('the consequence names every generation that is lost to service', () => {
  expect(said({ lostGenerations: [8n, 9n] })).toMatch(/Lost to service: generations 8, 9\./);
});

it('a plan names the objects that the target would bring into the group', () => {
  const state = create(GroupStateSchema, {
    members: [{ site: 'a', divergentObjects: 2, unaccountedObjects: 1, keptObjects: 1 }, { site: 'b' }],
  });
  expect(takesAlong(state, 'a').join()).toMatch(/Site a has 4 objects beside the line/);
  expect(takesAlong(state, 'b')).toEqual([]);
});

it('a plan says what the target does not get while the capture of the active member is held', () => {
  const state = create(GroupStateSchema, { members: [{ site: 'a', heldObjects: 3 }, { site: 'b' }] });
  const plan = { fromSite: 'a', toSite: 'b', catchesUp: true };
  expect(leftBehind(state, plan, { planned: false }).join()).toMatch(
    /capture of a is held: 3 objects .* stay behind\./,
  );
  expect(leftBehind(state, plan, { planned: true }).join()).toMatch(/nothing is changed\.$/);
  expect(leftBehind(state, { ...plan, catchesUp: false }, { planned: false })).toEqual([]);
  expect(leftBehind(state, { ...plan, fromSite: 'b' }, { planned: false })).toEqual([]);
});

it('a move that ends at another site than the one shown says so, and why', () => {
  expect(otherSite('b', { to: 'b', excluded: [] })).toBeUndefined();
  expect(otherSite('b', { to: 'c', excluded: [{ site: 'b', code: 'SITE_UNREACHABLE' }] })).toMatch(
    /site b was not promoted \(SITE_UNREACHABLE\)\. Site c is active now/,
  );
  expect(otherSite('b', { to: 'c', excluded: [] })).toMatch(/site b was not promoted\. Site c/);
});

it('objects that the token of the target refuses are named, and what becomes of the move then', () => {
  expect(said({ refusedObjects: 1 })).toMatch(/token of b has refused 1 object .* not served there\./);
  expect(said({ refusedObjects: 2, catchesUp: true })).toMatch(
    /2 objects .* nothing is changed then without `antipode failover payments --to b --accept-loss`/,
  );
  expect(said({})).not.toContain('refused');
});

it('the consequence names the wait for a lease', () => {
  expect(said({ leaseWaitMs: 4_000n })).toContain('waits 4.0 s');
});

it('where nobody is active, nobody is fenced', () => {
  expect(said({ fromSite: '' })).toContain('Group payments moves to b.');
  expect(said({ fromSite: '' })).not.toContain('fenced');
});

it('what is accepted with --accept-loss is what the plan has shown, by epoch, number and digest, and nothing without it', () => {
  const losses = [create(GenerationRefSchema, { epoch: 1n, generation: 8n, manifestDigest: new Uint8Array([7]) })];
  expect(acceptedLosses({ losses }, { acceptLoss: true })).toEqual(losses);
  expect(acceptedLosses({ losses }, {})).toEqual([]);
});

it('where nothing is lost, --accept-loss only replaces a vote, and names no generations', () => {
  const losses = [create(GenerationRefSchema, { epoch: 1n, generation: 8n })];
  const meaning = (lost: typeof losses, refusedObjects = 0) =>
    meaningOfAcceptance({ losses: lost, refusedObjects, toSite: 'b' });
  expect(meaning(losses)).toContain('accepts the loss of the generations named here');
  expect(meaning([])).toContain('replaces the vote');
  expect(meaning([])).not.toContain('named here');
  expect(meaning([], 2)).toContain('accepts that site b does not serve 2 objects, and no more');
});

it('a target that guards the group is refused with the request for exactly the approval that is missing', () => {
  const neededApproval = create(NeededApprovalSchema, {
    site: 'b',
    serial: 'b-1',
    epoch: 4n,
    loses: 2n,
    silentSites: ['a', 'c'],
    required: 2,
  });
  const hint =
    'antipode approve request failover payments --partition b=b-1 --epochs 4-6 --loses 2 --without-hearing a --without-hearing c --required 2 ';
  expect(() => refuseObstacle('payments', { obstacle: 'site b guards the group', neededApproval })).toThrow(
    expect.objectContaining({ code: 'APPROVAL_REQUIRED', hint: expect.stringContaining(hint) }),
  );
});

it('what no accepted loss would mend is refused without a word that asks to accept one', () => {
  refuseObstacle('payments', { obstacle: '' });
  const refused = (): void => refuseObstacle('payments', { obstacle: 'no standby is reachable and usable' });
  expect(refused).toThrow(
    expect.objectContaining({ code: 'FAILOVER_REFUSED', hint: expect.not.stringContaining('--accept-loss') }),
  );
});

it('names why the target was chosen, and the expected time with its parts', () => {
  const text = said({
    chosenFor: 'preferred',
    expectedRecoveryMs: 12_300n,
    expectedFrom: ['11.1 s until the lease has ended', '1.2 s for 8 objects (the slowest of 2 moves to b)'],
  });
  expect(text).toContain('Site b was chosen because the group prefers it.');
  expect(text).toContain(
    'Expect up to 12.3 s without an active member: 11.1 s until the lease has ended + 1.2 s for 8',
  );
  expect(said({ chosenFor: 'wanted' })).not.toContain('was chosen');
  expect(said()).toContain('no move and no drill of it was measured yet');
});
