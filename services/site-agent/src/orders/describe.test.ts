import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { DescribeResponseSchema } from '@antipode/protocol';
import { create, toBinary } from '@bufbuild/protobuf';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { SimulatedSite } from '../testing/simulated-site.ts';
import { GROUP, type Ref, TwoSites } from '../testing/two-sites.ts';
import { describe as account } from './describe.ts';

let sites: TwoSites;
let a: SimulatedSite;
let ref: Ref & { digest: string };

beforeEach(async () => {
  sites = await TwoSites.make();
  a = sites.a;
  for (let count = 0; count < 50; count += 1) a.member.hsm.addSecret(`kept ${count}`, { extractable: false });
  ref = await sites.captured();
});

afterEach(() => sites.close());

function rot(): void {
  const database = new DatabaseSync(join(a.folder, 'generations.db'));
  database.exec("UPDATE manifest SET signed = CAST(X'00' || signed AS BLOB)");
  database.close();
}

it('names generations without what they do not protect, so that a heartbeat stays small', async () => {
  expect((await a.site.store.open(ref.digest)).generation.uncaptured).toHaveLength(50);
  const message = create(DescribeResponseSchema, await account(a.site));
  expect(message.members).toMatchObject([{ captured: { generation: 1n, objectCount: 2, uncaptured: [] } }]);
  expect(toBinary(DescribeResponseSchema, message).length).toBeLessThan(1_000);
});

it('opens a manifest once in the life of the process, however often it is asked', async () => {
  a.stop();
  await a.start();
  const open = vi.spyOn(a.site.store, 'open');
  for (let beat = 0; beat < 3; beat += 1) expect((await account(a.site)).members).toMatchObject([{ captured: {} }]);
  expect(open).toHaveBeenCalledTimes(1);
});

it('is heard although a manifest has been changed by the disk, and says so of its partition', async () => {
  a.stop();
  rot();
  await a.start();
  const signed = vi.spyOn(a.site.store, 'signed');
  for (let beat = 0; beat < 3; beat += 1) {
    const { partitions, members } = await account(a.site);
    expect(partitions?.map(({ serial, errorCode }) => [serial, errorCode])).toEqual([
      ['a-1', 'MANIFEST_INVALID'],
      ['a-2', ''],
    ]);
    expect(members).toMatchObject([{ group: GROUP, serial: 'a-1', epoch: 1n }]);
    expect(members?.[0]).not.toHaveProperty('captured');
  }
  expect(signed).toHaveBeenCalledTimes(1);
});
