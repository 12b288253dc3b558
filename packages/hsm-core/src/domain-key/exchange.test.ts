import { AntipodeError, bytesEqual } from '@antipode/runtime';
import { FakeClock, rejection } from '@antipode/runtime/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Kdf } from '../model/kdf.ts';
import { SimulatedMember } from '../testing/index.ts';
import { distributeDomainKey } from './distribution.ts';
import type { BeginExchange, CompleteExchange, ExchangeOffer, ExchangeTransport } from './exchange.ts';

const GROUP = 'payments';
let clock: FakeClock;
let a: SimulatedMember;
let b: SimulatedMember;

beforeEach(async () => {
  clock = new FakeClock();
  [a, b] = await Promise.all([SimulatedMember.make('a', { clock }), SimulatedMember.make('b', { clock })]);
  for (const member of [a, b]) for (const peer of [a, b]) member.pins.add(peer.keyring.identity.sha256);
});

const distribute = (
  members: readonly ExchangeTransport[],
  { version = 1, isPinned = (id: string) => a.pins.has(id) } = {},
) => distributeDomainKey({ ...a, serial: a.serial, group: GROUP, version, members, isPinned });

const domainKeys = (member: SimulatedMember) =>
  member.hsm.objects.filter(({ objectClass }) => objectClass === 'secret-key');
const flipped = (bytes: Uint8Array): Uint8Array =>
  Uint8Array.from(bytes, (byte, at) => (at === 40 % bytes.length ? byte ^ 1 : byte));

describe('a distribution', () => {
  it('brings one key to every member, unextractable, and leaves no session key behind', async () => {
    const { confirmedSerials, failures, checkTag } = await distribute([a.transport(), b.transport()]);
    expect([confirmedSerials, failures]).toEqual([['a', 'b'], []]);
    const [ofA, ofB] = [domainKeys(a), domainKeys(b)];
    expect(ofA[0]?.value).toEqual(ofB[0]?.value);
    for (const key of [...ofA, ...ofB]) expect(key.attributes).toMatchObject({ sensitive: true, extractable: false });
    for (const member of [a, b]) expect(bytesEqual(member.domainKeys[0]!.checkTag, checkTag!)).toBe(true);
    for (const member of [a, b]) expect(member.provider.sessionObjectCount).toBe(0);
  });

  it('makes another key for each version', async () => {
    await distribute([a.transport()], { version: 1 });
    await distribute([a.transport()], { version: 2 });
    const [first, second] = domainKeys(a);
    expect(first?.value).not.toEqual(second?.value);
  });

  it('brings it to nobody if one member does not answer, or is not pinned', async () => {
    const away: ExchangeTransport = {
      serial: 'away',
      begin: async () => {
        throw new AntipodeError('SITE_UNREACHABLE', 'no answer');
      },
      complete: b.transport().complete,
    };
    const outcome = await distribute([a.transport(), away, b.transport()]);
    expect(outcome.confirmedSerials).toEqual([]);
    expect(outcome.failures.map(({ serial, error }) => [serial, error.code])).toEqual([['away', 'SITE_UNREACHABLE']]);
    const ofB = b.keyring.identity.sha256;
    const refused = await distribute([a.transport(), b.transport()], { isPinned: (id) => id !== ofB });
    expect(refused.failures.map(({ serial, error }) => [serial, error.code])).toEqual([['b', 'PEER_NOT_PINNED']]);
    for (const member of [a, b]) expect(domainKeys(member)).toEqual([]);
  });

  it('goes on for the others if a member fails after all have answered', async () => {
    const failing: ExchangeTransport = {
      ...a.transport(),
      complete: async () => {
        throw new AntipodeError('SITE_UNREACHABLE', 'no answer');
      },
    };
    const { confirmedSerials, failures } = await distribute([failing, b.transport()]);
    expect(confirmedSerials).toEqual(['b']);
    expect(failures.map(({ serial, error }) => [serial, error.code])).toEqual([['a', 'SITE_UNREACHABLE']]);
  });
});

