/**
 * A Backup HSM on the emulator, behind a site of a test system. It is for the token of the site's partition, and has a
 * scratch partition of the same cloning domain. `lunacm` is a real process, and moves the objects
 * of the tokens.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DeviceFile, hashOf, type PartitionRecord } from '../emulators/lunacm/devices.ts';
import type { Fault } from '../emulators/lunacm/faults.ts';
import { initialDevices, SOURCE, TARGET, VAULT } from '../emulators/lunacm/initial-devices.ts';
import { tokensFolder } from '../emulators/lunacm/token-objects.ts';
import { CloningDomain, paired } from './softhsm-pair.ts';
import { makeToken, type TestToken, temporaryFolder } from './tokens.ts';

const PASSWORDS = { vault: 'vault-officer-Zq7', backup: 'of-each-backup-Zq7', scratch: '55443322' };

export const VAULT_SERIAL = VAULT.serial;

export class BackupHsm {
  readonly folder = temporaryFolder('luna');
  readonly scratch: TestToken = makeToken('vault-scratch', { pin: PASSWORDS.scratch });
  readonly devices = new DeviceFile(this.folder);
  readonly source: { readonly serial: string; readonly label: string };
  readonly scratchSerial: string;

  private constructor(token: TestToken, pin: string) {
    const [source, scratch] = [paired(token), paired(this.scratch)];
    this.source = { serial: source.serial, label: token.label };
    this.scratchSerial = scratch.serial;
    const devices = initialDevices({
      passwords: { source: pin, target: PASSWORDS.scratch, vault: PASSWORDS.vault },
      isPed: false,
    });
    const rename = (serial: string, fields: { serial: string; label: string }): void =>
      void Object.assign(devices.partitions.find((one) => one.serial === serial)!, fields);
    rename(SOURCE.serial, this.source);
    rename(TARGET.serial, { serial: scratch.serial, label: this.scratch.label });
    const slots = devices.slots.map(({ slot, serial }) => ({
      slot,
      serial: serial === SOURCE.serial ? source.serial : serial === TARGET.serial ? scratch.serial : serial,
    }));
    this.devices.write({ ...devices, slots });
    // A partition that is away costs the tool so long at each start: 20 s at a site, half a second here.
    writeFileSync(join(this.folder, 'Chrystoki.conf'), 'Chrystoki2 = {\n}\n');
    writeFileSync(join(this.folder, 'emulator.json'), JSON.stringify({ receiveMs: 500 }));
    for (const one of [source, scratch]) {
      mkdirSync(join(tokensFolder(this.folder), one.serial), { recursive: true });
      symlinkSync(join(one.token.folder, 'tokens'), join(tokensFolder(this.folder), one.serial, 'tokens'));
    }
    for (const name of ['vault', 'backup'] as const) this.#password(name, PASSWORDS[name]);
  }

  static async for(token: TestToken, pin: string): Promise<BackupHsm> {
    const made = new BackupHsm(token, pin);
    await new CloningDomain(paired(token)).join(paired(made.scratch));
    return made;
  }

  #password(name: string, password: string): void {
    writeFileSync(join(this.folder, `${name}.pin`), `${password}\n`, { mode: 0o600 });
  }

  /** For agent.yaml of the site, whose partition has this name. */
  section({ partition, keep = 2 }: { partition: string; keep?: number }): string {
    const vaults = [
      {
        name: 'vault',
        ...VAULT,
        officerPasswordFile: join(this.folder, 'vault.pin'),
        backupPasswordFile: join(this.folder, 'backup.pin'),
        partition: { name: partition, ...this.source },
        scratch: {
          serial: this.scratchSerial,
          label: this.scratch.label,
          pinFile: this.scratch.config.pinFile,
          environment: this.scratch.environment,
        },
        keep,
      },
    ];
    const luna = {
      lunacm: join(import.meta.dirname, '../emulators/lunacm/lunacm'),
      configuration: this.folder,
      environment: {
        LUNACM_EMULATOR_NODE: process.execPath,
        NODE_NO_WARNINGS: '1',
        // A job starts it some ten times.
        NODE_COMPILE_CACHE: join(this.folder, 'compiled'),
      },
    };
    return `\nluna: ${JSON.stringify(luna)}\nvaults: ${JSON.stringify(vaults)}\n`;
  }

  partition(serial: string): PartitionRecord {
    return this.devices.read().partitions.find((one) => one.serial === serial)!;
  }

  /** Plugged in or not. */
  setReachable(serial: string, isReachable: boolean): void {
    this.devices.change(({ partitions }) => {
      Object.assign(partitions.find((one) => one.serial === serial)!, { isReachable });
    });
  }

  fault(...faults: readonly Fault[]): void {
    writeFileSync(join(this.folder, 'faults.json'), JSON.stringify(faults));
  }

  /** The names of the backups in the vault. */
  get backups(): string[] {
    return this.partition(VAULT_SERIAL).archives.map(({ name }) => name);
  }

  /** A backup of somebody else. */
  addForeign(name: string): void {
    this.devices.change(({ partitions }) => {
      const vault = partitions.find(({ serial }) => serial === VAULT_SERIAL)!;
      vault.archives.push({ name, hash: hashOf('theirs'), domain: 'one', totalBytes: 256 });
    });
  }

  /** Every command that was typed, in order, with the serial number of the slot it was typed at. */
  get typed(): { readonly command: string; readonly serial: string }[] {
    const path = join(this.folder, 'log.jsonl');
    if (!existsSync(path)) return [];
    const lines = readFileSync(path, 'utf8').split('\n').filter(Boolean);
    return lines
      .map((line) => JSON.parse(line) as { command?: string; serial?: string })
      .flatMap(({ command, serial = '' }) => (command === undefined ? [] : [{ command, serial }]));
  }

  remove(): void {
    this.scratch.remove();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
