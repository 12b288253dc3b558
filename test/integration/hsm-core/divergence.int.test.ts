/**
 * Keys of every kind that only a returned site has, in real tokens: sealed there, merged into the active member's token,
 * and recognised everywhere afterwards.
 */
import { randomBytes } from 'node:crypto';
import { P256_PARAMS } from '@antipode/cryptoki';
import {
  type Entry,
  kindOf,
  mergeObjects,
  ReplicaMemory,
  type SealedGeneration,
  sealUnexplained,
} from '@antipode/hsm-core';
import { MemoryJournal, NO_FILTER } from '@antipode/hsm-core/testing';
import { systemClock, systemPrng } from '@antipode/runtime';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { flags, id, label } from '../../attacks/support/templates.ts';
import { certificateOf, dataOf, makeAes, makePair, makeRsa, makeSecret, TokenPair } from '../../support/token-pair.ts';

let pair: TokenPair;
let shared: SealedGeneration;
/** As the agent keeps them until the next capture. */
let adopted: Entry[] = [];

beforeAll(async () => {
  pair = await TokenPair.make();
  await makeAes(pair.source, ...label('shared'), ...flags({ encrypt: true, decrypt: true }));
  shared = await pair.replicate();
});
afterAll(() => pair?.close());

async function offered(): Promise<SealedGeneration> {
  const { provider, keyring } = pair.a;
  const { generation, blobs, objects } = await sealUnexplained({
    provider,
    keyring,
    clock: systemClock,
    prng: systemPrng,
    memory: new ReplicaMemory(),
    target: shared,
    previous: [shared],
    journal: new MemoryJournal(),
    checkFence: () => {},
    known: new Set(),
  });
  for (const [sha256, blob] of blobs) pair.group.blobs.set(sha256, blob);
  expect(objects.filter(({ reason }) => reason !== undefined)).toEqual([]);
  return generation!;
}

function merge(offer: SealedGeneration) {
  const { provider, keyring } = pair.b;
  return mergeObjects({
    provider,
    keyring,
    clock: systemClock,
    journal: new MemoryJournal(),
    checkFence: () => {},
    newest: pair.group.newest!,
    offers: [offer],
    wanted: new Set(offer.generation.entries.map(({ objectId }) => objectId)),
    filter: NO_FILTER,
    blobOf: (sha256) => pair.group.blobs.get(sha256)!,
    adopt: (_digest, objectIds) => {
      adopted = offer.generation.entries.filter(({ objectId }) => objectIds.includes(objectId));
    },
  });
}

it('keys of every kind reach the other token, work there, and are the same objects for the next generation', async () => {
  const { source } = pair;
  await makeAes(source, ...label('aes'), ...flags({ encrypt: true, decrypt: true }));
  await makeSecret(source, 32, ...label('secret'), ...flags({ sign: true, verify: true }));
  await makePair(source, P256_PARAMS, ...label('ec'), ...id(Uint8Array.of(1)));
  await makeRsa(source, [...label('rsa'), ...id(Uint8Array.of(2))], ...flags({ sign: true }));
  await source.create(certificateOf(randomBytes(300), ...label('certificate'), ...id(Uint8Array.of(2))));
  await source.create(dataOf(randomBytes(30), ...label('data')));
  const offer = await offered();
  expect(offer.generation.entries.map(kindOf).sort()).toEqual([
    'certificate',
    'data',
    'private-key/ec',
    'private-key/rsa',
    'public-key/ec',
    'public-key/rsa',
    'secret-key/aes',
    'secret-key/generic-secret',
  ]);
  expect((await merge(offer)).map(({ verdict }) => verdict)).toEqual(Array(8).fill('merged'));
  expect((await merge(offer)).map(({ verdict }) => verdict)).toEqual(Array(8).fill('present'));

  pair.group.captures.forget();
  const next = await pair.group.captured(pair.b, { epoch: 2n, adopted });
  expect(next.generation.entries).toHaveLength(9);
  // They keep their ids, and what a token forgets of a key that came by unwrapping.
  const byId = new Map(next.generation.entries.map((entry) => [entry.objectId, entry]));
  for (const { objectId, sizeBits } of offer.generation.entries) expect(byId.get(objectId)?.sizeBits).toBe(sizeBits);
  const { applied, unaccounted, divergent } = await pair.group.apply(pair.a, next, { previous: [shared, offer] });
  expect({ applied, unaccounted, divergent }).toEqual({ applied: [], unaccounted: 0, divergent: 0 });
  for (const member of [pair.a, pair.b]) {
    const { contentDigest, proof } = await pair.group.verify(member, next);
    expect([contentDigest, proof.failed, proof.proved]).toEqual([next.contentDigest, 0, 9]);
  }
});
