/** `antipode site join -` at the end of a pipe that SSH has made: reads on it do not wait, and the token comes late. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { systemClock } from '@antipode/runtime';
import { afterAll, expect, it } from 'vitest';
import { temporaryFolder } from '../../support/tokens.ts';

const MAIN = fileURLToPath(new URL('../../../apps/cli/src/main.ts', import.meta.url));
const NON_BLOCKING = 'use Fcntl; fcntl(STDIN, F_SETFL, O_NONBLOCK) or die; exec @ARGV';

const folder = temporaryFolder('join-input');
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Whether a process waits for standard input among other things. */
function waitsForInput({ pid }: ChildProcess): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`)
      .filter((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`) === 'anon_inode:[eventpoll]')
      .some((fd) => /^tfd: +0 /m.test(readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8')));
  } catch {
    return false;
  }
}

it('waits for a token that comes after the machine has begun to read', { timeout: 60_000 }, async () => {
  const words = ['site', 'join', '-', '--folder', folder, '--json'];
  const child = spawn('perl', ['-e', NON_BLOCKING, process.execPath, MAIN, ...words], { stdio: 'pipe' });
  let said = '';
  child.stderr.on('data', (part: Buffer) => {
    said += part.toString();
  });
  const ended = once(child, 'close');
  while (child.exitCode === null && !waitsForInput(child)) await systemClock.sleep(20);
  expect([child.exitCode, said]).toEqual([null, '']);
  child.stdin.end('not a token');
  await ended;
  expect(JSON.parse(said).error.code).toBe('SITE_TOKEN_INVALID');
});
