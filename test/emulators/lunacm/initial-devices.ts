/** The devices of a site at its beginning: two partitions of a Network HSM and a Backup HSM. */
import { type Devices, hashOf, type PartitionRecord, type RoleRecord } from './devices.ts';

export const VAULT = { serial: '532018', label: 'vault' };
export const SOURCE = { serial: '154438865287', label: 'par0' };
export const TARGET = { serial: '154438865301', label: 'scratch' };

export function initialDevices({
  passwords,
  isPed,
}: {
  passwords: Readonly<Record<'source' | 'target' | 'vault', string>>;
  isPed: boolean;
}): Devices {
  const role = (password: string, limit: number, isInitialised = true): RoleRecord => ({
    ...{ hash: hashOf(password), failures: 0, limit, shows: 'left', isInitialised },
    ...{ isExpired: false, isPed, isActivated: false },
  });
  const part = (address: { serial: string; label: string }, password: string): PartitionRecord => ({
    ...address,
    ...{ model: 'LunaSA 7.7.1', firmware: '7.7.1', description: 'Net Token Slot', kind: 'application' },
    configuration: 'Luna User Partition With SO (PW) Key Export With Cloning Mode',
    ...{ domain: 'one', version: 'V0', policies: { 0: 1, 1: 0, 4: 1, 22: 1, 42: 0 }, maskingKey: 'a1'.repeat(12) },
    ...{ totalBytes: 1_000_000, isZeroized: false, isInTransport: false, isReachable: true, keepsUid: true },
    ...{ fips: 'off', archives: [] },
    roles: { co: role(password, 10), cu: role('', 10, false), po: role('', 10, false), so: role('', 3, false) },
  });
  const vault: PartitionRecord = {
    ...part(VAULT, ''),
    ...{ model: 'Luna G7', firmware: '7.7.1', description: 'Admin Token Slot', kind: 'vault' },
    configuration: 'Luna HSM Admin Partition (PW)',
    ...{ policies: { 55: 0 }, totalBytes: 2_000_000 },
    roles: {
      ...{ co: role('', 10, false), cu: role('', 10, false), po: role('', 10, false) },
      so: role(passwords.vault, 3),
    },
  };
  return {
    partitions: [part(SOURCE, passwords.source), part(TARGET, passwords.target), vault],
    slots: [
      { slot: 0, serial: SOURCE.serial },
      { slot: 1, serial: TARGET.serial },
      { slot: 101, serial: VAULT.serial },
    ],
    runs: {},
  };
}
