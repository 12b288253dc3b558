/**
 * The devices of the three sites: a partition of a Network HSM at a and another one at b, beside a Backup HSM and a
 * scratch partition for its drills. Site c is a witness without an HSM.
 */
import { randomBytes } from 'node:crypto';
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SiteName, SiteTokens } from '../places.ts';
import { type Source, withLuna } from './agent-sections.ts';
import { EmulatedDevices } from './emulated-devices.ts';

export const AT_A = { serial: '154438865287', label: 'payments-a' } as const;
export const AT_B = { serial: '154438865301', label: 'payments-b' } as const;
export const SCRATCH = { serial: '154438865302', label: 'drills' } as const;
export const VAULT = { serial: '532018', label: 'vault' } as const;

interface Place {
  readonly root: string;
  readonly folderOf: (site: SiteName) => string;
}

export interface LunaSites {
  readonly devices: EmulatedDevices;
  readonly tokens: Record<SiteName, SiteTokens>;
}

/** @throws PROGRAM_MISSING */
export function makeLunaSites({ root, folderOf }: Place): LunaSites {
  const [a, b] = [folderOf('a'), folderOf('b')];
  const password = (name: string): { file: string; text: string } => {
    const [file, text] = [join(b, `${name}.pin`), randomBytes(12).toString('hex')];
    writeFileSync(file, `${text}\n`, { mode: 0o600 });
    return { file, text };
  };
  const [officer, backup] = [password('vault'), password('backup')];
  const devices = new EmulatedDevices({
    folder: join(root, 'luna'),
    partitions: [
      { ...AT_A, folder: join(a, 'hsm') },
      { ...AT_B, folder: join(b, 'hsm') },
      { ...SCRATCH, folder: join(b, 'scratch-hsm') },
    ],
    vault: { ...VAULT, password: officer.text },
  });
  const [atA, atB, scratch] = [AT_A, AT_B, SCRATCH].map(({ serial }) => devices.partition(serial)) as [
    ReturnType<EmulatedDevices['partition']>,
    ReturnType<EmulatedDevices['partition']>,
    ReturnType<EmulatedDevices['partition']>,
  ];
  /** Each site has the password of the other partition in a file of its own. */
  const seenFrom = (folder: string, { serial, label, token }: typeof atA): Source => {
    const pinFile = join(folder, `${label}.pin`);
    copyFileSync(token.pinFile, pinFile);
    return { serial, label, pinFile };
  };
  const vault = {
    ...VAULT,
    ...{ officerPasswordFile: officer.file, backupPasswordFile: backup.file, partition: AT_B, scratch },
  };
  return {
    devices,
    tokens: {
      a: { token: atA.token, configured: (yaml) => withLuna(yaml, { devices, sources: [seenFrom(a, atB)] }) },
      b: { token: atB.token, configured: (yaml) => withLuna(yaml, { devices, sources: [seenFrom(b, atA)], vault }) },
      c: {},
    },
  };
}
