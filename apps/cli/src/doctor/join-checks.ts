/** The checks of a machine that has just joined, before its agent starts. They log in nowhere. */
import { existsSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { ownersOf } from '@antipode/hsm-core';
import { AntipodeError, readPinFile } from '@antipode/runtime';
import { loadAgentConfig } from '@antipode/site-agent';
import { type Check, machineChecks, tlsChecks } from './checks.ts';
import { checkSwap, coordinatorChecks, type Finding, performAll } from './diagnosis.ts';

export const joinFindings = (file: string): Promise<Finding[]> =>
  performAll(
    'agent configuration',
    () => loadAgentConfig(file),
    (config) => [
      ...tlsChecks('agent', { kind: 'site', name: config.site, tls: config.tls, dataFolder: config.dataFolder }),
      ...machineChecks('agent', config),
      ...coordinatorChecks('of the agent', config),
      ['swap', () => checkSwap()],
      ...config.partitions.map(
        ({ name, pinFile }): Check => [`PIN file of ${name}`, () => checkPinFile(pinFile, dirname(file))],
      ),
    ],
  );

/** Where systemd puts what it has decrypted, while the service runs. */
const CREDENTIALS = '/run/credentials/';
const ENCRYPTED = '/etc/credstore.encrypted';

function checkPinFile(pinFile: string, folder: string): string {
  if (!pinFile.startsWith(CREDENTIALS)) {
    readPinFile(pinFile, { owners: ownersOf(folder) }).wipe();
    return 'ok';
  }
  const encrypted = join(ENCRYPTED, basename(pinFile));
  if (existsSync(encrypted)) return `${encrypted} is there`;
  throw new AntipodeError('PIN_FILE_UNREADABLE', `${encrypted} does not exist, from which systemd makes ${pinFile}`, {
    details: { path: encrypted },
    hint: `Run \`systemd-ask-password -n 'PIN: ' | systemd-creds encrypt --name=${basename(pinFile)} - ${encrypted}\`, and copy pin.conf as docs/install.md says.`,
  });
}
