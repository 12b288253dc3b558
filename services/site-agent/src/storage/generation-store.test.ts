import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { SealedGeneration } from '@antipode/hsm-core';
import { SimulatedGroup, type SimulatedMember } from '@antipode/hsm-core/testing';
import { hex, sha256Hex, systemClock } from '@antipode/runtime';
import { rejection, thrown } from '@antipode/runtime/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import { GenerationStore } from './generation-store.ts';

let folder: string;
let store: GenerationStore;
let group: SimulatedGroup;
let a: SimulatedMember;
let sealed: SealedGeneration;

beforeEach(async () => {
  folder = temporaryFolder();
  store = GenerationStore.open(folder, { clock: systemClock });
  const made = await SimulatedGroup.make('a');
  group = made.group;
  a = made.members[0]!;
  a.hsm.addSecret('one');
  a.hsm.addSecret('two');
  sealed = await group.captured(a);
});

afterEach(() => {
  store.close();
  rmSync(folder, { recursive: true });
});

function reopen(): void {
  store.close();
  store = GenerationStore.open(folder, { clock: systemClock });
}

/** Changes the store as a failing disk, or somebody with access to it, does. */
function onDisk(sql: string, ...values: Uint8Array[]): void {
  const database = new DatabaseSync(join(folder, 'generations.db'));
  database.prepare(sql).run(...values);
  database.close();
}

const fill = async (): Promise<void> => {
  store.putBlobs(group.blobs.values());
  await store.put(sealed);
};

it('keeps blobs by what they hold, once each, through a restart', async () => {
  const blobs = [...group.blobs.values()];
  store.putBlobs([...blobs, ...blobs]);
  reopen();
  for (const [digest, blob] of group.blobs) expect(hex(store.blob(digest))).toBe(hex(blob));
  const absent = '00'.repeat(32);
  expect(await store.lacking([absent, ...group.blobs.keys()])).toEqual([absent]);
  expect(thrown(() => store.blob(absent))).toMatchObject({ code: 'GENERATION_UNKNOWN', details: { blob: absent } });
});

it('lets everything else go on while it checks a large generation', async () => {
  const blobs = Array.from({ length: 3_000 }, (_, index) => Buffer.from(`blob ${index}`));
  store.putBlobs(blobs);
  const digests = blobs.map((blob) => sha256Hex(blob));
  onDisk('UPDATE blob SET bytes = ? WHERE sha256 = ?', Uint8Array.of(1), Buffer.from(digests[2_500]!, 'hex'));
  let turns = 0;
  let isChecking = true;
  const checking = store.unsound([...digests, '00'.repeat(32)]).finally(() => {
    isChecking = false;
  });
  while (isChecking) {
    await new Promise((resolve) => setImmediate(resolve));
    turns += 1;
  }
  expect(await checking).toEqual([digests[2_500], '00'.repeat(32)]);
  expect(turns).toBeGreaterThan(2);
});

it('stores all blobs of a batch or none', async () => {
  const broken = function* (): Iterable<Uint8Array> {
    yield Uint8Array.of(1);
    throw new Error('the stream ended');
  };
  expect(thrown(() => store.putBlobs(broken())).code).toBe('FILE_UNWRITABLE');
  expect(await store.lacking([sha256Hex(Uint8Array.of(1))])).toHaveLength(1);
});

describe('a generation', () => {
  it('is not there until every blob of it is', async () => {
    const [first, ...rest] = group.blobs.values();
    store.putBlobs(rest);
    expect(await rejection(store.put(sealed))).toMatchObject({ code: 'GENERATION_UNKNOWN' });
    expect([store.has(sealed.digest), store.list(group.name)]).toEqual([false, []]);
    store.putBlobs([first!]);
    await store.put(sealed);
    expect(store.has(sealed.digest)).toBe(true);
  });

  it('is given back as it was signed, through a restart, however often it is put', async () => {
    await fill();
    await store.put(sealed);
    reopen();
    expect(hex(store.signed(sealed.digest))).toBe(hex(sealed.signed));
    const opened = await store.open(sealed.digest);
    expect([opened.digest, opened.contentDigest, opened.signerSha256]).toEqual([
      sealed.digest,
      sealed.contentDigest,
      sealed.signerSha256,
    ]);
  });

  it('that is not here is unknown', async () => {
    const absent = '00'.repeat(32);
    const unknown = { code: 'GENERATION_UNKNOWN', details: { generation: absent } };
    expect(thrown(() => store.signed(absent))).toMatchObject(unknown);
    for (const ask of [store.open(absent), store.summary(absent), store.summary(absent)])
      expect(await rejection(ask)).toMatchObject(unknown);
    expect(await store.isSound(absent)).toBe(false);
    expect(store.has(absent)).toBe(false);
  });

  it('is in a list by epoch and number, newest first, of its own group only', async () => {
    await fill();
    for (const epoch of [1n, 3n]) {
      a.hsm.addSecret(`of epoch ${epoch}`);
      const next = await group.captured(a, { epoch });
      store.putBlobs(group.blobs.values());
      await store.put(next);
    }
    expect(store.list(group.name).map(({ epoch, number }) => [epoch, number])).toEqual([
      [3n, 3n],
      [1n, 2n],
      [1n, 1n],
    ]);
    expect(store.list('other')).toEqual([]);
  });
});

describe('what the disk changed is refused:', () => {
  it('a blob', async () => {
    await fill();
    const [digest] = group.blobs.keys();
    onDisk('UPDATE blob SET bytes = ? WHERE sha256 = ?', Uint8Array.of(1), Buffer.from(digest!, 'hex'));
    expect(thrown(() => store.blob(digest!))).toMatchObject({ code: 'BLOB_INVALID', details: { expected: digest } });
  });

  it.each([0, 100, -1])('a manifest, at byte %i', async (at) => {
    await fill();
    reopen();
    const signed = Uint8Array.from(sealed.signed);
    // The last byte is of the signer, the first of the form.
    const index = at === 0 ? 1 : (at + signed.length) % signed.length;
    signed[index]! ^= 1;
    onDisk('UPDATE manifest SET signed = ?', signed);
    expect((await rejection(store.open(sealed.digest))).code).toBe('MANIFEST_INVALID');
  });

  it('a manifest in the place of another', async () => {
    await fill();
    a.hsm.addSecret('three');
    const next = await group.captured(a);
    reopen();
    onDisk('UPDATE manifest SET signed = ?', next.signed);
    expect((await rejection(store.open(sealed.digest))).code).toBe('MANIFEST_INVALID');
  });
});
