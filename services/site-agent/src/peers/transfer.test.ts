/** An agent checks everything that it takes from its peers, since they may lie. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openSigned } from '@antipode/hsm-core';
import { GenerationRefSchema, PullBlobsRequestSchema } from '@antipode/protocol';
import { fromHex, hex, sha256Hex } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SimulatedSite } from '../testing/simulated-site.ts';
import { address, fence, GROUP, TwoSites } from '../testing/two-sites.ts';
import { Transfer } from './transfer.ts';

let sites: TwoSites;
let a: SimulatedSite;
let b: SimulatedSite;

beforeEach(async () => {
  sites = await TwoSites.make();
  [a, b] = [sites.a, sites.b];
});

afterEach(() => sites.close());

describe('a pull', () => {
  const flip = (bytes: Uint8Array, at: number): void => {
    bytes[at]! ^= 1;
  };

  interface Sent {
    part?: Uint8Array;
    size?: bigint;
    blobs?: Uint8Array[];
  }
  const resize = (message: Sent, by: bigint): void => {
    if (message.size) message.size += by;
  };

  it.each<[string, string, (method: string, message: Sent) => void]>([
    ['MANIFEST_INVALID', 'the size of the manifest', (_method, message) => resize(message, 1n)],
    ['MANIFEST_INVALID', 'the size to less than there is', (_method, message) => resize(message, -1n)],
    ['MANIFEST_INVALID', 'the size to more than there may be', (_method, message) => resize(message, 2n ** 40n)],
    ['MANIFEST_INVALID', 'a bit of the manifest', (method, { part }) => method === 'pullManifest' && flip(part!, 60)],
    ['BLOB_INVALID', 'a bit of a blob', (method, { blobs }) => method === 'pullBlobs' && flip(blobs![0]!, 3)],
    ['BLOB_INVALID', 'the order of blobs', (method, { blobs }) => method === 'pullBlobs' && blobs!.reverse()],
    ['BLOB_INVALID', 'how many there are', (method, { blobs }) => method === 'pullBlobs' && blobs!.push(blobs![0]!)],
    ['GENERATION_UNKNOWN', 'that one is missing', (method, { blobs }) => method === 'pullBlobs' && blobs!.pop()],
  ])('is refused with %s when a peer changes %s, and shows nothing of it', async (code, _what, distort) => {
    const ref = await sites.captured();
    sites.network.wire.distort = distort as typeof sites.network.wire.distort;
    expect((await rejection(sites.apply(b, ref))).code).toBe(code);
    expect([b.site.store.has(ref.digest), b.member.hsm.contents()]).toEqual([false, []]);
    sites.network.wire.distort = () => {};
    await sites.apply(b, ref);
  });

  it.each([
    ['parts of a manifest', 'MANIFEST_INVALID', { size: 1_000n, part: new Uint8Array() }],
    ['blobs', 'GENERATION_UNKNOWN', { blobs: [] }],
  ])('of endless empty %s comes to an end', async (what, code, message) => {
    const ref = await sites.captured();
    const honest = b.site.peers.client(address('a'));
    let sent = 0;
    const endless = async function* (): AsyncGenerator<object> {
      for (; ; sent += 1) yield message;
    };
    const liar = { ...honest, [what === 'blobs' ? 'pullBlobs' : 'pullManifest']: endless };
    const { store, trust, log, clock } = b.site;
    const transfer = new Transfer({ store, trust, log, clock, peers: { client: () => liar } });
    const pulled = transfer.pull({ group: GROUP, digest: ref.digest, sources: [address('a')] });
    expect((await rejection(pulled)).code).toBe(code);
    expect(sent).toBeLessThan(3);
  });

  it('is refused when a peer sends another generation than was asked for, although it is signed', async () => {
    const old = await sites.captured();
    a.member.hsm.addSecret('new');
    const ref = await sites.captured();
    const part = a.site.store.signed(old.digest);
    sites.network.wire.distort = (method, message) =>
      method === 'pullManifest' && Object.assign(message as object, { part });
    expect((await rejection(sites.apply(b, ref))).code).toBe('MANIFEST_INVALID');
    expect(b.site.store.has(old.digest)).toBe(false);
  });

  it('is refused when the signer is not pinned, also when the generation is here already', async () => {
    const ref = await sites.captured();
    await sites.apply(b, ref);
    const file = join(b.folder, 'pins.yaml');
    const pins = readFileSync(file);
    writeFileSync(file, '');
    expect((await rejection(sites.apply(b, ref))).code).toBe('PEER_NOT_PINNED');
    writeFileSync(file, pins);
    await sites.apply(b, ref);
  });

  it('turns to the next source when one is away or lacks the generation', async () => {
    const ref = await sites.captured();
    a.pin(GROUP, await sites.network.add('c'));
    sites.network.sites.get('c')!.pin(GROUP, b);
    const from = (...names: string[]) =>
      b.call('apply', { fence: fence(), generation: ref, sources: names.map(address) });
    expect((await rejection(from('nowhere', 'c'))).code).toBe('SITE_UNREACHABLE');
    expect((await rejection(from('c', 'nowhere'))).code).toBe('SITE_UNREACHABLE');
    expect(await from('nowhere', 'c', 'a')).toMatchObject({ appliedObjects: 2 });
  });

  it('fetches only what is lacking', async () => {
    await sites.apply(b, await sites.captured());
    a.member.hsm.addSecret('new');
    expect(await sites.apply(b, await sites.captured())).toMatchObject({ pulledBlobs: 1 });
  });
});

it('serves blobs in parts of at most 1,000, however small they are', async () => {
  const digests = Array.from({ length: 2_001 }, (_, index) => sha256Hex(String(index)));
  const { site } = b;
  site.store.blobsOf = async () => new Set(digests);
  site.store.blob = (digest) => fromHex(digest).subarray(0, 1);
  const { transfer } = site;
  const generation = create(GenerationRefSchema, { manifestDigest: new Uint8Array(32) });
  const sizes: number[] = [];
  for await (const { blobs } of transfer.blobs(
    create(PullBlobsRequestSchema, { group: GROUP, generation, sha256: digests.map(fromHex) }),
    'a',
  ))
    sizes.push(blobs.length);
  expect(sizes).toEqual([1_000, 1_000, 1]);
});

it('a generation that crossed is signed by the identity of its source, byte for byte', async () => {
  const ref = await sites.captured();
  await sites.apply(b, ref);
  const signed = b.site.store.signed(ref.digest);
  expect(hex(signed)).toBe(hex(a.site.store.signed(ref.digest)));
  const isPinned = (identity: string): boolean => identity === a.member.keyring.identity.sha256;
  expect(openSigned(signed, { group: GROUP, isPinned }).digest).toBe(ref.digest);
});
