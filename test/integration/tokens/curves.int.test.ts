/**
 * Keys on any curve that the token makes. A curve is known by its parameters. So both halves are carried, compared and
 * proved, and a replaced key is recognised as another. The judges at the standby are `pkcs11-tool`, OpenSSL's engine by
 * id and by label, and plain OpenSSL in this process.
 */
import { createHash, createPublicKey, generateKeyPairSync, type KeyObject, randomBytes, verify } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { CKA, CKK, CKM, CKO, mechanism, P256_PARAMS, type Template } from '@antipode/cryptoki';
import type { HsmProvider } from '@antipode/hsm-core';
import { kindOf, type ObservedObject, ReplicaMemory, rehearse, type SealedGeneration, scrub } from '@antipode/hsm-core';
import { barePoint, curveOf, ecPublicHalf, ecSubject, paramsIn } from '@antipode/hsm-core/testing';
import { hex, systemClock } from '@antipode/runtime';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { flags, id, label } from '../../attacks/support/templates.ts';
import { faulty } from '../../support/faulty.ts';
import { makePair, PORTABLE, TokenPair } from '../../support/token-pair.ts';
import { Desk, EngineUser } from '../../support/token-users.ts';
import { temporaryFolder } from '../../support/tokens.ts';

const desk = new Desk(temporaryFolder('curves'));
let pair: TokenPair;

beforeAll(async () => {
  pair = await TokenPair.make();
  writeFileSync(desk.at('message'), 'pay 12 to Anna\n');
  desk.openssl('dgst', '-sha256', '-binary', '-out', 'digest', 'message');
});
afterEach(() => pair.empty());
afterAll(async () => {
  await pair?.close();
  rmSync(desk.folder, { recursive: true, force: true });
});

const names = [...label('payments'), ...id(Uint8Array.of(7))];

function paramsOf(namedCurve: string, paramEncoding: 'named' | 'explicit' = 'named'): Uint8Array {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve, paramEncoding });
  return paramsIn(new Uint8Array(publicKey.export({ format: 'der', type: 'spki' })))!;
}

/** The public key that an application knows of its pair. It is composed here, not by the product. */
async function make(params: Uint8Array, name: Template = names) {
  const made = await makePair(pair.source, params, ...name);
  // SoftHSM allows them where nobody asks, and has no mechanism for them.
  const impossible = [0x105, 0x107, 0x109].map((type) => [type, false] as const);
  await pair.source.setAttributeValue(made.privateKey, impossible);
  const wrapped = (await pair.source.attributes(made.publicKey, [CKA.EC_POINT])).get(CKA.EC_POINT)!;
  const point = wrapped.subarray(wrapped[1]! < 0x80 ? 2 : 3);
  const der = Buffer.from(ecSubject(params, point));
  return { ...made, name, key: createPublicKey({ key: der, format: 'der', type: 'spki' }) };
}

async function destroy({ privateKey, publicKey }: { privateKey: bigint; publicKey: bigint }): Promise<void> {
  for (const half of [privateKey, publicKey]) await pair.source.destroy(half);
}

/** Whether the private keys that a program finds by its name at the standby sign as its public key says: one, and it does. */
async function signsAtStandby({ key, name }: { key: KeyObject; name: Template }): Promise<boolean[]> {
  const found = await pair.standby.find([[CKA.CLASS, CKO.PRIVATE_KEY], ...name]);
  const message = randomBytes(20);
  const digest = createHash('sha1').update(message).digest();
  const signatures = await Promise.all(found.map((one) => pair.standby.sign(mechanism(CKM.ECDSA), one, digest)));
  return signatures.map((signature) => verify('sha1', message, { key, dsaEncoding: 'ieee-p1363' }, signature));
}

const CURVES: [string, Uint8Array][] = [
  ...['secp256k1', 'brainpoolP256r1', 'brainpoolP320t1', 'brainpoolP512r1', 'secp224r1', 'secp112r2'].map(
    (name): [string, Uint8Array] => [name, paramsOf(name)],
  ),
  ['sect233k1, over a binary field', paramsOf('sect233k1')],
  ['secp256k1 by explicit parameters', paramsOf('secp256k1', 'explicit')],
];

