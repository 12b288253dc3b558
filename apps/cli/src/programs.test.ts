import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { thrown } from '@antipode/runtime/testing';
import { afterAll, afterEach, expect, it, vi } from 'vitest';
import { postgresFolders, requireProgram } from './programs.ts';

const root = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'antipode-programs-'));
afterAll(() => rmSync(root, { recursive: true }));
afterEach(() => void vi.unstubAllEnvs());
const NAME = 'antipode-test-server';

function folderWith(name: string, { mode }: { mode: number }): string {
  const folder = join(root, name);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, NAME), '#!/bin/sh\n', { mode });
  return folder;
}

it('a program is found in the given folders and in PATH, and a file that cannot be run is none', () => {
  const [plain, given, inPath] = [
    folderWith('plain', { mode: 0o644 }),
    folderWith('given', { mode: 0o755 }),
    folderWith('path', { mode: 0o755 }),
  ];
  vi.stubEnv('PATH', `${plain}:${inPath}`);
  expect(requireProgram(NAME, { debianPackage: 'x' })).toBe(join(inPath, NAME));
  expect(requireProgram(NAME, { debianPackage: 'x', folders: [given] })).toBe(join(given, NAME));
});

it('a program that is nowhere is named with the package that has it', () => {
  const error = thrown(() => requireProgram('antipode-no-such', { debianPackage: 'some-package' }));
  expect([error.code, error.details]).toEqual([
    'PROGRAM_MISSING',
    { program: 'antipode-no-such', package: 'some-package' },
  ]);
});

it('the newest PostgreSQL comes first', () => {
  for (const version of ['9.6', '15', 'common', '100']) mkdirSync(join(root, 'pg', version), { recursive: true });
  expect(postgresFolders(join(root, 'pg'))).toEqual(['100', '15', '9.6'].map((one) => join(root, 'pg', one, 'bin')));
  expect(postgresFolders(join(root, 'nowhere'))).toEqual([]);
});
