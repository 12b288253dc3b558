import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryBase } from '@antipode/runtime';
import { thrown } from '@antipode/runtime/testing';
import { afterAll, expect, it } from 'vitest';
import { tokenText } from './join.ts';

const folder = mkdtempSync(join(temporaryBase(), 'token-'));
afterAll(() => rmSync(folder, { recursive: true }));

it('reads a token from a file and from a pipe, and warns if others can read it', () => {
  const [file, pipe] = [join(folder, 'b.token'), join(folder, 'pipe')];
  writeFileSync(file, 'the token\n', { mode: 0o644 });
  execFileSync('mkfifo', ['-m', '600', pipe]);
  spawn('sh', ['-c', 'cat "$1" >"$2"', 'sh', file, pipe], { stdio: 'ignore' });
  const notes: string[] = [];
  expect([file, pipe].map((source) => tokenText(source, (note) => void notes.push(note)))).toEqual([
    'the token\n',
    'the token\n',
  ]);
  expect(notes).toEqual([expect.stringContaining(`can read ${file}`)]);
});

it('leaves a file that never ends', () => {
  expect(thrown(() => tokenText('/dev/zero', () => {}))).toMatchObject({ code: 'SITE_TOKEN_INVALID' });
});
