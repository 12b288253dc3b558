import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, expect, it, vi } from 'vitest';
import { thrown } from '../testing/index.ts';
import { requireProgram } from './programs.ts';

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
  expect(error.hint).toContain('apt-get install some-package');
  const alternative = 'Or name an external server.';
  expect(thrown(() => requireProgram('antipode-no-such', { debianPackage: 'p', alternative })).hint).toContain(
    alternative,
  );
});
