/**
 * A flipped bit in a standby's token. The next scrub finds it, even in a part of an RSA key that signing does not need
 * (I13). The next apply restores the damaged object from its sealed blob. No name finds the old one (I14).
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { CKA, P256_PARAMS, type Template } from '@antipode/cryptoki';
import { kindOf, ReplicaMemory, type SealedGeneration, scrub, setAside } from '@antipode/hsm-core';
import { ATTRIBUTES } from '@antipode/hsm-core/testing';
import { systemClock, systemPrng } from '@antipode/runtime';
import { Journal, remembering } from '@antipode/site-agent/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { flags, id, label } from '../../attacks/support/templates.ts';
import { filesOf, flipAttribute } from '../../support/raw-token.ts';
import { makeAes, makePair, makeRsa, makeSecret, TokenPair } from '../../support/token-pair.ts';

let pair: TokenPair;
let journal: Journal;
let folder: string;
beforeAll(async () => {
  pair = await TokenPair.make();
});
afterAll(() => pair.close());
beforeEach(() => {
  folder = mkdtempSync(join('/dev/shm', 'antipode-prints-'));
  journal = Journal.open(folder);
});
afterEach(async () => {
  journal.close();
  rmSync(folder, { recursive: true });
  await pair.empty();
});

const PARTS = { p: 0x124, q: 0x125, dP: 0x126, dQ: 0x127, qInv: 0x128 };

it.each(Object.entries(PARTS))('%s', async (_part, type) => {
  const own = filesOf(pair.b.token);
  await makeRsa(pair.source, [...label('rsa'), ...id(Uint8Array.of(7))], ...flags({ sign: true }));
  const target = await pair.replicate();
  const proof = async () => {
    const { provider, keyring } = pair.b;
    const remembered = remembering(provider, { findings: journal.findings, device: 'b' });
    return (await scrub({ provider: remembered, keyring, clock: systemClock, target, known: new Map() })).proof;
  };
  expect(await proof()).toMatchObject({ proved: 2, failed: 0 });
  await pair.restart();
  expect(await proof()).toMatchObject({ proved: 2, failed: 0 });
  expect(flipAttribute(pair.b.token, type, { but: own })).toBe(1);
  await pair.restart();
  const { entries } = target.generation;
  const { objectId } = entries.find(({ objectClass }) => objectClass === 'private-key')!;
  expect(await proof()).toMatchObject({ proved: 1, failed: 1, failedObjectIds: [objectId] });
  // It stays so: what is damaged does not become what is compared with.
  expect(await proof()).toMatchObject({ failed: 1 });

  // Never at the active member: a capture there leaves it to a person.
  const { asides } = await mended(target, remembering(pair.b.provider, { findings: journal.findings, device: 'b' }));
  expect([asides, await inTokens()]).toEqual([[], [['private-key/rsa', 'public-key/rsa'], 0]]);
  expect(await proof()).toMatchObject({ proved: 2, failed: 0 });
});

const FIXED = { decrypt: false, unwrap: false } as const;

describe('what is damaged in the standby and bears the names of its successor leaves the token', () => {
  it.each<[string, number, (...name: Template) => Promise<unknown>, { sealed: number; left: number }]>([
    // A working object is somebody's key, so it is sealed before it is destroyed.
    [
      'the value of a secret',
      CKA.VALUE,
      (...name) => makeAes(pair.source, ...name, ...flags({ encrypt: true })),
      { sealed: 0, left: 0 },
    ],
    [
      'a modulus',
      CKA.MODULUS,
      (...name) => makeRsa(pair.source, name, ...flags({ sign: true, ...FIXED })),
      { sealed: 2, left: 0 },
    ],
    ['a curve', CKA.EC_PARAMS, (...name) => makePair(pair.source, P256_PARAMS, ...name), { sealed: 0, left: 0 }],
    ['a point', CKA.EC_POINT, (...name) => makePair(pair.source, P256_PARAMS, ...name), { sealed: 1, left: 0 }],
    // Under another name it is a copy that somebody may have made: it is the same key, and is left alone.
    [
      'a label',
      ATTRIBUTES.label.type,
      (...name) => makeAes(pair.source, ...name, ...flags({ encrypt: true })),
      { sealed: 0, left: 1 },
    ],
    [
      'an ID',
      ATTRIBUTES.id.type,
      (...name) => makeAes(pair.source, ...name, ...flags({ encrypt: true })),
      { sealed: 0, left: 1 },
    ],
  ])('%s', async (_what, type, make, { sealed, left }) => {
    const own = filesOf(pair.b.token);
    await make(...label('of an application'), ...id(Buffer.from('id of it')));
    const target = await pair.replicate();
    const kinds = (await inTokens())[0];
    expect(flipAttribute(pair.b.token, type, { but: own })).toBeGreaterThan(0);
    await pair.restart();
    const { asides } = await mended(target);
    expect([asides.length, await inTokens()]).toEqual([
      sealed,
      [left === 0 ? kinds : [...kinds, ...kinds].sort(), left],
    ]);
    await pair.restart();
    const { provider, keyring } = pair.b;
    const report = await scrub({ provider, keyring, clock: systemClock, target, known: new Map() });
    expect(report).toMatchObject({ proof: { failed: 0, proved: kinds.length }, missing: [], altered: [] });
  });

  it('even if it is a key that works, and then it is sealed first', async () => {
    const name = [...label('shared'), ...id(Uint8Array.of(9)), ...flags({ encrypt: true })];
    await makeAes(pair.source, ...name);
    const target = await pair.replicate();
    for (const one of await pair.standby.find(name)) await pair.standby.destroy(one);
    await makeAes(pair.standby, ...name);
    const { asides } = await mended(target);
    expect([asides, await inTokens()]).toEqual([['secret-key/aes'], [['secret-key/aes'], 0]]);
  });

  it('even if it is a secret that wrapping would change', async () => {
    const name = [...label('shared'), ...id(Uint8Array.of(9)), ...flags({ sign: true })];
    await makeSecret(pair.source, 20, ...name);
    const target = await pair.replicate();
    for (const one of await pair.standby.find(name)) await pair.standby.destroy(one);
    await makeSecret(pair.standby, 33, ...name);
    const { asides } = await mended(target);
    expect([asides, await inTokens()]).toEqual([['secret-key/generic-secret'], [['secret-key/generic-secret'], 0]]);
  });

  it('but not where the partition was out of the group', async () => {
    const name = [...label('shared'), ...id(Uint8Array.of(9)), ...flags({ encrypt: true })];
    await makeAes(pair.source, ...name);
    const target = await pair.replicate();
    for (const one of await pair.standby.find(name)) await pair.standby.destroy(one);
    await makeAes(pair.standby, ...name);
    const { asides } = await mended(target, pair.b.provider, { isReturned: true });
    expect([asides, (await inTokens())[1]]).toEqual([[], 1]);
  });

  it('but not what an application put beside a sound one, whatever its name', async () => {
    const name = [...label('shared'), ...id(Uint8Array.of(9)), ...flags({ encrypt: true })];
    await makeAes(pair.source, ...name);
    const target = await pair.replicate();
    await makeAes(pair.standby, ...name);
    const { asides } = await mended(target);
    expect([asides, (await inTokens())[1]]).toEqual([[], 1]);
  });
});

/** As an agent does after a scrub that found damage: nothing counts as applied. */
async function mended(target: SealedGeneration, provider = pair.b.provider, { isReturned = false } = {}) {
  const replica = { memory: new ReplicaMemory(), previous: [target] };
  await pair.group.apply(pair.b, target, { ...replica, provider, doubted: 'everything', isReturned });
  const { contentDigest, proof } = await pair.group.verify(pair.b, target, replica);
  expect([contentDigest, proof.failed]).toEqual([target.contentDigest, 0]);
  const asides: string[] = [];
  const { keyring } = pair.b;
  await setAside({
    ...{ provider, keyring, target, ...replica },
    clock: systemClock,
    prng: systemPrng,
    journal: { openIntents: () => [], begin: () => {}, commit: () => {} },
    checkFence: () => {},
    wasActive: false,
    store: async ({ generation }) => {
      asides.push(...generation.entries.map(kindOf));
    },
  });
  return { asides };
}

/** Kinds of the objects at the standby, and how many more there are than at the source. */
async function inTokens(): Promise<[string[], number]> {
  const [a, b] = await Promise.all([pair.objects(pair.a), pair.objects(pair.b)]);
  return [b.map(kindOf).sort(), b.length - a.length];
}
