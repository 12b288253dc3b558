/** The exchange of a domain key, in the hands of a relay, of a stranger, and of whoever holds the PIN of a member. */
import { randomBytes } from 'node:crypto';
import { CKA, CKK, CKM, CKO, mechanism, P256_PARAMS } from '@antipode/cryptoki';
import {
  type BeginExchange,
  type CompleteExchange,
  type Distribution,
  distributeDomainKey,
  type ExchangeOffer,
  ExchangeResponder,
  type ExchangeTransport,
} from '@antipode/hsm-core';
import { SealedGroup } from '@antipode/hsm-core/testing';
import { hex, systemClock, systemPrng } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { attack, DEVICES, type Member, makeMember } from './support/device.ts';
import { openRawToken, type RawToken, refusalOf } from './support/raw-token.ts';
import {
  checkTagOf,
  SoftwareIdentity,
  SoftwarePoint,
  SoftwareReceiver,
  sha256,
  transcript,
  unwrapInSoftware,
  wrapForReceiver,
  wrapInSoftware,
} from './support/software.ts';
import { AES_SESSION_KEY, APPLICATION_KEY, flags, id, value } from './support/templates.ts';

const GROUP = 'payments';
/** CK_RSA_PKCS_OAEP_PARAMS: SHA-1, MGF1 with SHA-1, an empty label. */
const OAEP_SHA1 = Buffer.concat(
  [0x220, 1, 1, 0, 0].map((word) => Buffer.from([word & 0xff, word >> 8, 0, 0, 0, 0, 0, 0])),
);

