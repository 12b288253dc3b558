/**
 * A site that is removed from a group and comes back, with the partition that it had or with another one. The records of
 * one partition decide nothing about another one. An object that was made in a partition while it was out of the group is
 * somebody's, even if it has a name of the group.
 */
import type { SimulatedMember } from '@antipode/hsm-core/testing';
import { MemberRole } from '@antipode/protocol';
import { hex } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SimulatedNetwork, type SimulatedSite } from '../testing/simulated-site.ts';
import { address, fence, GROUP, LEASE_MS } from '../testing/two-sites.ts';

const NAME = 'one-name';
const S1 = { group: GROUP, serial: 'b-1' };
const S2 = { group: GROUP, serial: 'b-2' };

let network: SimulatedNetwork;
let a: SimulatedSite;
let b: SimulatedSite;
let version: number;

beforeEach(async () => {
  network = new SimulatedNetwork();
  version = 0;
  [a, b] = [await network.add('a'), await network.add('b')];
  for (const site of [a, b]) for (const peer of [a, b]) site.pin(GROUP, peer);
  await a.call('setRole', { fence: fence(), serial: 'a-1', role: MemberRole.ACTIVE });
  renew();
  a.member.hsm.addSecret(NAME);
  await seated('b-1');
});

afterEach(() => network.close());

const renew = (): void =>
  a.site.leases.grant({ group: GROUP, epoch: 1n, sentAtMs: network.clock.monotonicMs(), selfStopMs: LEASE_MS });
const seated = (serial: string, by = fence()) => b.call('setRole', { fence: by, serial, role: MemberRole.STANDBY });
const released = (by = { epoch: 1n, owner: 'a' }): void => b.site.journal.tenure.release(GROUP, by, { deleted: false });
const declared = (serial: string, role: 'member' | 'scratch'): void => {
  Object.assign(b.site.partitions.bySerial(serial).settings, { role });
};

/** The next version of the domain key. A partition that joins gets none that exists. */
async function enrolled(...serials: string[]): Promise<void> {
  version += 1;
  const members = ['a-1', ...serials].map((one) => ({ site: address(one[0]!), serial: one }));
  const { failures } = await a.call('distributeDomainKey', { fence: fence(), version, members });
  expect(failures).toEqual([]);
}

async function captured() {
  renew();
  const { generation } = await a.call('capture', { fence: fence(), domainKeyVersion: version });
  return { manifestDigest: generation!.manifestDigest! };
}

/** The newest generation, applied at b and read back there. */
async function brought(generation?: Awaited<ReturnType<typeof captured>>): Promise<void> {
  const order = { fence: fence(), generation: generation ?? (await captured()) };
  await b.call('apply', { ...order, sources: [address('a')] });
  const { proof } = await b.call('verify', { ...order, everything: false });
  expect(proof?.failed).toBe(0);
}

const named = ({ hsm }: SimulatedMember) =>
  hsm.labelled(NAME).filter(({ objectClass }) => objectClass === 'secret-key');
const values = (member: SimulatedMember): string[] =>
  named(member)
    .map(({ value }) => hex(value!))
    .sort();

/** Somebody else's key under the name, in the place of ours. */
function replacedByForeign(member: SimulatedMember): string {
  for (const one of named(member)) member.hsm.remove(one);
  return hex(member.hsm.addSecret(NAME).value!);
}

const both = (foreign: string): string[] => [foreign, ...values(a.member)].sort();

