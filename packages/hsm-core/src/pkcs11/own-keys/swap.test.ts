import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Secret } from '@antipode/runtime';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { swapState, swapWarning, withLocked } from './swap.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'antipode-swap-'));
});
afterEach(() => rmSync(root, { recursive: true }));

const HEAD = 'Filename\tType\tSize\tUsed\tPriority\n';
function system(files: Record<string, string>): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
}

it.each<[string, string, Record<string, string>]>([
  ['no swap', 'no device', { 'proc/swaps': HEAD }],
  ['no swap', 'no such file', {}],
  ['possible', 'a device', { 'proc/swaps': `${HEAD}/dev/sda2\tpartition\t1\t0\t-2\n` }],
  [
    'forbidden',
    'a device, and a unit that may use none of it',
    {
      'proc/swaps': `${HEAD}/dev/sda2\tpartition\t1\t0\t-2\n`,
      'proc/self/cgroup': '0::/system.slice/antipode-agent.service/sub\n',
      'sys/fs/cgroup/system.slice/antipode-agent.service/sub/memory.swap.max': 'max\n',
      'sys/fs/cgroup/system.slice/antipode-agent.service/memory.swap.max': '0\n',
    },
  ],
  [
    'possible',
    'a device, and a unit that may use it',
    {
      'proc/swaps': `${HEAD}/swapfile\tfile\t1\t0\t-2\n`,
      'proc/self/cgroup': '0::/system.slice/antipode-agent.service\n',
      'sys/fs/cgroup/system.slice/antipode-agent.service/memory.swap.max': 'max\n',
    },
  ],
])('swap is %s where there is %s', (state, _what, files) => {
  system(files);
  expect(swapState({ root })).toBe(state);
  expect(swapWarning(swapState({ root })).includes('MemorySwapMax=0')).toBe(state === 'possible');
});

it.runIf(process.platform === 'linux')('a secret is locked while it is used, and wiped before it is unlocked', () => {
  const lockedKb = (): number => Number(/^VmLck:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);
  const secret = new Secret(Buffer.alloc(8, 0x37));
  const before = lockedKb();
  expect(withLocked(secret, (bytes) => [lockedKb() > before, bytes.toString()])).toEqual([true, '77777777']);
  expect([lockedKb(), secret.expose((bytes) => [...bytes])]).toEqual([before, Array.from({ length: 8 }, () => 0)]);
});
