/** A site without a seat votes: it persists an epoch before it answers, and says so itself from then on. */
import { SiteAgentService } from '@antipode/protocol';
import { rejection } from '@antipode/runtime/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HeartbeatAnswers } from '../tenure/heartbeat-answers.ts';
import { SimulatedNetwork, type SimulatedSite } from '../testing/simulated-site.ts';
import { fence, GROUP } from '../testing/two-sites.ts';

let network: SimulatedNetwork;
let w: SimulatedSite;
beforeEach(async () => {
  network = new SimulatedNetwork();
  w = await network.add('w');
});
afterEach(() => network.close());

const persist = (epoch: bigint, owner: string, endsQuarantine = false) =>
  w.call('persistEpoch', { fence: fence(epoch, owner), endsQuarantine });
const witnessed = async () => (await w.call('describe', {})).witnessed;

it('persists an epoch, and says so after a restart', async () => {
  expect(await persist(2n, 'b')).toMatchObject({ epoch: 2n, owner: 'b' });
  w.stop();
  await w.start();
  expect(await witnessed()).toMatchObject([{ group: GROUP, epoch: 2n, owner: 'b' }]);
});

it.each([
  [1n, 'a', 'EPOCH_STALE'],
  [2n, 'c', 'EPOCH_CONFLICT'],
])('refuses epoch %s of %s after it has voted for epoch 2 of b', async (epoch, owner, code) => {
  await persist(2n, 'b');
  expect((await rejection(persist(epoch, owner))).code).toBe(code);
  expect(await persist(2n, 'b')).toMatchObject({ epoch: 2n });
});

it('learns the highest epoch from the answer to a heartbeat', async () => {
  new HeartbeatAnswers(w.site).take({ leases: [], epochs: [fence(4n, 'b') as never] }, { sentAtMs: 0 });
  expect(await witnessed()).toMatchObject([{ group: GROUP, epoch: 4n, owner: 'b' }]);
});

it('stays in quarantine until an operator reseats the group', async () => {
  const quarantined = async () => (await w.call('describe', {})).journal?.quarantined;
  new HeartbeatAnswers(w.site).take(
    { leases: [], epochs: [], quarantined: [{ group: GROUP, reason: 'older copy' } as never] },
    { sentAtMs: 0 },
  );
  await persist(2n, 'b');
  expect(await quarantined()).toMatchObject([{ group: GROUP, reason: 'older copy' }]);
  await persist(2n, 'b', true);
  expect(await quarantined()).toEqual([]);
});

it('says nothing of a group in which the site has a seat', async () => {
  await w.call('setRole', { fence: fence(1n, 'w'), serial: 'w-1', role: 1 });
  expect(await witnessed()).toEqual([]);
});

/** Without the exchange, which is between agents. */
const ORDERS = SiteAgentService.methods.filter(
  ({ localName, input }) => input.fields.some(({ name }) => name === 'fence') && !/Exchange$/.test(localName),
);

describe('an order for another process of this site', () => {
  it.each(ORDERS.map(({ localName }) => localName))('is refused before anything is done of it: %s', async (method) => {
    await persist(2n, 'b');
    const order = { fence: { ...fence(3n, 'w'), term: 9n, instance: 'the process of another folder' }, serial: 'w-1' };
    const refused = await rejection(w.call(method as 'setRole', { ...order, role: 1 }));
    expect(refused.code).toBe('OTHER_PROCESS_ANSWERS');
    expect(await witnessed()).toMatchObject([{ epoch: 2n, owner: 'b' }]);
    expect((await w.call('describe', {})).highestTerm).toBe(0n);
  });

  it('is taken where it names this one, or none', async () => {
    const { instance } = w.site;
    const order = { fence: { ...fence(3n, 'w'), instance } };
    expect(await w.call('persistEpoch', order)).toMatchObject({ epoch: 3n, instance });
    expect(await persist(4n, 'b')).toMatchObject({ epoch: 4n, instance });
  });
});
