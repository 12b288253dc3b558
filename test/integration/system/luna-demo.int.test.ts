/** The demonstration on emulated Luna devices, as people start it: what it tells, and what it leaves behind. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { systemClock } from '@antipode/runtime';
import { afterAll, expect, it } from 'vitest';

const ANTIPODE = fileURLToPath(new URL('../../../bin/antipode', import.meta.url));
const kept: string[] = [];
afterAll(() => {
  for (const folder of kept) rmSync(folder, { recursive: true, force: true });
});

/** Where a demonstration says that it lives. */
const folderIn = (story: string): string | undefined => /live in (\S+?),/.exec(story)?.[1];

function filesIn(path: string): string[] {
  return readdirSync(path, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

/** Processes whose command line or environment names `text`. lunacm has its folder in the environment. */
function processesNaming(text: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      return (
        /^\d+$/.test(pid) &&
        ['cmdline', 'environ'].some((name) => readFileSync(`/proc/${pid}/${name}`, 'latin1').includes(text))
      );
    } catch {
      return false;
    }
  });
}

it('holds, says first that the HSMs are emulated, and tells no secret', () => {
  const { status, stdout, stderr } = spawnSync(ANTIPODE, ['demo', '--luna', '--json', '--keep'], {
    encoding: 'utf8',
  });
  const folder = folderIn(stderr)!;
  kept.push(folder);
  expect(stderr).not.toContain('Failed at');
  expect(status).toBe(0);
  expect(stderr.split('\n')[0]).toMatch(/^The HSMs are emulated: .* Nothing was tried on hardware\.$/);
  const result = JSON.parse(stdout);
  expect(result).toMatchObject({
    ok: true,
    hsms: 'emulated',
    lost: 0,
    keys: { uncaptured: 0, unextractable: 5 },
    standby: { protection: 'protected' },
    archive: { objects: expect.any(Number) },
    vaultDrill: { failed: 0, proved: result.keys.captured },
    promotion: { from: 'a', to: 'b', epoch: 2 },
    rejoined: true,
    failback: { to: 'a', epoch: 3, protection: 'protected' },
    uses: { a: { wrong: 0 }, b: { wrong: 0 } },
  });
  expect(result.uses.a.used).toBe(result.uses.b.used + 1);
  const files = filesIn(folder);
  const secrets = files.filter((path) => path.endsWith('.pin')).map((path) => readFileSync(path, 'utf8').trim());
  expect(new Set(secrets).size).toBe(5);
  const told = [
    stdout,
    stderr,
    ...files.filter((path) => /\.log$|argv\.jsonl$/.test(path)).map((path) => readFileSync(path, 'utf8')),
  ];
  expect(told.length).toBeGreaterThan(5);
  expect(secrets.filter((secret) => told.some((text) => text.includes(secret)))).toEqual([]);
  expect(processesNaming(folder)).toEqual([]);
}, 240_000);

it('leaves no process and no folder behind on Ctrl-C while the devices copy', async () => {
  const child = spawn(ANTIPODE, ['demo', '--luna'], { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  let text = '';
  const closed = new Promise<number | null>((resolve) => child.once('close', resolve));
  const folder = await new Promise<string>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
        if (text.includes('A live standby')) resolve(folderIn(text)!);
      });
    void closed.then(() => reject(new Error(text)));
  });
  kept.push(folder);
  const isCopying = (): boolean => readFileSync(join(folder, 'luna/log.jsonl'), 'utf8').includes('partition clone');
  while (!isCopying()) await systemClock.sleep(20);
  expect(processesNaming(folder).length).toBeGreaterThan(0);
  process.kill(-child.pid!, 'SIGINT');
  expect(await closed).toBe(130);
  expect(text).not.toContain('Failed at');
  while (processesNaming(folder).length > 0) await systemClock.sleep(50);
  expect(existsSync(folder)).toBe(false);
}, 120_000);
