/** The files of this repository, as git has them or would have them. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';

export const root = join(import.meta.dirname, '../../..');

export interface SourceFile {
  /** From the root of the repository. */
  readonly path: string;
  readonly source: string;
}

/** Paths of all files that are not ignored, from the root. Also works on a copy without its history. */
export function paths(): string[] {
  const found = existsSync(join(root, '.git')) ? pathsInGit() : pathsOnDisk(root);
  return found.filter((path) => existsSync(join(root, path))).sort();
}

export function read(path: string): SourceFile {
  return { path, source: readFileSync(join(root, path), 'utf8') };
}

/** Files whose path ends with one of these and starts with one of those. */
export function sources({ under, endings }: { under: readonly string[]; endings: readonly string[] }): SourceFile[] {
  return paths()
    .filter((path) => under.some((folder) => path.startsWith(folder)))
    .filter((path) => endings.some((ending) => path.endsWith(ending)))
    .map(read);
}

function pathsInGit(): string[] {
  // Another user's checkout is as good: nothing here runs what git says.
  const args = ['-c', `safe.directory=${root}`, 'ls-files', '-z', '--cached', '--others', '--exclude-standard'];
  return execFileSync('git', args, { cwd: root, encoding: 'utf8', maxBuffer: 64 << 20 })
    .split('\0')
    .filter((path) => path !== '');
}

const NOT_OURS = new Set(['node_modules', '.git', '.bootstrap']);

function pathsOnDisk(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (NOT_OURS.has(entry.name)) return [];
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return pathsOnDisk(path);
    return entry.isFile() ? [relative(root, path)] : [];
  });
}
