import { PlanReseatResponseSchema } from '@antipode/protocol';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { accountTable, reseatConsequences } from './reseat.ts';

const plan = (rest: MessageInitShape<typeof PlanReseatResponseSchema> = {}) =>
  create(PlanReseatResponseSchema, {
    accounts: [
      { site: 'a', reachable: true, role: 'standby', epoch: 2n, epochOwner: 'b' },
      { site: 'b', reachable: true, role: 'active', epoch: 2n, epochOwner: 'b', newest: { epoch: 2n, generation: 7n } },
      { site: 'c' },
    ],
    databaseEpoch: 1n,
    databaseActiveSite: 'a',
    activeSite: 'b',
    epoch: 3n,
    contradiction: 'site b is in epoch 2',
    ...rest,
  });
const said = (rest?: MessageInitShape<typeof PlanReseatResponseSchema>): string =>
  reseatConsequences('payments', plan(rest)).join('\n');

it('what each member and the database say stands side by side', () => {
  const table = accountTable(plan());
  expect(table).toMatch(/journal of b +active +2 +b +7 of epoch 2/);
  expect(table).toMatch(/journal of c +no answer/);
  expect(table).toMatch(/database +- +1 +a/);
});

it('the consequences are said before anything is ordered', () => {
  expect(said()).toMatch(/gets epoch 3, and site b is its active member/);
  expect(said()).toMatch(/lost to service/);
  expect(said()).toMatch(/Site c does not answer\. It is fenced/);
  expect(said({ activeSite: '' })).toMatch(/A failover to the most advanced standby follows/);
  const quarantined = { accounts: [{ site: 'b', reachable: true, quarantine: 'older copy' }], contradiction: '' };
  expect(said(quarantined)).toBe(
    'Site b takes the newest generation that it is known to have held, and leaves the quarantine.',
  );
});
