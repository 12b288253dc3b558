/** Where a generation comes from: one bad source stops nothing, a bad disk here is mended, and strangers get nothing. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { blobDigests, openSigned } from '@antipode/hsm-core';
import { AntipodeError, fromHex, hex, Log, sha256Hex } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SimulatedSite } from '../testing/simulated-site.ts';
import { address, fence, GROUP, type Ref, TwoSites } from '../testing/two-sites.ts';
import { Transfer } from './transfer.ts';

let sites: TwoSites;
let a: SimulatedSite;
let b: SimulatedSite;
let c: SimulatedSite;
let ref: Ref & { digest: string };
let lines: string[];

beforeEach(async () => {
  sites = await TwoSites.make();
  [a, b] = [sites.a, sites.b];
  c = await sites.network.add('c');
  c.pin(GROUP, a);
  for (const site of [a, b]) site.pin(GROUP, c);
  ref = await sites.captured();
  await sites.apply(b, ref);
  await sites.verify(b, ref);
  lines = [];
});

afterEach(() => sites.close());

/** Changes a site's store as a failing disk does. */
function onDisk({ folder }: SimulatedSite, sql: string, ...values: Uint8Array[]): void {
  const database = new DatabaseSync(join(folder, 'generations.db'));
  database.prepare(sql).run(...values);
  database.close();
}
const firstBlob = ({ site }: SimulatedSite): string =>
  blobDigests(openSigned(site.store.signed(ref.digest), { group: GROUP, isPinned: () => true }).generation)[0]!;
const rotBlob = (site: SimulatedSite): void =>
  onDisk(site, 'UPDATE blob SET bytes = ? WHERE sha256 = ?', Uint8Array.of(1), fromHex(firstBlob(site)));
async function rotManifest(site: SimulatedSite): Promise<void> {
  site.stop();
  onDisk(site, "UPDATE manifest SET signed = CAST(signed || X'00' AS BLOB) WHERE digest = ?", fromHex(ref.digest));
  await site.start();
}

/** A pull of c, that logs into `lines`. */
function pull(...names: string[]) {
  const { store, peers, trust } = c.site;
  const log = new Log({ level: 'warn', format: 'json', write: (line) => lines.push(line) });
  const transfer = new Transfer({ store, peers, trust, log, clock: sites.network.clock });
  return transfer.pull({ group: GROUP, digest: ref.digest, sources: names.map(address) });
}

describe('a source that is not whole', () => {
  it.each([
    ['a blob that its disk has changed', 'BLOB_INVALID', async () => rotBlob(a)],
    ['a manifest that its disk has changed', 'MANIFEST_INVALID', () => rotManifest(a)],
  ])('with %s is passed over, and named in the log', async (_what, code, rot) => {
    await rot();
    expect(await pull('a', 'b')).toMatchObject({ sealed: { digest: ref.digest } });
    expect(
      lines.filter((line) => line.includes('"warn"') && line.includes('"site":"a"') && line.includes(code)),
    ).toHaveLength(1);
  });

  it('costs nothing of what it sent before: the next source gives the rest', async () => {
    const blobs = blobDigests((await a.site.store.open(ref.digest)).generation);
    onDisk(a, 'UPDATE blob SET bytes = ? WHERE sha256 = ?', Uint8Array.of(1), fromHex(blobs.at(-1)!));
    await pull('a', 'b');
    expect(await c.site.store.unsound(blobs)).toEqual([]);
  });

  it('is the error when no source is whole: the first of them', async () => {
    await rotManifest(a);
    rotBlob(b);
    expect((await rejection(pull('a', 'b'))).code).toBe('MANIFEST_INVALID');
    expect((await rejection(pull('b', 'a'))).code).toBe('BLOB_INVALID');
    expect(await rejection(pull('c', 'b'))).toMatchObject({ code: 'BLOB_INVALID' });
    expect(c.site.store.has(ref.digest)).toBe(false);
  });

  it('needs no person while another source cannot be asked: that one is possibly complete', async () => {
    rotBlob(a);
    expect((await rejection(pull('a', 'nowhere'))).disposition).toBe('retry');
    expect((await rejection(pull('nowhere', 'a'))).disposition).toBe('retry');
  });

  it('is any that answers with trouble of its own, or whose connection was refused on our side', async () => {
    for (const details of [{ answeredBy: 'site a' }, { connection: true }]) {
      const refusal = new AntipodeError('CERTIFICATE_INVALID', 'expired', { details });
      sites.network.wire.distort = (method) => {
        if (method !== 'pullManifest') return;
        sites.network.wire.distort = () => {};
        throw refusal;
      };
      expect(await rejection(pull('a'))).toBe(refusal);
      sites.network.wire.distort = (method) => {
        if (method !== 'pullManifest') return;
        sites.network.wire.distort = () => {};
        throw refusal;
      };
      await pull('a', 'b');
      onDisk(c, 'DELETE FROM manifest');
    }
  });

  it('does not excuse what would be the same from everybody', async () => {
    writeFileSync(join(c.folder, 'pins.yaml'), '');
    expect((await rejection(pull('a', 'b'))).code).toBe('PEER_NOT_PINNED');
    expect(lines).toEqual([]);
  });
});

