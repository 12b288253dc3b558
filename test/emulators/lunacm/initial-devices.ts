/** Devices at their beginning: partitions of Network HSMs and a Backup HSM. */
import { type Devices, hashOf, type PartitionRecord, type RoleRecord } from './devices.ts';

export const VAULT = { serial: '532018', label: 'vault' };
export const SOURCE = { serial: '154438865287', label: 'par0' };
export const TARGET = { serial: '154438865301', label: 'scratch' };

interface NewPartition {
  readonly serial: string;
  readonly label: string;
  /** Of the crypto officer; of a vault, of its security officer. */
  readonly password: string;
}

/** Those of a site of a test. */
export function initialDevices({
  passwords,
  isPed,
}: {
  passwords: Readonly<Record<'source' | 'target' | 'vault', string>>;
  isPed: boolean;
}): Devices {
  return newDevices({
    partitions: [
      { ...SOURCE, password: passwords.source },
      { ...TARGET, password: passwords.target },
    ],
    vault: { ...VAULT, password: passwords.vault },
    isPed,
  });
}

/** Partitions of one cloning domain, in the slots from 0 on, and a Backup HSM in slot 101. */
export function newDevices({
  partitions,
  vault,
  isPed,
}: {
  partitions: readonly NewPartition[];
  vault: NewPartition;
  isPed: boolean;
}): Devices {
  const role = (password: string, limit: number, isInitialised = true): RoleRecord => ({
    ...{ hash: hashOf(password), failures: 0, limit, shows: 'left', isInitialised },
    ...{ isExpired: false, isPed, isActivated: false },
  });
  const part = ({ password, serial, label }: NewPartition): PartitionRecord => ({
    ...{ serial, label },
    ...{ model: 'LunaSA 7.7.1', firmware: '7.7.1', description: 'Net Token Slot', kind: 'application' },
    configuration: 'Luna User Partition With SO (PW) Key Export With Cloning Mode',
    ...{ domain: 'one', version: 'V0', policies: { 0: 1, 1: 0, 4: 1, 22: 1, 42: 0 }, maskingKey: 'a1'.repeat(12) },
    ...{ totalBytes: 1_000_000, isZeroized: false, isInTransport: false, isReachable: true, keepsUid: true },
    ...{ fips: 'off', archives: [] },
    roles: { co: role(password, 10), cu: role('', 10, false), po: role('', 10, false), so: role('', 3, false) },
  });
  const backup: PartitionRecord = {
    ...part({ ...vault, password: '' }),
    ...{ model: 'Luna G7', firmware: '7.7.1', description: 'Admin Token Slot', kind: 'vault' },
    configuration: 'Luna HSM Admin Partition (PW)',
    ...{ policies: { 55: 0 }, totalBytes: 2_000_000 },
    roles: {
      ...{ co: role('', 10, false), cu: role('', 10, false), po: role('', 10, false) },
      so: role(vault.password, 3),
    },
  };
  return {
    partitions: [...partitions.map(part), backup],
    slots: [...partitions.map(({ serial }, slot) => ({ slot, serial })), { slot: 101, serial: vault.serial }],
    runs: {},
  };
}
