import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { thrown } from '../testing/index.ts';
import { lockFolder as lock } from './folder-lock.ts';

const lockFolder = (path: string) => lock(path, { program: 'agent' });
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'antipode-lock-'));
});

afterEach(() => rmSync(folder, { recursive: true }));

it('lets one agent at a time on a folder, and the next when it has closed', async () => {
  const data = join(folder, 'data');
  const first = lockFolder(data);
  expect(statSync(data).mode & 0o777).toBe(0o700);
  expect(thrown(() => lockFolder(data))).toMatchObject({
    code: 'FILE_EXISTS',
    message: `[FILE_EXISTS] another agent, process ${process.pid}, runs on ${data}`,
    details: { path: join(data, 'agent.lock'), pid: process.pid },
  });
  await first.close();
  await first.close();
  expect(existsSync(join(data, 'agent.pid'))).toBe(false);
  await lockFolder(data).close();
});

it('names nobody where the holder has not written down its number', async () => {
  const first = lockFolder(folder);
  writeFileSync(join(folder, 'agent.pid'), '');
  expect(thrown(() => lockFolder(folder)).message).toBe(`[FILE_EXISTS] another agent runs on ${folder}`);
  rmSync(join(folder, 'agent.pid'));
  expect(thrown(() => lockFolder(folder)).code).toBe('FILE_EXISTS');
  await first.close();
});

it('keeps folders apart', async () => {
  const [first, second] = [lockFolder(join(folder, 'a')), lockFolder(join(folder, 'b'))];
  await first.close();
  await second.close();
});

it('is left behind by no process that was killed', async () => {
  const module = new URL('./folder-lock.ts', import.meta.url).href;
  const script = `import { lockFolder } from '${module}'; lockFolder(${JSON.stringify(folder)}, { program: 'agent' }); process.kill(process.pid, 'SIGKILL');`;
  const { signal } = spawnSync(process.execPath, ['--input-type=module', '--eval', script], { stdio: 'pipe' });
  expect(signal).toBe('SIGKILL');
  await lockFolder(folder).close();
});

it('tells a folder that cannot be used from one that is in use', () => {
  writeFileSync(join(folder, 'file'), '');
  expect(thrown(() => lockFolder(join(folder, 'file'))).code).toBe('FILE_UNWRITABLE');
  writeFileSync(join(folder, 'agent.lock'), 'no database, and longer than its header would be'.repeat(20));
  expect(thrown(() => lockFolder(folder)).code).toBe('FILE_UNWRITABLE');
});

it('names its place: the same after a restart, another one for a copy of the folder', async () => {
  const copy = join(folder, 'copy');
  const original = join(folder, 'original');
  const places: string[] = [];
  for (const path of [original, original]) {
    const held = lockFolder(path);
    places.push(held.place);
    await held.close();
  }
  cpSync(original, copy, { recursive: true });
  const held = lockFolder(copy);
  expect(places[0]).toMatch(/^[0-9a-f]{32}$/);
  expect(places[1]).toBe(places[0]);
  expect(held.place).not.toBe(places[0]);
  await held.close();
});
