/** The devices behind the tool: a file that outlives every run of it, changed under a lock, and never holding a password. */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export type RoleName = 'co' | 'cu' | 'po' | 'so';

export interface RoleRecord {
  hash: string;
  failures: number;
  readonly limit: number;
  /** What `role show` prints: what is left, or always the limit. */
  readonly shows: 'left' | 'limit';
  isInitialised: boolean;
  isExpired: boolean;
  readonly isPed: boolean;
  readonly isActivated: boolean;
}

export interface ArchiveRecord {
  readonly name: string;
  readonly hash: string;
  readonly domain: string;
  totalBytes: number;
}

export interface PartitionRecord {
  readonly serial: string;
  label: string;
  readonly model: string;
  readonly firmware: string;
  readonly configuration: string;
  readonly description: string;
  /** A Backup HSM shows the partition of its administration. */
  readonly kind: 'application' | 'vault';
  /** Equal for partitions of one cloning domain. Of a domain that was typed, a hash. */
  domain: string;
  /** Partitions of firmware 7.7 and later stop at the first object that fails. */
  readonly version: 'old' | 'V0' | 'V1';
  readonly policies: Record<string, number>;
  maskingKey: string;
  readonly totalBytes: number;
  readonly roles: Record<RoleName, RoleRecord>;
  isZeroized: boolean;
  isInTransport: boolean;
  /** The string that was sent with a device in transport mode. A login that failed since then changes the other one. */
  readonly transportRandom?: string;
  transportFailures?: number;
  readonly isReachable: boolean;
  /** Whether a copy of an object keeps its UID. */
  readonly keepsUid: boolean;
  readonly fips: 'on' | 'off' | 'not said';
  /** How far its clock is from that of the host; not shown if absent. */
  readonly clockSeconds?: number;
  /** Whether functionality modules are on; not shown if absent. */
  readonly fm?: 'FM Ready' | 'Non-FM';
  readonly archives: ArchiveRecord[];
}

export interface Devices {
  partitions: PartitionRecord[];
  /** Serial numbers in the order of their slots, with the number of each. */
  slots: { readonly slot: number; readonly serial: string }[];
  /** Of the client, which alone knows them. */
  groups?: { readonly label: string; readonly slot: number; readonly serials: readonly string[] }[];
  /** How often each command was run, for faults at one of its runs. */
  runs: Record<string, number>;
}

export const hashOf = (password: string): string => createHash('sha256').update(`lunacm ${password}`).digest('hex');

const FILE = 'devices.json';

export class DeviceFile {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  read(): Devices {
    return JSON.parse(readFileSync(join(this.#folder, FILE), 'utf8')) as Devices;
  }

  write(devices: Devices): void {
    const path = join(this.#folder, FILE);
    writeFileSync(`${path}.new`, JSON.stringify(devices, null, 1));
    renameSync(`${path}.new`, path);
  }

  /** Another run of the tool never sees half of a change. */
  change<T>(work: (devices: Devices) => T): T {
    const lock = join(this.#folder, 'devices.lock');
    for (let turns = 0; ; turns += 1) {
      try {
        mkdirSync(lock);
        break;
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code !== 'EEXIST' || turns > 5_000) throw cause;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
      }
    }
    try {
      const devices = this.read();
      const result = work(devices);
      this.write(devices);
      return result;
    } finally {
      rmdirSync(lock);
    }
  }
}
