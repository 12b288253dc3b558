import { spawnSync } from 'node:child_process';
import { rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { thrown } from '@antipode/runtime/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { lockFolder } from './lock.ts';
import { temporaryFolder } from './testing/temporary-folder.ts';

let folder: string;

beforeEach(() => {
  folder = temporaryFolder();
});

afterEach(() => rmSync(folder, { recursive: true }));

it('lets one agent at a time on a folder, and the next when it has closed', async () => {
  const data = join(folder, 'data');
  const first = lockFolder(data);
  expect(statSync(data).mode & 0o777).toBe(0o700);
  expect(thrown(() => lockFolder(data))).toMatchObject({
    code: 'FILE_EXISTS',
    details: { path: join(data, 'agent.lock') },
  });
  await first.close();
  await lockFolder(data).close();
});

it('keeps folders apart', async () => {
  const [first, second] = [lockFolder(join(folder, 'a')), lockFolder(join(folder, 'b'))];
  await first.close();
  await second.close();
});

it('is left behind by no process that was killed', async () => {
  const module = new URL('./lock.ts', import.meta.url).href;
  const script = `import { lockFolder } from '${module}'; lockFolder(${JSON.stringify(folder)}); process.kill(process.pid, 'SIGKILL');`;
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