describe('the key derivation function of an exchange', () => {
  /** The way to b through a relay that changes offers. */
  const through = (change: (offer: ExchangeOffer) => ExchangeOffer): ExchangeTransport => {
    const transport = b.transport();
    return {
      ...transport,
      begin: async (message) => {
        const { offer, signature } = await transport.begin({ ...message, offer: change(message.offer) });
        return { offer: change(offer), signature };
      },
    };
  };
  const withoutKdfs = ({ kdfs: _kdfs, ...offer }: ExchangeOffer): ExchangeOffer => offer;
  /** By which function each derivation of a was made. */
  const usedBy = (member: SimulatedMember): (string | undefined)[] => {
    const used: (string | undefined)[] = [];
    const derive = member.provider.deriveExchangeKey.bind(member.provider);
    member.provider.deriveExchangeKey = (options) => {
      used.push(options.kdf);
      return derive(options);
    };
    return used;
  };

  it.each<[string, Kdf[], Kdf[], Kdf]>([
    ['the first that both offer', ['sha256', 'null'], ['sha384', 'sha256', 'null'], 'sha256'],
    ['none where one offers nothing else', ['sha256', 'null'], ['null'], 'null'],
  ])('is %s', async (_which, ofA, ofB, expected) => {
    a.hsm.kdfs = ofA;
    b.hsm.kdfs = ofB;
    const used = [usedBy(a), usedBy(b)];
    const { failures, confirmedSerials } = await distribute([b.transport()]);
    expect([failures, confirmedSerials]).toEqual([[], ['b']]);
    expect(used).toEqual([[expected], [expected]]);
  });

  it('is none between an agent and one that is older, and the transcript is the older one', async () => {
    const used = usedBy(b);
    const { confirmedSerials } = await distribute([through(withoutKdfs)]);
    expect([confirmedSerials, used]).toEqual([['b'], ['null']]);
  });

  it('must be one that both tokens offer: the error says what each of them offers', async () => {
    a.hsm.kdfs = ['sha256', 'sha1'];
    b.hsm.kdfs = ['null'];
    const { failures, confirmedSerials } = await distribute([b.transport()]);
    expect(confirmedSerials).toEqual([]);
    expect(failures[0]!.error).toMatchObject({
      code: 'EXCHANGE_REFUSED',
      message: expect.stringMatching(/a offers sha256, sha1.*b offers null/),
      details: { offers: 'sha256, sha1', answers: 'null' },
    });
    for (const member of [a, b]) expect(member.provider.sessionObjectCount).toBe(0);
    // An older member cannot use any other.
    const older = await distribute([through(withoutKdfs)]);
    expect(older.failures[0]!.error.code).toBe('EXCHANGE_REFUSED');
  });

  it.each<[string, (offer: ExchangeOffer) => ExchangeOffer]>([
    ['one name is taken out', (offer) => ({ ...offer, kdfs: offer.kdfs!.slice(1) })],
    ['one side is made to look older', (offer) => (offer.serial === 'a' ? withoutKdfs(offer) : offer)],
    ['a name is no name', (offer) => ({ ...offer, kdfs: ['null', 'a name'] })],
  ])('is signed: an exchange is refused when %s', async (_how, change) => {
    const { failures } = await distribute([through(change)]);
    expect(failures.map(({ error }) => error.code)).toEqual(['EXCHANGE_REFUSED']);
  });
});

/** A relay between the birthplace and b that changes what passes. */
function relay(change: {
  begin?: (message: BeginExchange) => BeginExchange;
  offer?: (offer: ExchangeOffer) => ExchangeOffer;
  answer?: (signature: Uint8Array) => Uint8Array;
  complete?: (message: CompleteExchange) => CompleteExchange;
  receipt?: (receipt: { checkTag: Uint8Array; signature: Uint8Array }) => {
    checkTag: Uint8Array;
    signature: Uint8Array;
  };
}): ExchangeTransport {
  const transport = b.transport();
  return {
    serial: 'b',
    begin: async (message) => {
      const { offer, signature } = await transport.begin(change.begin?.(message) ?? message);
      return { offer: change.offer?.(offer) ?? offer, signature: change.answer?.(signature) ?? signature };
    },
    complete: async (message) => {
      const receipt = await transport.complete(change.complete?.(message) ?? message);
      return change.receipt?.(receipt) ?? receipt;
    },
  };
}

