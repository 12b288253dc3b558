/** Installs what is missing, says so before it does, and is silent and quick where nothing is. */

import { join } from 'node:path';
import { arch, platform } from 'node:process';
import { installDebianPrograms } from './debian-programs.js';
import { isExecutable } from './find-program.js';
import { installNpmPackages } from './npm-packages.js';
import { BootstrapError } from './say.js';

/**
 * @param {{ root: string, needsPrograms: boolean, needsTools?: boolean, needsCompiler?: boolean }} options needsPrograms:
 * also what only Debian provides; and with it needsTools: other users of tokens, needsCompiler: what compiles C.
 * @returns {Promise<string>} The Node of the lock file.
 */
export async function bootstrap({ root, needsPrograms, needsTools = false, needsCompiler = false }) {
  if (platform !== 'linux' || !['x64', 'arm64'].includes(arch)) {
    throw new BootstrapError(`This project runs on Linux on x64 and arm64; this is ${platform} on ${arch}.`);
  }
  const node = join(root, 'node_modules', `node-linux-${arch}`, 'bin', 'node');
  await installNpmPackages({ root, isComplete: () => isExecutable(node) });
  if (needsPrograms) await installDebianPrograms({ root, needsTools, needsCompiler });
  return node;
}
