/** Real NSS softokn databases on tmpfs, one folder each. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PROTECTIONS } from '@antipode/hsm-core';
import { type AnyToken, temporaryFolder, USER_PIN } from '../tokens.ts';

/** Debian's libnss3. Releases differ in the folder. */
export function nssModule(): string {
  const found = ['x86_64', 'aarch64']
    .flatMap((machine) => [`/usr/lib/${machine}-linux-gnu`, `/usr/lib/${machine}-linux-gnu/nss`])
    .map((folder) => join(folder, 'libsoftokn3.so'))
    .find((path) => existsSync(path));
  if (found === undefined) throw new Error('libsoftokn3.so is not installed');
  return found;
}

/** What NSS softokn 3.87 does not keep (docs/devices/nss-softokn.md). */
export const NSS_UNENFORCED = PROTECTIONS.filter((protection) =>
  ['extractable', 'derive', 'copyable', 'allowed-mechanisms', 'unwrap-template'].includes(protection),
);

/** NSS in FIPS mode wants seven characters of three kinds. */
const FIPS_PIN = 'Sealed.by.7.tests';

/** The entry points of FIPS mode are others, and so is the name of the label in the parameters. */
export function makeFipsToken(label: string): AnyToken {
  const token = makeNssToken(label, FIPS_PIN);
  const { moduleParameters } = token.config;
  return {
    ...token,
    config: {
      ...token.config,
      functionPrefix: 'FC',
      moduleParameters: moduleParameters!.replace('dbTokenDescription=', 'FIPSTokenDescription='),
    },
  };
}

export function makeNssToken(label: string, pin = USER_PIN): AnyToken {
  const folder = temporaryFolder(label);
  const pinFile = join(folder, `${label}.pin`);
  writeFileSync(pinFile, `${pin}\n`, { mode: 0o600 });
  execFileSync('certutil', ['-N', '-d', `sql:${folder}`, '-f', pinFile], { stdio: 'pipe' });
  return {
    folder,
    label,
    config: {
      module: nssModule(),
      moduleParameters: `configdir='sql:${folder}' certPrefix='' keyPrefix='' secmod='secmod.db' flags=noModDB dbTokenDescription='${label}'`,
      tokenLabel: label,
      serial: randomBytes(8).toString('hex'),
      pinFile,
      stateFolder: join(folder, 'state'),
      acceptUnenforced: NSS_UNENFORCED,
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
