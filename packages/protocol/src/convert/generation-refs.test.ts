import { hex } from '@antipode/runtime';
import { thrown } from '@antipode/runtime/testing';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { GenerationRefSchema } from '../gen/antipode/v1/types_pb.ts';
import { digestOf, factsRef, generationFacts, generationName, nameRef } from './generation-refs.ts';

const digest = fc.uint8Array({ minLength: 32, maxLength: 32 }).map(hex);
const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const u32 = fc.nat(2 ** 31 - 1);
const facts = fc.record({
  epoch: u64,
  number: u64,
  manifestDigest: digest,
  contentDigest: digest,
  objectCount: u32,
  keyCount: fc.option(u32, { nil: undefined }),
  domainKeyVersion: u32,
  uncaptured: fc.array(
    fc.record(
      { objectId: fc.string(), kind: fc.string(), reason: fc.string(), isKept: fc.constant(true) },
      { requiredKeys: ['objectId', 'kind', 'reason'] },
    ),
  ),
});

it('brings every fact of a generation over the wire and back', () => {
  fc.assert(
    fc.property(facts, fc.nat(), (given, captureStartedMs) => {
      const sent = toBinary(GenerationRefSchema, create(GenerationRefSchema, factsRef(given, captureStartedMs)));
      const received = fromBinary(GenerationRefSchema, sent);
      expect(generationFacts(received)).toEqual(given);
      expect(received.captureStartedMs).toBe(BigInt(captureStartedMs));
    }),
  );
});

it('names a generation by epoch, number and manifest digest, and nothing else', () => {
  const name = { epoch: 2n, number: 7n, manifestDigest: 'ab'.repeat(32) };
  const ref = create(GenerationRefSchema, nameRef(name));
  expect(generationName(ref)).toEqual(name);
  expect(ref).toEqual(create(GenerationRefSchema, { epoch: 2n, generation: 7n, manifestDigest: ref.manifestDigest }));
});

it('refuses a reference without a digest of 32 bytes', () => {
  for (const manifestDigest of [new Uint8Array(), new Uint8Array(31), new Uint8Array(33)])
    expect(thrown(() => digestOf(create(GenerationRefSchema, { manifestDigest }))).code).toBe('REQUEST_INVALID');
  expect(thrown(() => digestOf(undefined)).code).toBe('REQUEST_INVALID');
  expect(digestOf(create(GenerationRefSchema, { manifestDigest: new Uint8Array(32) }))).toBe('00'.repeat(32));
});
