import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { thrown } from '@antipode/runtime/testing';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import { findProgram } from './supervised-child.ts';

const root = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'antipode-programs-'));
afterAll(() => rmSync(root, { recursive: true }));
afterEach(() => void vi.unstubAllEnvs());

/** A folder with one program in it. */
function folderWith(name: string, program: string): string {
  const folder = join(root, name);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, program), '#!/bin/sh\n', { mode: 0o755 });
  return folder;
}

describe('a program', () => {
  const program = 'antipode-test-server';
  const package_ = { debianPackage: 'antipode-test' };

  it('is taken from the given folders first, in their order, and then from PATH', () => {
    const [newest, older, inPath] = ['newest', 'older', 'path'].map((name) => folderWith(name, program));
    vi.stubEnv('PATH', `${join(root, 'nothing')}:${inPath}`);
    expect(findProgram(program, { folders: [newest!, older!], ...package_ })).toBe(join(newest!, program));
    expect(findProgram(program, { folders: [join(root, 'nothing'), older!], ...package_ })).toBe(join(older!, program));
    expect(findProgram(program, package_)).toBe(join(inPath!, program));
  });

  it('that is nowhere is named with the package that has it', () => {
    vi.stubEnv('PATH', join(root, 'nothing'));
    const error = thrown(() => findProgram('antipode-no-such-server', package_));
    expect(error.code).toBe('PROGRAM_MISSING');
    expect(error.details).toEqual({ program: 'antipode-no-such-server', package: 'antipode-test' });
  });
});
