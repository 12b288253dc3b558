/** A token as Java programs see it: the key store of SunPKCS11, opened with the PIN (Java 17). */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SOFTHSM_MODULE, type TestToken, USER_PIN } from './tokens.ts';

/** The aliases of all entries. @throws what `keytool` prints, where the key store does not open */
export function javaAliases({ folder, label, environment }: TestToken): string[] {
  const config = join(folder, `${label}-java.cfg`);
  const env = { ...process.env, ...environment };
  const slots = execFileSync('pkcs11-tool', ['--module', SOFTHSM_MODULE, '--list-slots'], { env, stdio: 'pipe' });
  const slot = [...slots.toString().matchAll(/^Slot (\d+)[\s\S]*?token label +: (.*)$/gm)]
    .find(([, , found]) => found?.trim() === label)
    ?.at(1);
  writeFileSync(config, `name = test\nlibrary = ${SOFTHSM_MODULE}\nslotListIndex = ${slot}\n`);
  const listed = execFileSync(
    'keytool',
    [
      ...['-list', '-keystore', 'NONE', '-storetype', 'PKCS11', '-storepass', USER_PIN],
      ...['-addprovider', 'SunPKCS11', '-providerarg', config],
    ],
    { env, stdio: 'pipe' },
  );
  return [...listed.toString().matchAll(/^(.+), (?:SecretKeyEntry|PrivateKeyEntry|trustedCertEntry)/gm)].map(
    ([, alias]) => alias!.trim(),
  );
}
