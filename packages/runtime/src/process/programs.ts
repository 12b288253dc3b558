/** Programs of the machine that we start or expect, found the way they will be: in PATH, and where Debian puts servers. */
import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { AntipodeError } from '../errors.ts';

/** Not in the PATH of an ordinary user. */
const SYSTEM_FOLDERS = ['/usr/sbin', '/usr/bin'];

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
  {
    debianPackage,
    folders = [],
    alternative,
  }: { debianPackage: string; folders?: readonly string[]; alternative?: string | undefined },
): string {
  const inPath = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  const found = [...folders, ...inPath, ...SYSTEM_FOLDERS].map((folder) => join(folder, name)).find(isExecutable);
  if (found !== undefined) return found;
  throw new AntipodeError('PROGRAM_MISSING', `${name} is not installed (Debian package ${debianPackage})`, {
    details: { program: name, package: debianPackage },
    hint: `Install it (\`apt-get install ${debianPackage}\`), or add the folder that has it to PATH.${alternative === undefined ? '' : ` ${alternative}`}`,
  });
}