describe('pairs on curves of every kind', () => {
  const makeAll = () =>
    Promise.all(CURVES.map(([name, params], index) => make(params, [...label(name), ...id(Uint8Array.of(index + 1))])));
  type Made = Awaited<ReturnType<typeof makeAll>>;
  const answers = async (made: Made): Promise<Record<string, boolean[]>> =>
    Object.fromEntries(
      await Promise.all(CURVES.map(async ([name], index) => [name, await signsAtStandby(made[index]!)] as const)),
    );
  const each = (value: boolean[]) => Object.fromEntries(CURVES.map(([name]) => [name, value]));
  const count = CURVES.length;
  /** Every key is replaced at once, which a capture would hold. */
  const ANY_LOSS = { lossLimit: { objects: count, percent: 100 } };
  /** SoftHSM agrees on no curve over a binary field, with any key: that is counted, and no fault of a key. */
  const PROVED = { proved: 2 * count, failed: 0, usesNotExercised: 1 };

  it('serve at the standby with both halves, and every use of them was tried or counted', async () => {
    const made = await makeAll();
    const { generation } = await pair.replicate();
    expect(generation.uncaptured).toEqual([]);
    const halves = made.map(({ key }) => hex(key.export({ format: 'der', type: 'spki' })));
    expect(generation.entries.map(({ publicHalf }) => hex(publicHalf!)).sort()).toEqual([...halves, ...halves].sort());
    expect(await answers(made)).toEqual(each([true]));
    const { proof } = await pair.group.verify(pair.b, pair.group.newest!, { memory: new ReplicaMemory() });
    expect(proof).toMatchObject(PROVED);
    expect(proof.notExercised.flatMap(({ uses }) => uses)).toEqual(['derive']);
  });

  it('are known to be others when they were replaced under their names, seen or unseen', async () => {
    const old = await makeAll();
    await pair.replicate();
    for (const one of old) await destroy(one);
    const next = await makeAll();
    expect((await pair.replicate(ANY_LOSS)).generation).toMatchObject({
      uncaptured: [],
      entries: { length: 2 * count },
    });
    expect(await answers(next)).toEqual(each([true]));

    // While no agent looks: all that it remembers is the generation.
    for (const one of next) await destroy(one);
    const last = await makeAll();
    await pair.restart();
    const { generation } = await pair.replicate(ANY_LOSS);
    expect([generation.uncaptured, generation.tombstones.length]).toEqual([[], 4 * count]);
    expect(await answers(last)).toEqual(each([true]));
    for (const made of [old, next]) expect(await answers(made)).toEqual(each([false]));
    await pair.restart();
    expect((await pair.group.capture(pair.a)).sealed).toBeUndefined();
    const { provider, keyring } = pair.b;
    const report = await scrub({ provider, keyring, clock: systemClock, target: pair.group.newest!, known: new Map() });
    expect(report).toMatchObject({ proof: PROVED, missing: [], altered: [] });
  }, 60_000);
});

it('a private key without its public key beside it is known to be replaced, too', async () => {
  const params = paramsOf('secp256k1');
  const old = await make(params);
  await pair.source.destroy(old.publicKey);
  const { generation } = await pair.replicate();
  expect(generation.entries.map(({ publicHalf }) => hex(publicHalf!))).toEqual([
    hex(old.key.export({ format: 'der', type: 'spki' })),
  ]);
  await pair.source.destroy(old.privateKey);
  const next = await make(params);
  await pair.source.destroy(next.publicKey);
  await pair.restart();
  expect((await pair.replicate()).generation).toMatchObject({ uncaptured: [], entries: { length: 1 } });
  expect(await signsAtStandby(next)).toEqual([true]);
});

it('a key on one curve never passes for one of the same size on another', async () => {
  const made: Awaited<ReturnType<typeof make>>[] = [];
  for (const name of ['prime256v1', 'secp256k1', 'brainpoolP256r1', 'brainpoolP256t1'])
    made.push(await make(paramsOf(name)));
  const { generation } = await pair.replicate();
  const halves = generation.entries.map(({ publicHalf }) => hex(publicHalf!)).sort();
  const expected = made.map(({ key }) => hex(key.export({ format: 'der', type: 'spki' })));
  expect(halves).toEqual([...expected, ...expected].sort());
  for (const one of made) expect((await signsAtStandby(one)).filter(Boolean)).toHaveLength(1);
});