describe('an object of others with a name of the group stays', () => {
  it('in another partition, which never held the domain key', async () => {
    await enrolled('b-1');
    await brought();
    released();
    declared('b-2', 'member');
    const foreign = replacedByForeign(b.scratch);
    await seated('b-2');
    await enrolled('b-2');
    await brought();
    expect(values(b.scratch)).toEqual(both(foreign));
  });

  it('in another partition that was a scratch partition, and so holds the domain key', async () => {
    await enrolled('b-1', 'b-2');
    const generation = await captured();
    await brought(generation);
    const { isClean } = await b.call('drill', {
      fence: fence(),
      drillId: 'd1',
      generation,
      scratchSerial: 'b-2',
      sources: [],
    });
    expect(isClean).toBe(true);
    released();
    declared('b-2', 'member');
    const foreign = replacedByForeign(b.scratch);
    await seated('b-2');
    await brought(generation);
    expect(values(b.scratch)).toEqual(both(foreign));
  });

  it('in the partition of before, after another one had the seat', async () => {
    await enrolled('b-1', 'b-2');
    await brought();
    released();
    declared('b-2', 'member');
    await seated('b-2');
    a.member.hsm.addSecret('another');
    await brought();
    released();
    const foreign = replacedByForeign(b.member);
    await seated('b-1');
    await brought();
    expect(values(b.member)).toEqual(both(foreign));
    // It is watched as a member from now on, and its past still does not make the object ours.
    a.member.hsm.addSecret('one more');
    await brought();
    expect(values(b.member)).toEqual(both(foreign));
  });

  it('in the partition of before, where nobody else had the seat', async () => {
    await enrolled('b-1');
    const generation = await captured();
    await brought(generation);
    released();
    const foreign = replacedByForeign(b.member);
    await seated('b-1');
    // The same generation as before: nothing that was proved then counts now.
    await brought(generation);
    expect(values(b.member)).toEqual(both(foreign));
  });

  it('in a partition that was active before it left', async () => {
    await enrolled('b-1');
    await brought();
    const ofB = fence(2n, 'b');
    await b.call('promote', { fence: ofB });
    b.site.leases.grant({ group: GROUP, epoch: 2n, sentAtMs: network.clock.monotonicMs(), selfStopMs: LEASE_MS });
    b.member.hsm.addSecret('made at b');
    await b.call('capture', { fence: ofB, domainKeyVersion: version });
    const ofA = fence(3n, 'a');
    b.site.fences.admit(ofA);
    released({ epoch: 3n, owner: 'a' });
    const foreign = replacedByForeign(b.member);
    await seated('b-1', ofA);
    a.site.fences.admit(ofB);
    await a.call('setRole', { fence: ofB, serial: 'a-1', role: MemberRole.STANDBY });
    a.site.fences.admit(ofA);
    await a.call('promote', { fence: ofA });
    a.site.leases.grant({ group: GROUP, epoch: 3n, sentAtMs: network.clock.monotonicMs(), selfStopMs: LEASE_MS });
    for (const word of ['first', 'second']) {
      a.member.hsm.addSecret(word);
      const { generation } = await a.call('capture', { fence: ofA, domainKeyVersion: version });
      const order = { fence: ofA, generation: { manifestDigest: generation!.manifestDigest! } };
      await b.call('apply', { ...order, sources: [address('a')] });
      expect((await b.call('verify', { ...order, everything: false })).proof?.failed).toBe(0);
      expect(values(b.member)).toEqual(both(foreign));
    }
    expect(b.site.journal.decisions.asides(GROUP)).toEqual([]);
  });

  it('in a partition whose token was initialised again under the same serial number', async () => {
    await enrolled('b-1');
    const generation = await captured();
    await brought(generation);
    b.site.journal.tenure.beginAnew('b-1');
    const foreign = replacedByForeign(b.member);
    await brought(generation);
    expect(values(b.member)).toEqual(both(foreign));
  });

  it('but one that damage has made of ours, while the partition was watched, makes way', async () => {
    await enrolled('b-1');
    await brought();
    replacedByForeign(b.member);
    a.member.hsm.addSecret('another');
    await brought();
    expect(values(b.member)).toEqual(values(a.member));
  });
});