describe('an exchange is refused, and nothing is installed,', () => {
  it.each<[string, string, () => ExchangeTransport]>([
    ['when the group was changed', 'EXCHANGE_REFUSED', () => relay({ begin: (one) => ({ ...one, group: 'other' }) })],
    ['when the version was changed', 'EXCHANGE_REFUSED', () => relay({ begin: (one) => ({ ...one, version: 9 }) })],
    [
      'when the point of the initiator was changed',
      'EXCHANGE_REFUSED',
      () => relay({ begin: (one) => ({ ...one, offer: { ...one.offer, point: flipped(one.offer.point) } }) }),
    ],
    [
      'when the nonce of the initiator was changed',
      'EXCHANGE_REFUSED',
      () => relay({ begin: (one) => ({ ...one, offer: { ...one.offer, nonce: flipped(one.offer.nonce) } }) }),
    ],
    [
      'when the serial of the initiator was changed',
      'EXCHANGE_REFUSED',
      () => relay({ begin: (one) => ({ ...one, offer: { ...one.offer, serial: 'x' } }) }),
    ],
    [
      'when the point of the responder was changed',
      'EXCHANGE_REFUSED',
      () => relay({ offer: (one) => ({ ...one, point: flipped(one.point) }) }),
    ],
    [
      'when the nonce of the responder was changed',
      'EXCHANGE_REFUSED',
      () => relay({ offer: (one) => ({ ...one, nonce: flipped(one.nonce) }) }),
    ],
    ['when another partition answers', 'EXCHANGE_REFUSED', () => ({ ...b.transport(), serial: 'c' })],
    ['when the answer is not signed', 'EXCHANGE_REFUSED', () => relay({ answer: flipped })],
    [
      'when the wrapped key was changed',
      'EXCHANGE_REFUSED',
      () => relay({ complete: (one) => ({ ...one, wrappedKey: flipped(one.wrappedKey) }) }),
    ],
    [
      'when the delivery is not signed',
      'EXCHANGE_REFUSED',
      () => relay({ complete: (one) => ({ ...one, signature: flipped(one.signature) }) }),
    ],
  ])('%s', async (_when, code, transport) => {
    const { confirmedSerials, failures } = await distribute([transport()]);
    expect(confirmedSerials).toEqual([]);
    expect(failures.map(({ error }) => error.code)).toEqual([code]);
    expect([domainKeys(b), b.domainKeys, a.provider.sessionObjectCount]).toEqual([[], [], 0]);
  });

  it('when the responder is not pinned at the birthplace', async () => {
    const { failures } = await distribute([b.transport()], { isPinned: () => false });
    expect(failures[0]?.error).toMatchObject({ code: 'PEER_NOT_PINNED', details: { group: GROUP, serial: 'b' } });
    expect(domainKeys(b)).toEqual([]);
  });

  it('when the birthplace is not pinned at the responder', async () => {
    b.pins.clear();
    const { failures } = await distribute([b.transport()]);
    expect(failures[0]?.error).toMatchObject({ code: 'PEER_NOT_PINNED', details: { group: GROUP, serial: 'a' } });
    expect(domainKeys(b)).toEqual([]);
  });
});

it('does not accept a changed receipt as a confirmation', async () => {
  for (const receipt of [
    (one: { checkTag: Uint8Array; signature: Uint8Array }) => ({ ...one, checkTag: flipped(one.checkTag) }),
    (one: { checkTag: Uint8Array; signature: Uint8Array }) => ({ ...one, signature: flipped(one.signature) }),
  ]) {
    b.domainKeys.length = 0;
    const { confirmedSerials, failures } = await distribute([relay({ receipt })]);
    expect(confirmedSerials).toEqual([]);
    expect(failures[0]?.error.code).toBe('EXCHANGE_REFUSED');
  }
});

