import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { makeSocketFolder } from './socket-folder.ts';

let dataFolder: string;
beforeEach(() => {
  dataFolder = mkdtempSync(join(tmpdir(), 'antipode-sockets-'));
});
afterEach(() => rmSync(dataFolder, { recursive: true }));

it('clears away the folder that a killed process left, and nothing else', () => {
  const left = makeSocketFolder({ dataFolder, server: 'redis' });
  const next = makeSocketFolder({ dataFolder, server: 'redis' });
  expect([existsSync(left), existsSync(next)]).toEqual([false, true]);
  rmSync(next, { recursive: true });
  writeFileSync(join(dataFolder, 'redis.sockets'), `${dataFolder}\n`);
  rmSync(makeSocketFolder({ dataFolder, server: 'redis' }), { recursive: true });
  expect(existsSync(dataFolder)).toBe(true);
});
