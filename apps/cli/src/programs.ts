/** Programs of the machine that we start or expect, found the way they will be: in PATH, and where Debian puts servers. */
import { accessSync, constants, readdirSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { AntipodeError } from '@antipode/runtime';

/** Not in the PATH of an ordinary user. */
const SYSTEM_FOLDERS = ['/usr/sbin', '/usr/bin'];
/** Debian keeps each version of PostgreSQL in a folder of its own. */
const POSTGRES_BASE = '/usr/lib/postgresql';

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** @returns its path. @throws PROGRAM_MISSING naming the Debian package */
export function requireProgram(
  name: string,
  { debianPackage, folders = [] }: { debianPackage: string; folders?: readonly string[] },
): string {
  const inPath = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  const found = [...folders, ...inPath, ...SYSTEM_FOLDERS].map((folder) => join(folder, name)).find(isExecutable);
  if (found !== undefined) return found;
  throw new AntipodeError('PROGRAM_MISSING', `${name} is not installed (Debian package ${debianPackage})`, {
    details: { program: name, package: debianPackage },
  });
}

/** Where the programs of PostgreSQL are, the newest version first. */
export function postgresFolders(base = POSTGRES_BASE): string[] {
  const versions = (): number[] => {
    try {
      return readdirSync(base).map(Number).filter(Number.isFinite);
    } catch {
      return [];
    }
  };
  return versions()
    .sort((a, b) => b - a)
    .map((version) => join(base, String(version), 'bin'));
}
