/**
 * A stolen coordinator, a site that has gone bad, and a foreign site, against agents with real tokens and real mTLS.
 * The honest coordinator runs too. The orders here bypass it and use its certificate.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CKA, CKK, CKM, CKO, mechanism } from '@antipode/cryptoki';
import type { Generation } from '@antipode/hsm-core';
import {
  distributeDomainKey,
  ExchangeResponder,
  type IdentityRecord,
  openSigned,
  type SealedGeneration,
} from '@antipode/hsm-core';
import { encodeManifest, sealedGeneration, signingInput } from '@antipode/hsm-core/testing';
import { createClient, MemberRole, SiteAgentService, Tls } from '@antipode/protocol';
import { fromHex, hex, systemClock, systemPrng } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { Pins } from '@antipode/site-agent';
import type { Partition } from '@antipode/site-agent/testing';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { GROUP, TestSystem } from '../support/system.ts';
import type { TestToken } from '../support/tokens.ts';
import { attack, DEVICES, type Member, makeMember } from './support/device.ts';
import { openRawToken, type RawToken } from './support/raw-token.ts';
import { RogueSite } from './support/rogue-site.ts';
import { SoftwareReceiver, sha256 } from './support/software.ts';
import { id } from './support/templates.ts';

/** The refusals of agents do not depend on the device. They are tried on the device of the test system. */
const [device] = DEVICES as [(typeof DEVICES)[0]];

const fence = (epoch = 1n, owner = 'a', group = GROUP) => ({ group, epoch, owner, requestId: 'attack' });
const options = { timeoutMs: 60_000 };

