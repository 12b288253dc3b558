import { SimulatedGroup } from '@antipode/hsm-core/testing';
import { digestOf, GenerationRefSchema } from '@antipode/protocol';
import { hex } from '@antipode/runtime';
import { create, toJsonString } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { refOf } from './generation-ref.ts';

it('names a generation by digests and counts, and what it does not protect by kind and reason, without a label', async () => {
  const { group, members } = await SimulatedGroup.make('a');
  const { hsm } = members[0]!;
  hsm.addSecret('label of a secret');
  hsm.addSecret('label of another', { extractable: false });
  hsm.addData('label of data', Buffer.from('value'));
  const sealed = await group.captured(members[0]!);
  const ref = create(GenerationRefSchema, refOf(sealed));
  expect(ref).toMatchObject({ epoch: 1n, generation: 1n, objectCount: 2, keyCount: 1, domainKeyVersion: 1 });
  expect(ref.uncaptured).toMatchObject([{ kind: 'secret-key/aes', reason: 'unextractable', isKept: false }]);
  expect([digestOf(ref), hex(ref.contentDigest)]).toEqual([sealed.digest, sealed.contentDigest]);
  expect(toJsonString(GenerationRefSchema, ref)).not.toMatch(/label/);
});
