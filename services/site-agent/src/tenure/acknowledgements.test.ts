import { MemberAcknowledgementSchema } from '@antipode/protocol';
import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { SimulatedNetwork, type SimulatedSite } from '../testing/simulated-site.ts';
import { HeartbeatAnswers } from './heartbeat-answers.ts';

let network: SimulatedNetwork;
let a: SimulatedSite;
beforeEach(async () => {
  network = new SimulatedNetwork();
  a = await network.add('a');
  a.site.fences.admit({ group: 'payments', epoch: 1n, owner: 'a' });
  a.site.journal.tenure.setSeat('payments', 'a-1', 'active');
});
afterEach(() => network.close());

const member = (site: string, number: bigint) =>
  create(MemberAcknowledgementSchema, {
    site,
    isKnown: true,
    epoch: 1n,
    number,
    manifestDigest: Buffer.from('ab', 'hex'),
  });
const hears = (...members: ReturnType<typeof member>[]): void =>
  new HeartbeatAnswers(a.site).take(
    { leases: [], epochs: [], acknowledged: [{ group: 'payments', members }] } as never,
    { sentAtMs: 0 },
  );
const told = () => a.site.journal.acknowledgements.of('payments').map(({ site, number }) => [site, number]);

it('is written when it changes, and each minute with its time, not with each heartbeat', async () => {
  hears(member('a', 9n), member('b', 1n));
  const written = () => a.site.journal.account.runs.at(-1)?.writes ?? 0n;
  const before = written();
  for (let beat = 0; beat < 59; beat += 1) {
    await network.clock.advance(1_000);
    hears(member('a', 9n), member('b', 1n));
  }
  expect(written()).toBe(before);
  await network.clock.advance(1_000);
  hears(member('b', 1n));
  expect([written(), a.site.journal.acknowledgements.of('payments')[0]?.heardMs]).toEqual([
    before + 1n,
    network.clock.wallMs(),
  ]);
  hears(member('b', 2n), member('c', 1n));
  expect(told()).toEqual([
    ['b', 2n],
    ['c', 1n],
  ]);
});

it('ends with a member that is not one any more, and with the seat of this site', () => {
  hears(member('b', 1n), member('c', 1n));
  hears(member('c', 1n));
  expect(told()).toEqual([['c', 1n]]);
  new HeartbeatAnswers(a.site).take(
    {
      leases: [],
      epochs: [],
      released: [{ group: 'payments', serial: 'a-1', epoch: 1n, owner: 'a', deleted: false }],
    } as never,
    { sentAtMs: 0 },
  );
  expect(told()).toEqual([]);
});