it('nobody is asked for a caller that has gone', async () => {
  const giveUp = new AbortController();
  const asked: string[] = [];
  sites.network.wire.distort = (method) => {
    asked.push(method);
    giveUp.abort();
  };
  const wanted = { group: GROUP, digest: ref.digest, sources: [address('a'), address('b')], signal: giveUp.signal };
  expect((await rejection(c.site.transfer.pull(wanted))).code).toBe('TIMED_OUT');
  expect((await rejection(c.site.transfer.pull(wanted))).code).toBe('TIMED_OUT');
  expect(asked).toEqual(['pullManifest']);
});

describe('what the disk here has changed', () => {
  const next = async () => {
    a.member.hsm.addSecret('next');
    return sites.captured();
  };

  it('is pulled again when an apply needs it: a blob, for good', async () => {
    const blob = firstBlob(b);
    rotBlob(b);
    expect(await sites.apply(b, await next())).toMatchObject({ pulledBlobs: 2 });
    b.stop();
    await b.start();
    expect(await b.site.store.unsound([blob])).toEqual([]);
    expect(hex(b.site.store.blob(blob))).toBe(hex(a.site.store.blob(blob)));
  });

  it('is pulled again when a drill needs it, also of a generation that is here already', async () => {
    rotBlob(b);
    expect(await sites.drill(b, ref)).toMatchObject({ isClean: true, proof: { failed: 0 } });
  });

  it('is pulled again when it is a manifest that orders go by', async () => {
    const newer = await next();
    await rotManifest(b);
    expect(await sites.apply(b, newer)).toMatchObject({ appliedObjects: 1 });
    b.stop();
    await b.start();
    expect(await b.site.store.isSound(ref.digest)).toBe(true);
  });

  it('is the error when nobody has it whole', async () => {
    rotBlob(b);
    const drill = b.call('drill', {
      fence: fence(),
      drillId: 'd',
      generation: ref,
      scratchSerial: 'b-2',
      sources: [],
    });
    expect((await rejection(drill)).code).toBe('BLOB_INVALID');
    expect(b.site.journal.drills.open('b-2')).toBeUndefined();
  });
});

describe('a generation is served', () => {
  const collect = async (parts: AsyncIterable<unknown>): Promise<unknown[]> => {
    const all: unknown[] = [];
    for await (const part of parts) all.push(part);
    return all;
  };
  const manifest = (group: string) =>
    collect(a.stream('pullManifest', { group, generation: { manifestDigest: fromHex(ref.digest) } }, { site: 'b' }));
  const blobs = (group: string, sha256: string[], digest = ref.digest) =>
    collect(
      a.stream(
        'pullBlobs',
        { group, sha256: sha256.map(fromHex), generation: { manifestDigest: fromHex(digest) } },
        { site: 'b' },
      ),
    );

  it('in the name of its own group only', async () => {
    expect(await manifest(GROUP)).not.toEqual([]);
    expect(await blobs(GROUP, [firstBlob(a)])).not.toEqual([]);
    a.pin('other', b);
    expect((await rejection(manifest('other'))).code).toBe('GENERATION_UNKNOWN');
    expect((await rejection(blobs('other', [firstBlob(a)]))).code).toBe('GENERATION_UNKNOWN');
  });

  it('to sites of which a partition is pinned for that group, and to no other', async () => {
    for (const ask of [() => manifest('other'), () => blobs('other', [firstBlob(a)])])
      expect(await rejection(ask())).toMatchObject({ code: 'PEER_REFUSED', details: { site: 'b' } });
  });

  it('with the blobs that it lists, and no other that is in the store', async () => {
    const foreign = Buffer.from('of another group');
    a.site.store.putBlobs([foreign]);
    expect(await rejection(blobs(GROUP, [firstBlob(a), sha256Hex(foreign)]))).toMatchObject({
      code: 'REQUEST_INVALID',
      details: { blob: sha256Hex(foreign) },
    });
    expect((await rejection(blobs(GROUP, [firstBlob(a)], '00'.repeat(32)))).code).toBe('GENERATION_UNKNOWN');
    const unnamed = a.stream('pullBlobs', { group: GROUP, sha256: [fromHex(firstBlob(a))] }, { site: 'b' });
    expect((await rejection(collect(unnamed))).code).toBe('REQUEST_INVALID');
  });

  it('without working out again for each page what it lists', async () => {
    const list = () => a.site.store.blobsOf(ref.digest, { group: GROUP });
    expect(await list()).toBe(await list());
  });
});
