/** A token of SoftHSM behind p11-kit-proxy, by which programs of a desktop reach all modules of a machine at once. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeToken, SOFTHSM_MODULE, type TestToken } from '../tokens.ts';

function proxyModule(): string {
  const found = ['x86_64', 'aarch64']
    .map((machine) => `/usr/lib/${machine}-linux-gnu/p11-kit-proxy.so`)
    .find((path) => existsSync(path));
  if (found === undefined) throw new Error('p11-kit-proxy.so is not installed');
  return found;
}

/** The proxy shows the modules of a configuration in the token's own folder, and none of the machine's. */
export function makeProxiedToken(label: string): TestToken {
  const token = makeToken(label);
  const folder = join(token.folder, 'config', 'pkcs11');
  mkdirSync(join(folder, 'modules'), { recursive: true });
  writeFileSync(join(folder, 'pkcs11.conf'), 'user-config: only\n');
  writeFileSync(join(folder, 'modules', 'softhsm.module'), `module: ${SOFTHSM_MODULE}\n`);
  const environment = { ...token.environment, XDG_CONFIG_HOME: join(token.folder, 'config') };
  return { ...token, environment, config: { ...token.config, module: proxyModule(), environment } };
}