describe('agents', () => {
  let system: TestSystem;
  const activeSeat = () => system.agent('a').site.journal.tenure.seat(GROUP)!;
  let rogue: RogueSite;
  let mallory: Member;
  /** Digests of what was captured, in order. */
  const captured: string[] = [];

  beforeAll(async () => {
    // The coordinator must not bring to b, by a capture of its own, the keys that the attacks capture without it.
    const quiet = TestSystem.start({ rpoSeconds: 86_400 });
    [system, mallory] = await Promise.all([quiet, makeMember(device, 'mallory')]);
    rogue = await RogueSite.start(system);
    for (const key of ['01', '02']) {
      await system.makeKey('a', key);
      await system.replicate();
      captured.push(system.agent('a').site.journal.heads.of(activeSeat(), 'captured')!);
    }
  });

  afterAll(async () => {
    await rogue?.close();
    await Promise.all([system?.close(), mallory?.close()]);
  });

  const siteOf = (name: string) => system.agent(name).site;
  const ref = (digest: string) => ({ manifestDigest: fromHex(digest) });
  const versionsAt = (name: string): number[] =>
    siteOf(name)
      .journal.domainKeys.of(system.site(name).serial)
      .map(({ version }) => version);
  const address = (name: string) => ({ site: name, address: `localhost:${system.agent(name).port}` });
  const seat = (name: string) => ({ site: address(name), serial: system.site(name).serial });
  const scratchAt = (name: string) => siteOf(name).partitions.all.find(({ settings }) => settings.role === 'scratch')!;
  const identityOf = (name: string, { settings }: Partition) => siteOf(name).journal.identities.of(settings.name)!;
  const signerIn = async (raw: RawToken, { ckaId }: { ckaId: Uint8Array }) => {
    const [key] = await raw.find([[CKA.CLASS, CKO.PRIVATE_KEY], [CKA.KEY_TYPE, CKK.EC], ...id(ckaId)]);
    return (message: Uint8Array): Promise<Uint8Array> => raw.sign(mechanism(CKM.ECDSA), key!, sha256(message));
  };
  /** With one pin more for the time of `work`. */
  async function pinned<T>(name: string, identity: string, work: () => Promise<T>): Promise<T> {
    const file = join(system.site(name).folder, 'pins.yaml');
    const before = readFileSync(file);
    new Pins(file).add(GROUP, [{ identity, site: rogue.name, serial: mallory.serial, role: 'member' }]);
    try {
      return await work();
    } finally {
      writeFileSync(file, before);
    }
  }
  async function collect<Message>(stream: AsyncIterable<Message>): Promise<Message[]> {
    const all: Message[] = [];
    for await (const message of stream) all.push(message);
    return all;
  }

  attack(device, 'sealed-data-as-any-site', async () => {
    const digest = captured.at(-1)!;
    const agent = rogue.agent(system, 'b');
    const manifest = () => collect(agent.pullManifest({ group: GROUP, generation: ref(digest) }, options));
    // Were it a site of the group.
    const parts = await pinned('b', mallory.fingerprint, manifest);
    const { generation } = openSigned(Buffer.concat(parts.map(({ part }) => part)), {
      group: GROUP,
      isPinned: () => true,
    });
    expect(generation.entries.map(({ attributes }) => Buffer.from(attributes.label ?? []).toString()).sort()).toEqual([
      'key 01',
      'key 02',
    ]);
    const wanted = generation.entries.map(({ blobSha256 }) => fromHex(blobSha256!));
    const blobs = () => collect(agent.pullBlobs({ group: GROUP, generation: ref(digest), sha256: wanted }, options));
    expect((await pinned('b', mallory.fingerprint, blobs)).flatMap((message) => message.blobs)).toHaveLength(2);

    expect((await rejection(manifest())).code).toBe('PEER_REFUSED');
    expect((await rejection(blobs())).code).toBe('PEER_REFUSED');
    return 'refused';
  });

  attack(device, 'sealed-data-as-coordinator', async () => {
    const operatorFile = (name: string) => join(system.folder, 'operator', name);
    const asOperator = createClient(SiteAgentService, {
      address: `localhost:${system.agent('b').port}`,
      tls: new Tls({
        caFile: operatorFile('ca.crt'),
        certificateFile: operatorFile('tls.crt'),
        keyFile: operatorFile('tls.key'),
      }),
      expected: { kind: 'site', name: 'b' },
    });
    const asCoordinator = system.order('b');
    const generation = ref(captured.at(-1)!);
    try {
      for (const agent of [asCoordinator, asOperator]) {
        const pulls = [
          () => collect(agent.pullManifest({ group: GROUP, generation }, options)),
          () => collect(agent.pullBlobs({ group: GROUP, generation, sha256: [] }, options)),
          () => agent.beginExchange({ group: GROUP, fence: fence(), exchangeId: 'x', version: 60 }, options),
          () => agent.completeExchange({ exchangeId: 'x', fence: fence() }, options),
        ];
        for (const pull of pulls) expect((await rejection(pull())).code).toBe('PEER_REFUSED');
      }
      expect((await rejection(asOperator.describe({}, options))).code).toBe('PEER_REFUSED');
    } finally {
      asCoordinator.close();
      asOperator.close();
    }
    return 'refused';
  });

  attack(device, 'distribute-to-own-site', async () => {
    const responder = new ExchangeResponder({
      provider: mallory.provider,
      keyring: mallory.keyring,
      prng: systemPrng,
      clock: systemClock,
      serial: mallory.serial,
      isPinned: () => true,
      holds: () => false,
      announce: () => {},
      remember: (record) => mallory.domainKeys.push(record),
    });
    rogue.serves = {
      beginExchange: (message) => responder.begin(message as never),
      completeExchange: (message) => responder.complete(message),
    };
    const order = system.order('a');
    const distribute = (version: number) =>
      order.distributeDomainKey(
        { fence: fence(), version, members: [seat('a'), seat('b'), { site: rogue.peer, serial: mallory.serial }] },
        options,
      );
    try {
      // Were it the coordinator that says whom to trust.
      const trusting = await pinned('a', mallory.fingerprint, () => distribute(50));
      expect(trusting.confirmedSerials).toContain(mallory.serial);
      expect(mallory.domainKeys).toHaveLength(1);

      const { confirmedSerials, failures } = await distribute(51);
      expect(confirmedSerials).toEqual([]);
      expect(failures).toMatchObject([{ serial: mallory.serial, code: 'PEER_NOT_PINNED' }]);
      expect([...versionsAt('a'), ...versionsAt('b')]).not.toContain(51);
      expect(mallory.domainKeys).toHaveLength(1);
    } finally {
      order.close();
      rogue.serves = {};
    }
    return 'refused';
  });

  attack(device, 'software-point-by-order', async () => {
    const { scratch } = system.site('c');
    const identityOfScratch = identityOf('c', scratchAt('c'));
    const raw = await openRawToken(scratch!);
    const { receivingKey } = await scratchAt('c').use(async ({ keyring }) => keyring);
    const thief = new SoftwareReceiver(
      identityOfScratch,
      await signerIn(raw, identityOfScratch),
      receivingKey?.publicHalf,
    );
    rogue.serves = {
      beginExchange: (message) => thief.begin(message as never),
      completeExchange: (message) => thief.complete(message),
    };
    const order = system.order('a');
    try {
      const members = [seat('a'), seat('b'), { site: rogue.peer, serial: identityOfScratch.serial }];
      // Were an identity good from anywhere: the key lies open.
      const trust = siteOf('a').trust;
      const find = trust.find.bind(trust);
      trust.find = (group, identity) => {
        const pin = find(group, identity);
        return pin?.serial === identityOfScratch.serial ? { ...pin, site: rogue.name } : pin;
      };
      const careless = await order.distributeDomainKey({ fence: fence(), version: 80, members }, options);
      trust.find = find;
      // Even then it is sent under the receiving key that the pin covers, and opens in that token only.
      expect(careless.failures).toMatchObject([{ serial: identityOfScratch.serial }]);
      expect(thief.stolen!.length).toBe(384);

      const { confirmedSerials, failures } = await order.distributeDomainKey(
        { fence: fence(), version: 81, members },
        options,
      );
      expect(confirmedSerials).toEqual([]);
      expect(failures).toMatchObject([{ serial: identityOfScratch.serial, code: 'PEER_NOT_PINNED' }]);
      expect([...versionsAt('a'), ...versionsAt('b')]).not.toContain(81);
    } finally {
      order.close();
      rogue.serves = {};
      await raw.close();
    }
    return 'refused';
  });

  attack(device, 'exchange-for-another', async () => {
    const agent = rogue.agent(system, 'b');
    const offer = {
      serial: mallory.serial,
      identity: mallory.identity.publicHalf,
      nonce: new Uint8Array(32),
      point: new Uint8Array(65),
    };
    const begin = (owner: string) =>
      agent.beginExchange(
        {
          exchangeId: hex(randomBytes(16)),
          group: GROUP,
          version: 61,
          responderSerial: system.site('b').serial,
          offer,
          fence: fence(1n, owner),
        },
        options,
      );
    expect((await rejection(begin('a'))).code).toBe('PEER_REFUSED');
    expect((await rejection(begin(rogue.name))).code).toBe('EPOCH_CONFLICT');
    return 'refused';
  });

  attack(device, 'unordered-exchange', async () => {
    const agent = rogue.agent(system, 'b');
    const { serial } = system.site('b');
    const under = fence(2n, rogue.name);
    const version = 70;
    const distribution = () =>
      distributeDomainKey({
        provider: mallory.provider,
        keyring: mallory.keyring,
        prng: systemPrng,
        serial: mallory.serial,
        group: GROUP,
        version,
        isPinned: () => true,
        members: [
          {
            serial,
            begin: async (message) => {
              const { offer, signature } = await agent.beginExchange(
                { ...message, responderSerial: serial, fence: under },
                options,
              );
              return { offer: offer!, signature };
            },
            complete: (message) => agent.completeExchange({ ...message, fence: under }, options),
          },
        ],
      });
    expect((await distribution()).failures).toMatchObject([{ error: { code: 'PEER_NOT_PINNED' } }]);
    const { confirmedSerials } = await pinned('b', mallory.fingerprint, distribution);
    expect(confirmedSerials).toEqual([serial]);
    expect(versionsAt('b')).toContain(version);
    // It raises no epoch, and is not used; the honest version of that number does not reach this member.
    expect(siteOf('b').journal.tenure.fence(GROUP)).toEqual({ epoch: 1n, owner: 'a' });
    const order = system.order('a');
    const honest = await order.distributeDomainKey({ fence: fence(), version, members: [seat('b')] }, options);
    order.close();
    expect(honest).toMatchObject({ confirmedSerials: [], failures: [{ serial, code: 'EXCHANGE_REFUSED' }] });
    return 'documented';
  });

  attack(device, 'planted-past-distributor', async () => {
    const agent = rogue.agent(system, 'b');
    const { serial } = system.site('b');
    const under = fence(2n, rogue.name);
    // The holder of a member's PIN can play its whole part. In software he then knows the key.
    const distribution = (version: number) =>
      distributeDomainKey({
        provider: mallory.provider,
        keyring: mallory.keyring,
        prng: systemPrng,
        serial: mallory.serial,
        group: GROUP,
        version,
        isPinned: () => true,
        members: [
          {
            serial,
            begin: async (message) => {
              const request = { ...message, responderSerial: serial, fence: under };
              const { offer, signature } = await agent.beginExchange(request, options);
              return { offer: offer!, signature };
            },
            complete: (message) => agent.completeExchange({ ...message, fence: under }, options),
          },
        ],
      });
    const asMember = <T>(work: () => Promise<T>): Promise<T> => pinned('b', mallory.fingerprint, work);
    expect((await asMember(() => distribution(71))).confirmedSerials).toEqual([serial]);
    expect(versionsAt('b')).toContain(71);

    const distributor = { identity: 'd'.repeat(64), site: 'd', serial: 'distributor', role: 'distributor' } as const;
    const withDistributor = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
      const file = join(system.site(name).folder, 'pins.yaml');
      const before = readFileSync(file);
      new Pins(file).add(GROUP, [distributor]);
      try {
        return await work();
      } finally {
        writeFileSync(file, before);
      }
    };
    await asMember(() =>
      withDistributor('b', async () => {
        expect((await distribution(72)).failures).toMatchObject([{ error: { code: 'PEER_REFUSED' } }]);
      }),
    );
    expect(versionsAt('b')).not.toContain(72);
    // Nor does the active member make one, whoever orders it.
    const order = system.order('a');
    const ordered = withDistributor('a', () =>
      rejection(order.distributeDomainKey({ fence: fence(), version: 73, members: [seat('b')] }, options)),
    );
    expect((await ordered).code).toBe('ROLE_REFUSED');
    order.close();
    return 'refused';
  });

  attack(device, 'epoch-jump', async () => {
    const order = system.order('b');
    const { serial } = system.site('b');
    const journal = siteOf('b').journal;
    const elsewhere = (epoch: bigint) => rejection(order.promote({ fence: fence(epoch, 'b', 'elsewhere') }, options));
    try {
      // A step that a person could have made is taken, and persisted before anything else.
      await elsewhere(1n);
      expect((await elsewhere(900n)).code).toBe('NOT_FOUND');
      expect(journal.tenure.fence('elsewhere')?.epoch).toBe(900n);

      for (const epoch of [1_901n, 2n ** 40n, 2n ** 63n - 1n, 2n ** 64n - 1n])
        expect((await elsewhere(epoch)).code).toBe('EPOCH_CONFLICT');
      expect(journal.tenure.fence('elsewhere')?.epoch).toBe(900n);
      const setRole = order.setRole({ fence: fence(5_000n, 'b'), serial, role: MemberRole.STANDBY }, options);
      expect((await rejection(setRole)).code).toBe('EPOCH_CONFLICT');
      expect((await rejection(order.promote({ fence: fence(5_000n, 'b') }, options))).code).toBe('EPOCH_CONFLICT');
      expect(journal.tenure.fence(GROUP)).toEqual({ epoch: 1n, owner: 'a' });
    } finally {
      order.close();
    }
    return 'refused';
  });

  attack(device, 'first-epoch', async () => {
    const order = system.order('b');
    const unheard = (epoch: bigint) => rejection(order.promote({ fence: fence(epoch, 'b', 'unheard-of') }, options));
    for (const epoch of [1_001n, BigInt(Number.MAX_SAFE_INTEGER), 2n ** 64n - 1n])
      expect((await unheard(epoch)).code).toBe('EPOCH_CONFLICT');
    expect(siteOf('b').journal.tenure.fence('unheard-of')).toBeUndefined();
    // An epoch that an honest coordinator could name is admitted, but gives no seat.
    expect((await unheard(1n)).code).toBe('NOT_FOUND');
    order.close();
    return 'refused';
  });

  attack(device, 'second-active', async () => {
    const order = system.order('b');
    const { serial } = system.site('b');
    const seatActive = (owner: string) =>
      rejection(order.setRole({ fence: fence(1n, owner), serial, role: MemberRole.ACTIVE }, options));
    try {
      expect((await seatActive('a')).code).toBe('ROLE_REFUSED');
      expect((await seatActive('b')).code).toBe('EPOCH_CONFLICT');
      expect((await rejection(order.promote({ fence: fence(1n, 'b') }, options))).code).toBe('EPOCH_CONFLICT');
      expect(siteOf('b').journal.tenure.seat(GROUP)?.role).toBe('standby');
    } finally {
      order.close();
    }
    return 'refused';
  });

  attack(device, 'drill-in-production', async () => {
    const order = system.order('c');
    const drillIn = (scratchSerial: string) =>
      order.drill(
        { fence: fence(), drillId: 'attack', generation: ref(captured[0]!), scratchSerial, sources: [address('a')] },
        options,
      );
    const { serial, scratchSerial } = system.site('c');
    try {
      expect((await drillIn(scratchSerial)).proof).toMatchObject({ proved: 1, failed: 0 });
      // By what the site's own configuration says of it: not only because it is not empty just now.
      const { code, details } = await rejection(drillIn(serial));
      expect([code, details['serial'], details['objects']]).toEqual(['SCRATCH_REFUSED', serial, undefined]);
    } finally {
      order.close();
    }
    return 'refused';
  });

  attack(device, 'source-address', async () => {
    await system.makeKey('a', '03');
    const direct = system.order('a');
    const { generation } = await system.insistent('a has captured it', () =>
      direct.capture({ fence: fence(), domainKeyVersion: 1 }, options),
    );
    direct.close();
    captured.push(hex(generation!.manifestDigest));
    const order = system.order('b');
    const applyFrom = (source: { site: string; address: string }) =>
      order.apply({ fence: fence(), generation: generation!, sources: [source] }, options);
    try {
      expect((await rejection(applyFrom({ site: 'a', address: rogue.address }))).code).toBe('PEER_REFUSED');
      expect(rogue.calls).not.toContain('pullManifest');
      // Where it goes by its own name it is asked; and what it serves has to be the source's, byte for byte.
      const a = siteOf('a').transfer;
      rogue.serves = {
        pullManifest: (request) => a.manifest(request, 'b'),
        pullBlobs: (request) => a.blobs(request, 'b'),
      };
      expect((await applyFrom(rogue.peer)).appliedObjects).toBe(1);
      expect(rogue.calls).toContain('pullManifest');
    } finally {
      order.close();
      rogue.serves = {};
    }
    return 'refused';
  });

  attack(device, 'retired-version', async () => {
    // Attacks above have brought versions that the database never ordered, and the coordinator has noticed.
    await system.untilProtection('contradicted');
    for (const name of ['a', 'b', 'c']) {
      const { serial } = system.site(name);
      const { domainKeys } = siteOf(name).journal;
      for (const record of domainKeys.of(serial).filter(({ version }) => version > 1)) {
        domainKeys.beginRetirement(serial, record);
        domainKeys.endRetirement(serial, record, 'destroyed');
      }
    }
    await system.until(
      'the database and the agents agree',
      async () => (await system.operator.getGroup({ group: GROUP })).group?.contradiction === '',
    );
    const { operationId } = await system.operator.rotateDomainKey({ group: GROUP });
    await system.ended(operationId);
    await system.replicate();
    const newestVersion = async () =>
      (await siteOf('a').store.summary(siteOf('a').journal.heads.of(activeSeat(), 'captured')!)).domainKeyVersion;
    expect(await newestVersion()).toBe(2);
    const order = system.order('a');
    // The token holds it still, and would seal under it.
    const held = await siteOf('a').partitions.all[0]!.use(async ({ keyring }) => keyring.domainKey(GROUP, 1).version);
    expect(held).toBe(1);
    const capture = () => order.capture({ fence: fence(), domainKeyVersion: 1 }, options);
    // On a machine that is busy the lease can be over for a moment, which is asked first.
    const code = await system.until('a has its lease', async () => {
      const refused = await rejection(capture());
      return refused.code !== 'LEASE_LAPSED' && refused.code;
    });
    expect(code).toBe('DOMAIN_KEY_RETIRED');
    expect(await newestVersion()).toBe(2);
    order.close();
    return 'refused';
  });

  /** The newest generation with two blobs exchanged, signed by raw calls with an identity key; the rogue site serves it. */
  async function forge(token: TestToken, identity: IdentityRecord): Promise<SealedGeneration> {
    const raw = await openRawToken(token);
    const sign = await signerIn(raw, identity);
    const { generation } = await siteOf('a').store.open(siteOf('a').journal.heads.of(activeSeat(), 'captured')!);
    const [one, two, ...rest] = generation.entries as [Generation['entries'][0], Generation['entries'][0]];
    const forged: Generation = {
      ...generation,
      number: generation.number + 1_000n,
      source: { ...generation.source, serial: identity.serial, identitySha256: hex(sha256(identity.publicHalf)) },
      entries: [
        { ...one, blobSha256: two.blobSha256!, blobSize: two.blobSize },
        { ...two, blobSha256: one.blobSha256!, blobSize: one.blobSize },
        ...rest,
      ],
    };
    const manifest = encodeManifest(forged);
    const signature = await sign(signingInput(manifest));
    await raw.close();
    const sealed = sealedGeneration({ generation: forged, manifest, signature, signer: identity.publicHalf });
    const honest = siteOf('a');
    rogue.serves = {
      async *pullManifest() {
        yield { part: sealed.signed, size: BigInt(sealed.signed.length) };
      },
      async *pullBlobs({ sha256: digests }) {
        yield { blobs: digests.map((digest) => honest.store.blob(hex(digest))) };
      },
    };
    return sealed;
  }

  attack(device, 'manifest-by-member', async () => {
    const order = system.order('b');
    try {
      for (const [token, identity] of [
        [system.site('c').scratch!, identityOf('c', scratchAt('c'))],
        [system.site('c').token, identityOf('c', siteOf('c').partitions.all[0]!)],
      ] as const) {
        const sealed = await forge(token, identity);
        // Whole, and signed by somebody whom b trusts.
        const isPinned = (one: string): boolean => siteOf('b').trust.find(GROUP, one) !== undefined;
        expect(openSigned(sealed.signed, { group: GROUP, isPinned }).digest).toBe(sealed.digest);

        const apply = order.apply({ fence: fence(), generation: ref(sealed.digest), sources: [rogue.peer] }, options);
        expect((await rejection(apply)).code).toBe('PEER_REFUSED');
        expect(siteOf('b').store.has(sealed.digest)).toBe(false);
      }
    } finally {
      order.close();
      rogue.serves = {};
    }
    return 'refused';
  });

  attack(device, 'manifest-by-active', async () => {
    const sealed = await forge(system.site('a').token, identityOf('a', siteOf('a').partitions.all[0]!));
    const order = system.order('b');
    try {
      await order.apply({ fence: fence(), generation: ref(sealed.digest), sources: [rogue.peer] }, options);
      const { proof, contentDigest } = await order.verify(
        { fence: fence(), generation: ref(sealed.digest), everything: true },
        options,
      );
      expect(proof?.failed).toBe(0);
      expect(hex(contentDigest)).toBe(sealed.contentDigest);
      // And what the active member captures next is older.
      const genuine = { fence: fence(), generation: ref(captured.at(-1)!), sources: [address('a')] };
      expect((await rejection(order.apply(genuine, options))).code).toBe('GENERATION_NOT_NEWER');
    } finally {
      order.close();
      rogue.serves = {};
    }
    return 'documented';
  });

  attack(device, 'rollback', async () => {
    const { scratchSerial } = system.site('c');
    const [older, newer] = captured.slice(0, 2) as [string, string];
    const withOrders = async (work: (order: ReturnType<TestSystem['order']>) => Promise<void>): Promise<void> => {
      const order = system.order('c');
      await work(order).finally(() => order.close());
    };
    const sources = [address('a')];
    const refuseBoth = async (order: ReturnType<TestSystem['order']>): Promise<void> => {
      for (const digest of [older, newer]) {
        const rolledBack = order.apply({ fence: fence(), generation: ref(digest), sources }, options);
        expect((await rejection(rolledBack)).code).toBe('GENERATION_NOT_NEWER');
      }
    };
    await withOrders(async (order) => {
      // The older one is as genuine as ever: in a scratch partition it is restored and proved.
      const drill = { fence: fence(), drillId: 'older', generation: ref(older), scratchSerial, sources };
      expect((await order.drill(drill, options)).proof).toMatchObject({ proved: 1, failed: 0 });
      await refuseBoth(order);
    });
    await system.stopAgent('c');
    await system.startAgent('c');
    await withOrders(async (order) => {
      await refuseBoth(order);
      const promotion = order.promote({ fence: fence(2n, 'c'), generation: ref(older) }, options);
      expect((await rejection(promotion)).code).toBe('ROLE_REFUSED');
      expect(siteOf('c').journal.tenure.seat(GROUP)?.role).toBe('standby');
    });
    return 'refused';
  });
});
