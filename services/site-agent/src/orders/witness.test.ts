/** A site without a seat votes: it persists an epoch before it answers, and says so itself from then on. */
import { rejection } from '@antipode/runtime/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
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
