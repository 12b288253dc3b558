/** A copy of what an agent remembers, taken while it writes; and what an agent on that copy is. */
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { blobDigests } from '@antipode/hsm-core';
import { sha256Hex, systemClock } from '@antipode/runtime';
import { thrown } from '@antipode/runtime/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { AgentConfig } from '../config.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import { GROUP, TwoSites } from '../testing/two-sites.ts';
import { backUpAgent } from './backup.ts';
import { GenerationStore } from './generation-store.ts';
import { Journal } from './journal/journal.ts';

let sites: TwoSites;
let folder: string;
let to: string;

beforeEach(async () => {
  sites = await TwoSites.make();
  folder = temporaryFolder();
  to = join(folder, 'backup');
});

afterEach(() => {
  sites.close();
  rmSync(folder, { recursive: true });
});

function backUp(dataFolder = sites.a.folder) {
  const configFile = join(folder, 'agent.yaml');
  writeFileSync(configFile, 'site: a\n');
  const config = { site: 'a', dataFolder, pinsFile: join(dataFolder, 'pins.yaml') } as AgentConfig;
  return backUpAgent(config, { configFile, to, nowMs: 0 });
}

it('holds one moment of the journal, and every generation that it names, while the agent writes', async () => {
  const ref = await sites.captured();
  const writer = new DatabaseSync(join(sites.a.folder, 'journal.db'));
  writer.exec("BEGIN IMMEDIATE; INSERT INTO head VALUES ('other', 's1', 'captured', 'half')");
  const { files } = backUp();
  writer.exec('ROLLBACK');
  writer.close();
  expect(files.map(({ name }) => name)).toEqual(['journal.db', 'generations.db', 'pins.yaml', 'agent.yaml']);

  const restored = join(folder, 'restored');
  cpSync(to, restored, { recursive: true });
  const [journal, store] = [Journal.open(restored), GenerationStore.open(restored, { clock: systemClock })];
  expect([
    journal.heads.of({ group: GROUP, serial: 'a-1' }, 'captured'),
    journal.heads.of({ group: 'other', serial: 's1' }, 'captured'),
  ]).toEqual([ref.digest, undefined]);
  expect(journal.tenure.fence(GROUP)).toEqual({ epoch: 1n, owner: 'a' });
  const { generation } = await store.open(ref.digest);
  expect(await store.unsound(blobDigests(generation))).toEqual([]);
  journal.close();
  store.close();
});

it('says what is in it, by digest, is closed to others, and holds no PIN file', async () => {
  await sites.captured();
  mkdirSync(join(sites.a.folder, 'login'), { recursive: true });
  const { files } = backUp();
  for (const { name, bytes, sha256 } of files) {
    expect(sha256Hex(readFileSync(join(to, name)))).toBe(sha256);
    expect([statSync(join(to, name)).size, (statSync(join(to, name)).mode & 0o777).toString(8)]).toEqual([
      bytes,
      '600',
    ]);
  }
  expect((statSync(to).mode & 0o777).toString(8)).toBe('700');
  expect(readdirSync(to).sort()).toEqual(['agent.yaml', 'backup.json', 'generations.db', 'journal.db', 'pins.yaml']);
});

it('is refused into a folder that holds something, and where there is no journal', () => {
  mkdirSync(to);
  writeFileSync(join(to, 'older'), '');
  expect(thrown(() => backUp())).toMatchObject({ code: 'FILE_EXISTS', hint: expect.stringContaining('empty') });
  rmSync(to, { recursive: true });
  expect(thrown(() => backUp(join(folder, 'nowhere'))).code).toBe('NOT_FOUND');
});

it('leaves nothing behind when it fails', () => {
  writeFileSync(join(sites.b.folder, 'damaged.db'), '');
  const data = join(folder, 'data');
  mkdirSync(data);
  writeFileSync(join(data, 'journal.db'), 'no database, and longer than the header of one '.repeat(40));
  expect(thrown(() => backUp(data)).code).toBe('FILE_DAMAGED');
  expect(readdirSync(to)).toEqual([]);
});