it('does not accept a member that confirms another key', async () => {
  const c = await SimulatedMember.make('c', { clock });
  c.pins.add(a.keyring.identity.sha256);
  a.pins.add(c.keyring.identity.sha256);
  const liar: ExchangeTransport = {
    serial: 'c',
    ...(({ begin, complete }) => ({ begin, complete }))(c.transport()),
  };
  c.provider.installDomainKey = async () => ({ checkTag: new Uint8Array(32) });
  const { confirmedSerials, failures } = await distribute([b.transport(), liar]);
  expect(confirmedSerials).toEqual(['b']);
  expect(failures.map(({ serial, error }) => [serial, error.code])).toEqual([['c', 'EXCHANGE_REFUSED']]);
});

describe('a responder', () => {
  const offerOf = async (member: SimulatedMember): Promise<ExchangeOffer> => ({
    serial: member.serial,
    identity: member.keyring.identity.publicHalf,
    nonce: member.prng.bytes(32),
    point: (await member.provider.generateEphemeral()).point,
  });
  const begin = async (exchangeId: string, version = 1): Promise<BeginExchange> => ({
    exchangeId,
    group: GROUP,
    version,
    offer: await offerOf(a),
  });

  it.each<[string, Partial<ExchangeOffer>]>([
    ['a nonce that is short', { nonce: new Uint8Array(31) }],
    ['a point that is compressed', { point: new Uint8Array(33).fill(2) }],
    ['a point of another form', { point: new Uint8Array(65).fill(2) }],
  ])('refuses %s', async (_what, change) => {
    const message = await begin('x');
    const offer = { ...message.offer, ...change };
    expect((await rejection(b.responder().begin({ ...message, offer }))).code).toBe('EXCHANGE_REFUSED');
  });

  it('refuses a version that it already holds', async () => {
    await distribute([b.transport()]);
    expect((await rejection(b.transport().begin(await begin('x', 1)))).code).toBe('EXCHANGE_REFUSED');
    await b.transport().begin(await begin('x', 2));
  });

  it('refuses a completion without a beginning, and a second one', async () => {
    let second: CompleteExchange | undefined;
    const transport = relay({ complete: (message) => (second = message) });
    await distribute([transport]);
    expect((await rejection(transport.complete(second!))).code).toBe('EXCHANGE_REFUSED');
    const responder = b.responder();
    await responder.begin(await begin('x', 2));
    expect((await rejection(responder.begin(await begin('x', 2)))).code).toBe('EXCHANGE_REFUSED');
    const nothing = { exchangeId: 'y', wrappedKey: new Uint8Array(40), signature: new Uint8Array(64) };
    expect((await rejection(responder.complete(nothing))).code).toBe('EXCHANGE_REFUSED');
    expect(domainKeys(b)).toHaveLength(1);
  });

  it('keeps a bounded number of exchanges open, each for one minute', async () => {
    const responder = b.responder();
    for (let number = 0; number < 16; number += 1) await responder.begin(await begin(`x${number}`));
    expect((await rejection(responder.begin(await begin('one more')))).code).toBe('EXCHANGE_REFUSED');
    await clock.advance(60_000);
    expect((await rejection(responder.begin(await begin('one more')))).code).toBe('EXCHANGE_REFUSED');
    await clock.advance(1);
    await responder.begin(await begin('one more'));
  });

  it('installs no key that it has not announced', async () => {
    const failure = new AntipodeError('FILE_UNWRITABLE', 'disk full');
    b.announced.push = () => {
      throw failure;
    };
    const { failures } = await distribute([b.transport()]);
    expect([failures.map(({ error }) => error), domainKeys(b)]).toEqual([[failure], []]);
  });

  it('gives its receipt only after the key is recorded', async () => {
    const failure = new AntipodeError('FILE_UNWRITABLE', 'disk full');
    b.domainKeys.push = () => {
      throw failure;
    };
    const { failures } = await distribute([b.transport()]);
    expect(failures.map(({ error }) => error)).toEqual([failure]);
  });
});
