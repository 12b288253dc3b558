/** Installs what is missing, says so before it does, and is silent and quick where nothing is. */

import { join } from 'node:path';
import { arch, platform } from 'node:process';
import { installDebianPrograms } from './debian-programs.js';
import { isExecutable } from './find-program.js';
import { installNpmPackages } from './npm-packages.js';
import { BootstrapError } from './say.js';

/**
 * @param {{ root: string, needs: readonly ('services' | 'java' | 'tests' | 'compiler')[] }} options
 *   needs: Debian packages, by use.
 * @returns {Promise<string>} The Node of the lock file.
 */
export async function bootstrap({ root, needs }) {
  if (platform !== 'linux' || !['x64', 'arm64'].includes(arch)) {
    throw new BootstrapError(`This project runs on Linux on x64 and arm64; this is ${platform} on ${arch}.`);
  }
  const node = join(root, 'node_modules', `node-linux-${arch}`, 'bin', 'node');
  await installNpmPackages({ root, isComplete: () => isExecutable(node) });
  await installDebianPrograms({ root, needs });
  return node;
}