describe.each(['secp256k1', 'brainpoolP512r1'])('EC:%s, as pkcs11-tool makes it,', (curve) => {
  const makeByTool = (file: string): void => {
    const uses = ['--extractable', '--usage-sign', '--id', '0b', '--label', 'tls'];
    pair.a.token.tool('--keypairgen', '--key-type', `EC:${curve}`, ...uses);
    const engine = new EngineUser(desk, pair.a.token);
    engine.openssl(
      'pkey',
      '-pubin',
      '-in',
      engine.publicKey('0b'),
      '-pubout',
      '-outform',
      'DER',
      '-out',
      desk.at(file),
    );
  };
  const destroyByTool = (): void => {
    for (const type of ['privkey', 'pubkey']) pair.a.token.tool('--delete-object', '--type', type, '--id', '0b');
  };
  /** Whether what answers at the standby is the key of that file: to pkcs11-tool by id, to the engine by id and by label. */
  const answers = (file: string): boolean[] => {
    const engine = new EngineUser(desk, pair.b.token);
    const bySigner = (key: string) => () =>
      engine.openssl('dgst', '-sha256', '-sign', key, '-out', desk.at('signature'), desk.at('message'));
    const sign = ['--sign', '-m', 'ECDSA', '--signature-format', 'openssl', '--id', '0b'];
    const byTool = () => pair.b.token.tool(...sign, '-i', desk.at('digest'), '-o', desk.at('signature'));
    return [byTool, bySigner(engine.key('0b')), bySigner(engine.keyByLabel('tls'))].map((way) => {
      way();
      try {
        const judged = ['-verify', file, '-keyform', 'DER', '-signature', 'signature', 'message'];
        return desk.openssl('dgst', '-sha256', ...judged) === 'Verified OK\n';
      } catch {
        return false;
      }
    });
  };

  it('answers at the standby by id and by label, and so does its successor', async () => {
    makeByTool('old.der');
    await pair.replicate();
    expect(answers('old.der')).toEqual([true, true, true]);
    const engine = new EngineUser(desk, pair.b.token);
    const standby = engine.openssl('pkey', '-pubin', '-in', engine.publicKey('0b'), '-pubout');
    expect(standby).toBe(desk.openssl('pkey', '-pubin', '-inform', 'DER', '-in', 'old.der', '-pubout'));
    engine.openssl('req', '-new', '-key', engine.key('0b'), '-subj', '/CN=anna', '-out', desk.at('request'));
    expect(desk.openssl('req', '-in', 'request', '-noout', '-pubkey')).toBe(standby);

    destroyByTool();
    makeByTool('new.der');
    await pair.restart();
    await pair.replicate();
    expect([answers('new.der'), answers('old.der')]).toEqual([
      [true, true, true],
      [false, false, false],
    ]);
  });
});

it.each([
  ['compressed', 'prime256v1'],
  ['hybrid', 'prime256v1'],
  ['compressed', 'brainpoolP256r1'],
] as const)('a public key whose point is %s on %s comes as it is, and means the same', async (form, name) => {
  const params = paramsOf(name);
  const curve = curveOf(params)!;
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: name });
  const spki = new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }));
  const point = spki.slice(-(2 * curve.fieldBytes + 1));
  const head = (form === 'hybrid' ? 6 : 2) + (point.at(-1)! & 1);
  const given = Buffer.concat([Uint8Array.of(head), point.subarray(1, form === 'hybrid' ? undefined : 33)]);
  const encoded = Buffer.concat([Uint8Array.of(4, given.length), given]);
  await pair.source.create([
    [CKA.CLASS, CKO.PUBLIC_KEY],
    [CKA.KEY_TYPE, CKK.EC],
    [CKA.TOKEN, true],
    [CKA.EC_PARAMS, params],
    [CKA.EC_POINT, encoded],
    ...flags({ verify: true }),
    ...names,
  ]);
  const { generation } = await pair.replicate();
  expect([generation.uncaptured, generation.entries.map(({ publicHalf }) => hex(publicHalf!))]).toEqual([
    [],
    [hex(spki)],
  ]);
  const [there] = await pair.standby.find([[CKA.CLASS, CKO.PUBLIC_KEY], ...names]);
  expect((await pair.standby.attributes(there!, [CKA.EC_POINT])).get(CKA.EC_POINT)).toEqual(encoded);
  expect(barePoint(curve, encoded)).toEqual(point);
  expect(hex(ecPublicHalf(curve, point))).toBe(hex(spki));
  expect(privateKey.asymmetricKeyDetails).toEqual({ namedCurve: name });
});

it('Ed25519 keys, which this token wraps for nobody, are named, and their public halves are at the standby', async () => {
  const made = ['--keypairgen', '--key-type', 'EC:edwards25519', '--id', '0e', '--usage-sign'];
  pair.a.token.tool(...made, '--extractable', '--label', 'wrapped');
  pair.a.token.tool(...made, '--label', 'kept');
  await makePair(pair.source, P256_PARAMS, ...names);
  const { generation } = await pair.replicate();
  expect(generation.uncaptured.map((one) => `${kindOf(one)} ${one.reason}`).sort()).toEqual([
    'private-key/ed25519 not-wrappable',
    'private-key/ed25519 unextractable',
  ]);
  expect((await pair.objects(pair.b)).map(kindOf).sort()).toEqual([
    'private-key/ec',
    'public-key/ec',
    'public-key/ed25519',
    'public-key/ed25519',
  ]);
});

