/** A Backup HSM in memory, with the records of its site. It makes backups that count objects, and restores none. */
import type { SimulatedMember } from '@antipode/hsm-core/testing';
import type { Clock } from '@antipode/runtime';
import { backedUp, type RecordedBackup, type Vault } from '../vaults/vault.ts';

/** A vault for the member partition of a site. */
export function simulatedVault(serial: string, { member, clock }: { member: SimulatedMember; clock: Clock }): Vault {
  const records: RecordedBackup[] = [];
  const complete = () => records.filter(({ state }) => state === 'complete');
  const keepBackups = async ({ keep, about }: { keep: number; about: string }) => {
    const name = `${serial}-${records.length + 1}`;
    const { size: objects } = new Set(member.hsm.contents());
    await clock.sleep(BACKUP_MS);
    records.unshift({ name, atMs: clock.wallMs(), state: 'complete', objects, of: backedUp(about) });
    const expired = complete().slice(keep);
    for (const one of expired) records.splice(records.indexOf(one), 1);
    const moved = Array.from({ length: objects }, () => ({ state: 'moved' }));
    return { name, backup: { verdict: 'complete', code: '', objects: moved }, deleted: expired.map((one) => one.name) };
  };
  const vault: Pick<Vault, 'address' | 'source' | 'scratch' | 'backups' | 'knownBackups'> & Record<string, unknown> = {
    settings: { name: serial, serial, partition: { name: member.serial, serial: member.serial }, keep: 1 },
    address: { serial, label: serial },
    source: { serial: member.serial, label: member.serial },
    scratch: undefined,
    backups: () => [...records],
    knownBackups: () => [...records],
    keepManifest: () => {},
    forgetManifests: () => {},
    withPasswords: <T>(work: (access: object) => Promise<T>) => work({}),
    driver: { keepBackups },
  };
  return vault as unknown as Vault;
}

const BACKUP_MS = 200;
