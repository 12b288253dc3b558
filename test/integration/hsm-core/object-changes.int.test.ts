/** Changes by an application in its token, and their effect on the standby and on later generations. */
import { randomBytes } from 'node:crypto';
import { CKA, CKO, P256_PARAMS, type Template } from '@antipode/cryptoki';
import { ATTRIBUTES, type Attributes, USES } from '@antipode/hsm-core/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { refusalOf } from '../../attacks/support/raw-token.ts';
import { flags, id, label } from '../../attacks/support/templates.ts';
import { certificateOf, dataOf, makeAes, makePair, makeRsa, secretOf, TokenPair } from '../../support/token-pair.ts';

let pair: TokenPair;

beforeAll(async () => {
  pair = await TokenPair.make();
});
afterEach(() => pair.empty());
afterAll(() => pair?.close());

const privateKeys: Template = [[CKA.CLASS, CKO.PRIVATE_KEY]];

/** The one object of the standby with this label. */
async function replica(name: string): Promise<{ handle: bigint; attributes: Attributes }> {
  const found = (await pair.objects(pair.b)).filter(({ attributes }) =>
    Buffer.from(attributes.label ?? []).equals(Buffer.from(name)),
  );
  expect(found).toHaveLength(1);
  return found[0]!;
}

describe('a change at the source reaches the standby', () => {
  it('of names and of uses, of every class, and leaves one object for each', async () => {
    const { source, b } = pair;
    const aes = await makeAes(source, ...label('aes'), ...flags({ encrypt: true, decrypt: true, sign: false }));
    const { privateKey } = await makeRsa(source, label('rsa'), ...flags({ sign: true, decrypt: true }));
    const certificate = await source.create(certificateOf(randomBytes(300), ...label('certificate')));
    const data = await source.create(dataOf(randomBytes(30), ...label('data')));
    const first = await pair.replicate();
    const count = (await pair.objects(b)).length;

    await source.setAttributeValue(aes, [...label('aes 2'), ...flags({ decrypt: false, sign: true })]);
    await source.setAttributeValue(privateKey, [
      ...id(Uint8Array.of(7)),
      ...label('rsa 2'),
      ...flags({ decrypt: false }),
    ]);
    await source.setAttributeValue(certificate, label('certificate 2'));
    await source.setAttributeValue(data, [...label('data 2')]);
    const second = await pair.replicate();
    expect(await pair.objects(b)).toHaveLength(count);
    expect((await replica('aes 2')).attributes).toMatchObject({ encrypt: true, decrypt: false, sign: true });
    expect((await replica('rsa 2')).attributes).toMatchObject({ id: Uint8Array.of(7), sign: true, decrypt: false });
    for (const name of ['certificate 2', 'data 2']) await replica(name);
    const ids = ({ generation }: typeof first): string[] => generation.entries.map(({ objectId }) => objectId).sort();
    expect([ids(second), second.generation.tombstones]).toEqual([ids(first), []]);
    // The sealed objects of the values stay in use.
    const blobs = ({ generation }: typeof first): unknown[] =>
      generation.entries.map(({ blobSha256 }) => blobSha256).sort();
    expect(blobs(second)).toEqual(blobs(first));
  });

  it('even if no object can be modified: another is made, and the old one destroyed', async () => {
    const { source, standby } = pair;
    const value = randomBytes(32);
    const fixed = flags({ copyable: false, modifiable: false });
    await source.create(secretOf(value, ...label('before'), ...flags({ sign: true, verify: false }), ...fixed));
    await pair.replicate();
    const [key] = await source.find(label('before'));
    expect(await refusalOf(source.setAttributeValue(key!, label('after')))).toBe('CKR_ACTION_PROHIBITED');
    await source.destroy(key!);
    await source.create(secretOf(value, ...label('after'), ...flags({ sign: true, verify: true }), ...fixed));
    const { generation } = await pair.replicate();
    expect([generation.entries.length, generation.tombstones]).toEqual([1, []]);
    expect((await replica('after')).attributes).toMatchObject({ verify: true, modifiable: false });
    expect(await standby.find(label('before'))).toEqual([]);
  });
});

describe('a source key that turns unextractable', () => {
  it('keeps its last blob, is named, and is restored from it as it was', async () => {
    const { source, a, group } = pair;
    const aes = await makeAes(source, ...label('aes'));
    await makePair(source, P256_PARAMS, ...label('ec'));
    const [ec] = await source.find([...privateKeys, ...label('ec')]);
    const first = await group.captured(a);
    for (const key of [aes, ec!]) await source.setAttributeValue(key, flags({ extractable: false }));
    const second = await group.captured(a);
    // The order in memory is that of the looks; only the manifest sorts.
    expect(second.generation.entries).toHaveLength(3);
    expect(second.generation.entries).toEqual(expect.arrayContaining([...first.generation.entries]));
    const turned = second.generation.uncaptured.map(({ objectId, reason }) => [
      reason,
      first.generation.entries.find((entry) => entry.objectId === objectId)?.objectClass,
    ]);
    expect(turned.sort()).toEqual([
      ['unextractable', 'private-key'],
      ['unextractable', 'secret-key'],
    ]);
    // Even if its handle is forgotten: by its public half, or by resemblance.
    await pair.restart();
    expect((await group.capture(a)).sealed).toBeUndefined();
    expect((await pair.apply(second)).applied).toHaveLength(3);
    expect((await replica('aes')).attributes.extractable).toBe(true);
  });
});

describe('a deleted key', () => {
  it('leaves the standby, and is in the manifest with everything that restores it', async () => {
    const { source, standby, group } = pair;
    const gone = await makeAes(source, ...label('gone'));
    await makeAes(source, ...label('stays'));
    const first = await pair.replicate();
    await source.destroy(gone);
    const { generation } = await pair.replicate();
    expect(generation.entries).toHaveLength(1);
    const { entry, domainKeyVersion } = generation.tombstones[0]!;
    expect(first.generation.entries).toContainEqual(entry);
    expect([domainKeyVersion, group.blobs.has(entry.blobSha256!)]).toEqual([1, true]);
    expect(await standby.find(label('gone'))).toEqual([]);
    expect(await standby.find(label('stays'))).toHaveLength(1);
  });
});

describe('a key that its token must not destroy', () => {
  it('is restored as such; when it changes, the old one stays beside the new without names and uses, and is counted', async () => {
    // A token of its own: nothing empties this one.
    const own = await TokenPair.make();
    try {
      const key = await makeAes(own.source, ...label('before'), ...flags({ modifiable: true }), [
        ATTRIBUTES.destroyable.type,
        false,
      ]);
      const first = await own.replicate();
      const [restored] = await own.standby.find(label('before'));
      expect(await refusalOf(own.standby.destroy(restored!))).toBe('CKR_ACTION_PROHIBITED');
      await own.source.setAttributeValue(key, label('after'));
      const second = await own.group.captured(own.a);
      expect(await own.apply(second, first)).toMatchObject({ unaccounted: 1 });
      const labels = (await own.objects(own.b)).map(({ attributes }) => Buffer.from(attributes.label ?? []).toString());
      expect(labels.sort()).toEqual(['after', expect.stringMatching(/^antipode hidden [0-9a-f]{16}$/)]);
      const hidden = (await own.objects(own.b)).find(({ attributes }) => attributes.label!.length > 'after'.length)!;
      const uses = USES.filter((use) => hidden.attributes[use] === true);
      expect(uses).toEqual([]);
    } finally {
      await own.close();
    }
  });
});
