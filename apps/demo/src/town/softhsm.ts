/** Where SoftHSM is, and where it keeps its tokens. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AntipodeError } from '@antipode/runtime';

const MODULES = [
  '/usr/lib/softhsm/libsofthsm2.so',
  '/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so',
  '/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so',
  '/usr/local/lib/softhsm/libsofthsm2.so',
];

export function softhsmModule(): string {
  const found = MODULES.find((path) => existsSync(path));
  if (found === undefined)
    throw new AntipodeError('PROGRAM_MISSING', 'SoftHSM is not installed (Debian package softhsm2)', {
      details: { program: 'softhsm2' },
    });
  return found;
}

export interface SoftHsmEnvironment {
  readonly [name: string]: string;
  readonly SOFTHSM2_CONF: string;
}

/** A folder for tokens, with the configuration that lays them there. One that is there stays as it is. */
export function softhsmFolder(folder: string): SoftHsmEnvironment {
  const [configFile, tokens] = [join(folder, 'softhsm2.conf'), join(folder, 'tokens')];
  if (!existsSync(configFile)) {
    mkdirSync(tokens, { recursive: true, mode: 0o700 });
    writeFileSync(configFile, `directories.tokendir = ${tokens}\nobjectstore.backend = file\nlog.level = ERROR\n`);
  }
  return { SOFTHSM2_CONF: configFile };
}