describe('what is known of a partition', () => {
  it('is what was known of it, and nothing of the other one', async () => {
    await enrolled('b-1', 'b-2');
    await brought();
    const { heads, findings, intents } = b.site.journal;
    const first = heads.of(S1, 'applied');
    const divergent = [{ objectId: '01', digest: first! }];
    findings.setUnexplained(S1, { divergent, unaccounted: 2 });
    const intent = { objectId: '02', objectClass: 'secret-key', attributesDigest: new Uint8Array(1) } as const;
    intents.begin(S1, [{ ...intent, id: new Uint8Array(), label: new Uint8Array() }]);
    released();
    declared('b-2', 'member');
    await seated('b-2');
    expect(b.site.journal.tenure.seat(GROUP)).toMatchObject({ serial: 'b-2', divergent: 0, unaccounted: 0 });
    expect([heads.of(S2, 'applied'), findings.divergent(S2), intents.open(S2)]).toEqual([undefined, [], []]);
    released();
    await seated('b-1');
    expect([heads.of(S1, 'applied'), findings.divergent(S1), intents.open(S1).length]).toEqual([first, divergent, 1]);
  });

  it('is not reported as applied before it is proved again', async () => {
    await enrolled('b-1');
    const generation = await captured();
    await brought(generation);
    const reported = async () => {
      const { applied, unproved } = (await b.call('describe', {})).members![0]!;
      return [applied?.manifestDigest && hex(applied.manifestDigest), unproved];
    };
    const proved = [b.site.journal.heads.of(S1, 'applied'), false];
    expect(await reported()).toEqual(proved);
    released();
    await seated('b-1');
    expect(await reported()).toEqual([undefined, true]);
    await brought(generation);
    expect(await reported()).toEqual(proved);
    b.site.journal.tenure.beginAnew('b-1');
    expect(await reported()).toEqual([undefined, true]);
  });

  it('is nothing once a drill has used it as a scratch partition', async () => {
    await enrolled('b-1', 'b-2');
    const generation = await captured();
    await brought(generation);
    const drill = () =>
      b.call('drill', { fence: fence(), drillId: 'd1', generation, scratchSerial: 'b-1', sources: [] });
    b.member.hsm.remove(named(b.member)[0]!);
    declared('b-1', 'scratch');
    expect((await rejection(drill())).code).toBe('SCRATCH_REFUSED');
    expect((await rejection(b.call('apply', { fence: fence(), generation }))).code).toBe('ROLE_REFUSED');
    released();
    expect((await drill()).isClean).toBe(true);
    expect(b.site.journal.heads.all(GROUP)).toEqual([]);
  });

  it('keeps the generations that describe it, until the partition that has the seat is past them', async () => {
    await enrolled('b-1', 'b-2');
    await brought();
    const first = b.site.journal.heads.of(S1, 'applied')!;
    released();
    declared('b-2', 'member');
    await seated('b-2');
    const { retention, store, journal } = b.site;
    retention.learn(GROUP, []);
    const isKept = (digest: string) => retention.isKept(GROUP, { stored: store.list(GROUP), digest });
    const divergent = [{ objectId: '01', digest: first }];
    for (let count = 0; count < 2; count += 1) {
      a.member.hsm.addSecret(`new ${count}`);
      await brought();
    }
    expect(isKept(first)).toBe(false);
    expect(isKept(journal.heads.of(S2, 'applied')!)).toBe(true);
    // Divergent objects of that partition are nowhere else.
    journal.findings.setUnexplained(S1, { divergent, unaccounted: 0 });
    expect(isKept(first)).toBe(true);
  });
});

it('an order that began in one partition records nothing for another one', async () => {
  await enrolled('b-1', 'b-2');
  const generation = await captured();
  declared('b-2', 'member');
  const gate = Promise.withResolvers<void>();
  const busy = b.site.partitions.bySerial('b-1').use(() => gate.promise);
  const order = rejection(b.call('apply', { fence: fence(), generation, sources: [address('a')] }));
  await b.site.transfer.pull({ group: GROUP, digest: hex(generation.manifestDigest), sources: [address('a')] });
  released();
  await seated('b-2');
  gate.resolve();
  await busy;
  expect((await order).code).toBe('ROLE_REFUSED');
  expect(b.site.journal.heads.all(GROUP)).toEqual([]);
});

it('a drill that was cut short owns nothing in a partition that has a seat', async () => {
  await enrolled('b-1', 'b-2');
  b.site.journal.drills.begin('b-2', 'd1');
  released();
  declared('b-2', 'member');
  await seated('b-2');
  expect(b.site.journal.drills.open('b-2')).toBeUndefined();
});
