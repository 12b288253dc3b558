/** A site that was removed from a group and is added again with another partition: the past of the first is not its own. */
import { MemberRole } from '@antipode/protocol';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { SimulatedNetwork, type SimulatedSite } from '../testing/simulated-site.ts';
import { address, fence, GROUP, LEASE_MS } from '../testing/two-sites.ts';

let network: SimulatedNetwork;
let a: SimulatedSite;
let b: SimulatedSite;

beforeEach(async () => {
  network = new SimulatedNetwork();
  [a, b] = [await network.add('a'), await network.add('b')];
  for (const site of [a, b]) for (const peer of [a, b]) site.pin(GROUP, peer);
  await a.call('setRole', { fence: fence(), serial: 'a-1', role: MemberRole.ACTIVE });
  const selfStop = { sentAtMs: network.clock.monotonicMs(), selfStopMs: LEASE_MS };
  a.site.leases.grant({ group: GROUP, epoch: 1n, ...selfStop });
  a.member.hsm.addSecret('one-name');
  await seated('b-1');
  await brought('b-1', 1);
  b.site.journal.tenure.release(GROUP, { epoch: 1n, owner: 'a' }, { deleted: false });
});

afterEach(() => network.close());

const seated = (serial: string) => b.call('setRole', { fence: fence(), serial, role: MemberRole.STANDBY });

/** The next generation, under a version of the domain key that the partition gets first. */
async function brought(serial: string, version: number): Promise<void> {
  const members = ['a-1', serial].map((one) => ({ site: address(one[0]!), serial: one }));
  const { failures } = await a.call('distributeDomainKey', { fence: fence(), version, members });
  expect(failures).toEqual([]);
  const { generation } = await a.call('capture', { fence: fence(), domainKeyVersion: version });
  const order = { fence: fence(), generation: { manifestDigest: generation!.manifestDigest! } };
  await b.call('apply', { ...order, sources: [address('a')] });
  const { proof } = await b.call('verify', { ...order, everything: false });
  expect(proof?.failed).toBe(0);
}

it('destroys no object of others there that has a name of the group', async () => {
  Object.assign(b.site.partitions.bySerial('b-2').settings, { role: 'member' });
  const { value } = b.scratch.hsm.addSecret('one-name');
  await seated('b-2');
  expect(b.site.journal.heads.of(GROUP, 'applied')).toBeUndefined();
  await brought('b-2', 2);
  const named = b.scratch.hsm.objects.filter(
    ({ objectClass, attributes: { label } }) =>
      objectClass === 'secret-key' && Buffer.from(label ?? '').toString() === 'one-name',
  );
  expect(named).toHaveLength(2);
  expect(named.some((one) => one.value === value)).toBe(true);
});

it('is known again with the partition that it had', async () => {
  const before = b.site.journal.heads.of(GROUP, 'applied');
  await seated('b-1');
  expect(b.site.journal.heads.of(GROUP, 'applied')).toBe(before);
});