describe.each(DEVICES)('an exchange, on $name', (device) => {
  const KWP = mechanism(device.keyWrap);
  /** Where domain keys are made, a member that receives them, another one, and a partition that nobody has pinned. */
  let a: Member;
  let b: Member;
  let c: Member;
  let mallory: Member;
  let rawA: RawToken;
  let rawB: RawToken;
  let version = 0;

  beforeAll(async () => {
    [a, b, c, mallory] = await Promise.all([
      makeMember(device, 'birthplace'),
      makeMember(device, 'member'),
      makeMember(device, 'other-member'),
      makeMember(device, 'mallory'),
    ]);
    for (const one of [a, b, c]) for (const peer of [a, b, c]) one.pins.add(peer.fingerprint);
    [rawA, rawB] = await Promise.all([openRawToken(a.token), openRawToken(b.token)]);
  });

  afterAll(async () => {
    await Promise.all([rawA, rawB].map((raw) => raw?.close()));
    await Promise.all([a, b, c, mallory].map((member) => member?.close()));
  });

  /** Makes the next version at `a` and brings it to members. */
  const distribute = (
    members: readonly ExchangeTransport[],
    {
      isPinned = (identity: string) => a.pins.has(identity),
    }: { isPinned?: (identity: string, offer: ExchangeOffer) => boolean } = {},
  ): Promise<Distribution> => {
    version += 1;
    const { provider, keyring, serial } = a;
    return distributeDomainKey({
      provider,
      keyring,
      prng: systemPrng,
      serial,
      group: GROUP,
      version,
      members,
      isPinned,
    });
  };
  const codes = ({ failures }: Distribution): string[] => failures.map(({ error }) => error.code);
  const everybody = (): boolean => true;
  const identityIn = async (raw: RawToken, { identity }: Member): Promise<bigint> =>
    (await raw.find([[CKA.CLASS, CKO.PRIVATE_KEY], [CKA.KEY_TYPE, CKK.EC], ...id(identity.ckaId)]))[0]!;
  /** The power of the PIN: the identity key signs anything. */
  const signer = async (raw: RawToken, member: Member) => {
    const identity = await identityIn(raw, member);
    return (message: Uint8Array): Promise<Uint8Array> => raw.sign(mechanism(CKM.ECDSA), identity, sha256(message));
  };
  const offerOf = (member: Member, point: Uint8Array): ExchangeOffer => ({
    serial: member.serial,
    identity: member.identity.publicHalf,
    nonce: new Uint8Array(randomBytes(32)),
    point,
    ...(member.keyring.receivingKey === undefined ? {} : { receiver: member.keyring.receivingKey.publicHalf }),
  });
  const nextBegin = (offer: ExchangeOffer): BeginExchange => {
    version += 1;
    return { exchangeId: hex(randomBytes(16)), group: GROUP, version, offer };
  };

  // --- how it goes without signatures ---

  /** Both tokens make their pairs, a relay carries the points, and the key crosses wrapped: no more than ECDH. */
  async function unauthenticated(relay: (point: Uint8Array) => Uint8Array) {
    const pairOf = async (raw: RawToken) => {
      const { publicKey, privateKey } = await raw.generateKeyPair(
        mechanism(CKM.EC_KEY_PAIR_GEN),
        [
          [CKA.EC_PARAMS, P256_PARAMS],
          [CKA.TOKEN, false],
        ],
        [[CKA.TOKEN, false], ...flags({ private: true, sensitive: true, derive: true })],
      );
      const point = (await raw.attributes(publicKey, [CKA.EC_POINT])).get(CKA.EC_POINT)!;
      return { privateKey, point: point.slice(-65) };
    };
    const [ofA, ofB] = [await pairOf(rawA), await pairOf(rawB)];
    const derive = (raw: RawToken, key: bigint, point: Uint8Array) =>
      raw.deriveKey({ type: CKM.ECDH1_DERIVE, point }, key, [
        ...AES_SESSION_KEY,
        [CKA.VALUE_LEN, 32],
        ...flags({ sensitive: true, extractable: false, wrap: true, unwrap: true }),
      ]);
    const secret = randomBytes(32);
    const key = await rawA.create([
      ...AES_SESSION_KEY,
      ...flags({ sensitive: true, extractable: true }),
      ...value(secret),
    ]);
    const wrapped = await rawA.wrapKey(KWP, await derive(rawA, ofA.privateKey, relay(ofB.point)), key);
    const exchangeKeyAtB = await derive(rawB, ofB.privateKey, relay(ofA.point));
    const unwrap = (blob: Uint8Array): Promise<bigint> =>
      rawB.unwrapKey(KWP, exchangeKeyAtB, blob, [...AES_SESSION_KEY, ...flags({ sensitive: true })]);
    return { secret, wrapped, unwrap, pointOfA: ofA.point, pointOfB: ofB.point, deriveAtA: derive };
  }

  attack(device, 'man-in-the-middle', async () => {
    const middle = new SoftwarePoint();
    const naive = await unauthenticated(() => middle.point);
    const stolen = unwrapInSoftware(
      middle.agree(naive.pointOfB),
      wrapInSoftware(middle.agree(naive.pointOfB), naive.secret),
    );
    expect(unwrapInSoftware(middle.agree(naive.pointOfA), naive.wrapped)).toEqual(naive.secret);
    await naive.unwrap(wrapInSoftware(middle.agree(naive.pointOfB), stolen));

    // Mallory has a token and an identity, trusts everybody, and speaks to either side under the serial of the other.
    const towardsA = new ExchangeResponder({ ...responderOf(mallory), serial: b.serial, isPinned: everybody });
    const asB: ExchangeTransport = {
      serial: b.serial,
      begin: (message) => towardsA.begin(message),
      complete: (message) => towardsA.complete(message),
    };
    const before = mallory.domainKeys.length;
    const towardsB = await distributeDomainKey({
      provider: mallory.provider,
      keyring: mallory.keyring,
      prng: systemPrng,
      serial: a.serial,
      group: GROUP,
      version: version + 1,
      members: [b.transport()],
      isPinned: everybody,
    });
    expect(codes(towardsB)).toEqual(['PEER_NOT_PINNED']);
    expect(codes(await distribute([asB]))).toEqual(['PEER_NOT_PINNED']);
    expect([mallory.domainKeys.length, b.domainKeys.length]).toEqual([before, 0]);
    return 'refused';
  });

  const responderOf = (member: Member): ConstructorParameters<typeof ExchangeResponder>[0] => ({
    provider: member.provider,
    keyring: member.keyring,
    prng: systemPrng,
    clock: systemClock,
    serial: member.serial,
    isPinned: (_group, identity) => member.pins.has(identity),
    holds: (_group, wanted) => member.domainKeys.some((record) => record.version === wanted),
    announce: () => {},
    remember: (record) => member.domainKeys.push(record),
  });

  attack(device, 'substituted-identity', async () => {
    const asB = (): ExchangeTransport => {
      const responder = new ExchangeResponder({ ...responderOf(mallory), serial: b.serial, isPinned: everybody });
      return {
        serial: b.serial,
        begin: (message) => responder.begin(message),
        complete: (message) => responder.complete(message),
      };
    };
    // Trust on first use: whoever answers gets it.
    expect((await distribute([asB()], { isPinned: everybody })).confirmedSerials).toEqual([b.serial]);
    expect(mallory.domainKeys).toHaveLength(1);

    expect(codes(await distribute([a.transport(), asB()]))).toEqual(['PEER_NOT_PINNED']);
    // With the identity of b, which is public, and a signature of its own.
    const stranger = new SoftwareIdentity();
    const claimsToBeB: ExchangeTransport = {
      serial: b.serial,
      begin: async (message) => {
        const offer = offerOf(b, new SoftwarePoint().point);
        return { offer, signature: stranger.sign(transcript('answer', message, offer)) };
      },
      complete: () => expect.unreachable('nothing is delivered to a stranger'),
    };
    expect(codes(await distribute([a.transport(), claimsToBeB]))).toEqual(['EXCHANGE_REFUSED']);
    const offer = offerOf(mallory, new SoftwarePoint().point);
    expect((await rejection(b.responder().begin(nextBegin(offer)))).code).toBe('PEER_NOT_PINNED');
    expect([a.domainKeys.length, b.domainKeys.length, mallory.domainKeys.length]).toEqual([0, 0, 1]);
    return 'refused';
  });

  attack(device, 'swapped-point', async () => {
    const own = new SoftwarePoint();
    const naive = await unauthenticated(() => own.point);
    expect(unwrapInSoftware(own.agree(naive.pointOfA), naive.wrapped)).toEqual(naive.secret);

    const through = (change: { offer?: boolean; answer?: boolean }): ExchangeTransport => {
      const transport = b.transport();
      return {
        ...transport,
        begin: async (message) => {
          const swapped = { ...message, offer: { ...message.offer, point: own.point } };
          const { offer, signature } = await transport.begin(change.offer ? swapped : message);
          return { offer: change.answer ? { ...offer, point: own.point } : offer, signature };
        },
        complete: () => expect.unreachable('nothing is delivered over a point that nobody signed'),
      };
    };
    for (const change of [{ offer: true }, { answer: true }, { offer: true, answer: true }])
      expect(codes(await distribute([through(change)]))).toEqual(['EXCHANGE_REFUSED']);
    expect(b.domainKeys).toEqual([]);
    return 'refused';
  });

  attack(device, 'invalid-point', async () => {
    const point = new SoftwarePoint().point;
    point[64]! ^= 1;
    const sign = await signer(rawB, b);
    const offCurve: ExchangeTransport = {
      serial: b.serial,
      begin: async (message) => {
        const offer = offerOf(b, point);
        return { offer, signature: await sign(transcript('answer', message, offer)) };
      },
      complete: () => expect.unreachable('no key is agreed on'),
    };
    expect(codes(await distribute([offCurve]))).toEqual(['HSM_REFUSED']);

    const responder = b.responder();
    const begun = nextBegin(offerOf(a, point));
    const answer = await responder.begin(begun);
    const wrappedKey = new Uint8Array(randomBytes(40));
    const signature = await (await signer(rawA, a))(transcript('delivery', begun, answer.offer, sha256(wrappedKey)));
    const delivery = { exchangeId: begun.exchangeId, wrappedKey, signature };
    expect((await rejection(responder.complete(delivery))).code).toBe('HSM_REFUSED');
    expect(b.domainKeys).toEqual([]);
    return 'refused';
  });

  attack(device, 'replayed-answer', async () => {
    // Without a transcript a point of last year is as good as a fresh one.
    const naive = await unauthenticated((point) => point);
    const recorded = naive.pointOfB;
    expect(await naive.unwrap(naive.wrapped)).toBeTypeOf('bigint');
    expect((await unauthenticated((point) => (point.length > 0 ? recorded : point))).wrapped).toHaveLength(40);

    const answers: Awaited<ReturnType<ExchangeTransport['begin']>>[] = [];
    const transport = b.transport();
    const recording: ExchangeTransport = {
      ...transport,
      begin: async (message) => {
        const answer = await transport.begin(message);
        answers.push(answer);
        return answer;
      },
    };
    expect((await distribute([recording])).confirmedSerials).toEqual([b.serial]);
    const replaying: ExchangeTransport = {
      serial: b.serial,
      begin: async () => answers[0]!,
      complete: () => expect.unreachable('nothing is delivered on an old answer'),
    };
    expect(codes(await distribute([replaying]))).toEqual(['EXCHANGE_REFUSED']);
    return 'refused';
  });

  attack(device, 'replayed-delivery', async () => {
    // An unwrap does not remember what it has unwrapped.
    const naive = await unauthenticated((point) => point);
    await naive.unwrap(naive.wrapped);
    expect(await naive.unwrap(naive.wrapped)).toBeTypeOf('bigint');

    const responder = b.responder();
    const seen: { begin?: BeginExchange; complete?: CompleteExchange } = {};
    const recording: ExchangeTransport = {
      serial: b.serial,
      begin: (message) => {
        seen.begin = message;
        return responder.begin(message);
      },
      complete: (message) => {
        seen.complete = message;
        return responder.complete(message);
      },
    };
    expect((await distribute([recording])).confirmedSerials).toEqual([b.serial]);
    const held = b.domainKeys.length;
    const again = () => rejection(responder.complete(seen.complete!));
    expect((await again()).code).toBe('EXCHANGE_REFUSED');
    // The version is held; a member that has lost its journal meanwhile does not know that.
    expect((await rejection(responder.begin(seen.begin!))).code).toBe('EXCHANGE_REFUSED');
    const forgetful = new ExchangeResponder({ ...responderOf(b), holds: () => false });
    await forgetful.begin(seen.begin!);
    expect((await rejection(forgetful.complete(seen.complete!))).code).toBe('EXCHANGE_REFUSED');
    expect(b.domainKeys).toHaveLength(held);
    return 'refused';
  });

  attack(device, 'foreign-wrapped-key', async () => {
    const deliveries: CompleteExchange[] = [];
    const held = b.domainKeys.length;
    const swapping = ({ serial, begin, complete }: ExchangeTransport): ExchangeTransport => ({
      serial,
      begin,
      complete: (message) => {
        deliveries.push(message);
        return complete({ ...message, wrappedKey: deliveries[0]!.wrappedKey });
      },
    });
    const { confirmedSerials, failures } = await distribute([swapping(c.transport()), swapping(b.transport())]);
    expect(confirmedSerials).toEqual([c.serial]);
    expect(failures).toMatchObject([{ serial: b.serial, error: { code: 'EXCHANGE_REFUSED' } }]);
    expect(b.domainKeys).toHaveLength(held);
    return 'refused';
  });

  attack(device, 'forged-receipt', async () => {
    const held = b.domainKeys.length;
    const stranger = new SoftwareIdentity();
    const transport = b.transport();
    /** Lets the member answer, keeps what it was to be given, and thanks for it. */
    const keeping = (sign: (message: Uint8Array) => Uint8Array): ExchangeTransport => {
      let begun: BeginExchange | undefined;
      let answer: ExchangeOffer | undefined;
      return {
        serial: b.serial,
        begin: async (message) => {
          begun = message;
          const { offer, signature } = await transport.begin(message);
          answer = offer;
          return { offer, signature };
        },
        complete: async ({ wrappedKey }) => {
          const checkTag = new Uint8Array(randomBytes(32));
          const receipt = transcript('receipt', begun!, answer!, sha256(wrappedKey), checkTag);
          return { checkTag, signature: sign(receipt) };
        },
      };
    };
    for (const sign of [(message: Uint8Array) => stranger.sign(message), () => new Uint8Array(64)]) {
      const { confirmedSerials, failures } = await distribute([keeping(sign)]);
      expect(confirmedSerials).toEqual([]);
      expect(failures).toMatchObject([{ error: { code: 'EXCHANGE_REFUSED' } }]);
    }
    expect(b.domainKeys).toHaveLength(held);
    return 'refused';
  });

  attack(device, 'wrong-seat', async () => {
    const held = c.domainKeys.length;
    const responder = new ExchangeResponder({ ...responderOf(b), serial: c.serial });
    const asC: ExchangeTransport = {
      serial: c.serial,
      begin: (message) => responder.begin(message),
      complete: (message) => responder.complete(message),
    };
    // Were it enough to be anybody who is pinned: c is confirmed, and holds nothing.
    expect((await distribute([asC])).confirmedSerials).toEqual([c.serial]);
    expect(c.domainKeys).toHaveLength(held);
    // An agent's pins say which partition an identity belongs to.
    const bySerial = new Map([b, c].map((member) => [member.fingerprint, member.serial]));
    const isPinned = (identity: string, { serial }: { serial: string }) => bySerial.get(identity) === serial;
    const { confirmedSerials, failures } = await distribute([asC], { isPinned });
    expect([confirmedSerials, failures]).toMatchObject([
      [],
      [{ serial: c.serial, error: { code: 'PEER_NOT_PINNED' } }],
    ]);
    return 'refused';
  });

  /** Tries the key sent under the receiving key of `b`, by raw calls with its PIN. */
  async function opensNowhere(sealed: Uint8Array): Promise<void> {
    const OAEP = { type: CKM.RSA_PKCS_OAEP, parameter: OAEP_SHA1 };
    const [receiver] = await rawB.find([
      [CKA.CLASS, CKO.PRIVATE_KEY],
      [CKA.KEY_TYPE, CKK.RSA],
      ...id(b.identity.ckaId),
    ]);
    const readable = [...AES_SESSION_KEY, ...flags({ sensitive: false, extractable: true })];
    for (const template of [readable, [...AES_SESSION_KEY, ...flags({ sensitive: true, extractable: true })]])
      expect(await refusalOf(rawB.unwrapKey(OAEP, receiver!, sealed, template))).toBe('CKR_TEMPLATE_INCONSISTENT');
    expect(await refusalOf(rawB.decrypt(OAEP, receiver!, sealed))).toBe('CKR_KEY_FUNCTION_NOT_PERMITTED');
    expect(await refusalOf(rawB.setAttributeValue(receiver!, flags({ decrypt: true })))).not.toBe('CKR_OK');
    expect(await refusalOf(rawB.copyObject(receiver!, flags({ decrypt: true })))).not.toBe('CKR_OK');
    const own = await rawB.create([...AES_SESSION_KEY, ...flags({ wrap: true }), ...value(randomBytes(32))]);
    expect(await refusalOf(rawB.wrapKey(KWP, own, receiver!))).toBe('CKR_KEY_UNEXTRACTABLE');
  }

  attack(device, 'software-point', async () => {
    const { receivingKey } = b.keyring;
    const thief = new SoftwareReceiver(b.identity, await signer(rawB, b), receivingKey?.publicHalf);
    const asB: ExchangeTransport = {
      serial: b.serial,
      begin: (message) => thief.begin(message),
      complete: (message) => thief.complete(message),
    };
    if (receivingKey !== undefined) {
      // Without the key that the pin covers too, nothing is sent at all.
      const bare = new SoftwareReceiver(b.identity, await signer(rawB, b));
      const withoutIt = { ...asB, begin: (message: BeginExchange) => bare.begin(message) };
      expect(codes(await distribute([a.transport(), withoutIt]))).toEqual(['EXCHANGE_REFUSED']);
      const { publicHalf } = mallory.keyring.receivingKey!;
      const swapped = new SoftwareReceiver(b.identity, await signer(rawB, b), publicHalf);
      const withAnother = { ...asB, begin: (message: BeginExchange) => swapped.begin(message) };
      expect(codes(await distribute([a.transport(), withAnother]))).toEqual(['EXCHANGE_REFUSED']);

      expect((await distribute([a.transport(), asB])).confirmedSerials).toEqual([a.serial]);
      await opensNowhere(thief.stolen!);
      await a.refresh();
      return 'refused';
    }
    const confirmed = { confirmedSerials: [a.serial, b.serial], failures: [] };
    expect(await distribute([a.transport(), asB])).toMatchObject(confirmed);
    await a.refresh();
    // Captures from now on can be opened outside of every token.
    const secret = randomBytes(32);
    await rawA.create([...APPLICATION_KEY, ...value(secret)]);
    const group = new SealedGroup();
    const { generation } = await group.captured(a, { domainKeyVersion: version });
    const blob = group.blobs.get(generation.entries[0]!.blobSha256!)!;
    expect(unwrapInSoftware(thief.stolen!, blob)).toEqual(secret);
    return 'documented';
  });

  attack(device, 'planted-domain-key', async () => {
    const [own, known] = [new SoftwarePoint(), randomBytes(32)];
    const sign = await signer(rawA, a);
    const responder = b.responder();
    const begun = nextBegin(offerOf(a, own.point));
    const { offer: answer } = await responder.begin(begun);
    // A receiving key is not a secret: anybody who knows a key can send it.
    const sent = answer.receiver === undefined ? known : wrapForReceiver(answer.receiver, known);
    const wrappedKey = new Uint8Array(wrapInSoftware(own.agree(answer.point), sent));
    const signature = await sign(transcript('delivery', begun, answer, sha256(wrappedKey)));
    await responder.complete({ exchangeId: begun.exchangeId, wrappedKey, signature });
    expect(b.domainKeys.at(-1)).toMatchObject({ version, checkTag: new Uint8Array(checkTagOf(known)) });
    await b.refresh();
    expect(b.keyring.missing).toEqual([]);
    expect(await refusalOf(rawB.destroy(b.keyring.domainKey(GROUP, version).handle))).toBe('CKR_OK');
    return 'documented';
  });
});