describe('a generation that has private keys without their public halves, from a release that knew fewer curves,', () => {
  /** As that release read it. */
  const withoutHalf = (object: ObservedObject): ObservedObject => {
    const { publicHalf: _half, ...rest } = object;
    return object.objectClass === 'private-key' ? { ...rest, sizeBits: 0 } : object;
  };
  const older = (provider: HsmProvider): HsmProvider =>
    faulty(provider, {
      look: async (options) => {
        const look = await provider.look(options);
        return { ...look, objects: look.objects.map(withoutHalf) };
      },
    });
  const captureAsBefore = (): Promise<SealedGeneration> =>
    pair.group.captured({ ...pair.a, provider: older(pair.a.provider) } as typeof pair.a);

  it('is applied, read back, scrubbed and rehearsed; nothing in it is taken for new, lost or damaged', async () => {
    const made = await make(paramsOf('secp256k1'));
    const sealed = await captureAsBefore();
    const named = sealed.generation.entries.filter(({ objectClass }) => objectClass === 'private-key');
    expect(named.map(({ publicHalf }) => publicHalf)).toEqual([undefined]);
    await pair.apply(sealed);
    expect(await signsAtStandby(made)).toEqual([true]);
    await pair.restart();
    expect(await pair.apply(sealed)).toMatchObject({ applied: [], unaccounted: 0, divergent: 0 });
    const { provider, keyring } = pair.b;
    const report = await scrub({ provider, keyring, clock: systemClock, target: sealed, known: new Map() });
    expect(report).toMatchObject({ proof: { proved: 2, failed: 0 }, missing: [], altered: [] });

    // The next capture says what it has learned: of the same objects, sealed once.
    const { sealed: next, sealedObjects } = await pair.group.capture(pair.a);
    expect([next?.generation.uncaptured, next?.generation.tombstones, sealedObjects]).toEqual([[], [], 0]);
    const ids = ({ generation }: SealedGeneration): string[] =>
      generation.entries.map(({ objectId }) => objectId).sort();
    expect(ids(next!)).toEqual(ids(sealed));
    expect(next!.generation.entries.every(({ publicHalf }) => publicHalf !== undefined)).toBe(true);
    await pair.apply(next!, sealed);
    expect(await signsAtStandby(made)).toEqual([true]);
    expect((await pair.group.capture(pair.a)).sealed).toBeUndefined();
  });

  it('is rehearsed', async () => {
    await make(paramsOf('brainpoolP256r1'));
    const sealed = await captureAsBefore();
    const { provider, keyring } = pair.b;
    const blobOf = (digest: string): Uint8Array => pair.group.blobs.get(digest)!;
    const rehearsal = await rehearse({ provider, keyring, clock: systemClock, target: sealed, blobOf });
    expect(rehearsal).toMatchObject({ isEqual: true, isClean: true, proof: { failed: 0 } });
  });
});

it('a private key whose public half is in the generation, and which this token does not show, is known by its blob', async () => {
  // Neither sign nor derive: nothing here shows the point. Another vendor's token may have shown it where it was captured.
  const { privateKey } = await pair.source.generateKeyPair(
    mechanism(CKM.EC_KEY_PAIR_GEN),
    [
      [CKA.TOKEN, false],
      [CKA.EC_PARAMS, P256_PARAMS],
    ],
    [...PORTABLE, ...names, ...flags({ sign: true })],
  );
  await pair.source.setAttributeValue(privateKey, flags({ sign: false }));
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const half = new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }));
  const showing = faulty(pair.a.provider, {
    look: async (options) => {
      const look = await pair.a.provider.look(options);
      const shown = (one: ObservedObject): ObservedObject =>
        one.objectClass === 'private-key' ? { ...one, publicHalf: half } : one;
      return { ...look, objects: look.objects.map(shown) };
    },
  });
  const sealed = await pair.group.captured({ ...pair.a, provider: showing } as typeof pair.a);
  expect(sealed.generation.entries.map(({ publicHalf }) => hex(publicHalf!))).toEqual([hex(half)]);
  await pair.apply(sealed);
  await pair.restart();
  expect(await pair.apply(sealed)).toMatchObject({ applied: [], unaccounted: 0, divergent: 0 });
});
