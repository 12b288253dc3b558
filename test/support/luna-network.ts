/**
 * Tokens of a system as partitions of emulated Luna devices: programs and agents use them through PKCS#11, and lunacm
 * copies objects among them. All clients see all partitions.
 */
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DEFAULT_PROFILE, type LunaCloning } from '@antipode/hsm-core/luna';
import { DeviceFile, type Devices, hashOf, type PartitionRecord } from '../emulators/lunacm/devices.ts';
import { initialDevices } from '../emulators/lunacm/initial-devices.ts';
import type { PairedToken } from './softhsm-pair.ts';

interface Partition extends PairedToken {
  readonly pin: string;
}

const LUNACM = join(import.meta.dirname, '../emulators/lunacm/lunacm');

const bare = (serial: string): string => serial.replace(/^0+(?=.)/, '');

/** A partition of a Network HSM as the emulator has it at its beginning. */
const [FRESH] = initialDevices({ passwords: { source: '', target: '', vault: '' }, isPed: false }).partitions;

export class LunaNetwork {
  readonly folder: string;
  readonly devices: DeviceFile;
  readonly #partitions: readonly Partition[];

  constructor(folder: string, partitions: readonly Partition[]) {
    this.folder = folder;
    this.#partitions = partitions;
    mkdirSync(join(folder, 'tokens'), { recursive: true });
    for (const { token, serial } of partitions) symlinkSync(token.folder, join(folder, 'tokens', bare(serial)));
    this.devices = new DeviceFile(folder);
    const records = partitions.map(({ token, serial, pin }): PartitionRecord => {
      const fresh = structuredClone(FRESH!);
      const co = { ...fresh.roles.co, hash: hashOf(pin) };
      return { ...fresh, serial: bare(serial), label: token.label, roles: { ...fresh.roles, co } };
    });
    const slots = records.map(({ serial }, slot) => ({ slot, serial }));
    this.devices.write({ partitions: records, slots, runs: {} } satisfies Devices);
    // An appliance that is away would be waited for.
    writeFileSync(join(folder, 'emulator.json'), JSON.stringify({ receiveMs: 0 }));
    writeFileSync(join(folder, 'log.jsonl'), '');
  }

  /** The section of agent.yaml for the client of a machine. */
  get clientSection(): string {
    const shared = `records: ${join(this.folder, 'records')}\n  locks: ${join(this.folder, 'locks')}`;
    const environment = `{ LUNACM_EMULATOR_NODE: ${process.execPath}, NODE_NO_WARNINGS: '1' }`;
    return `luna:\n  lunacm: ${LUNACM}\n  configuration: ${this.folder}\n  ${shared}\n  environment: ${environment}\n`;
  }

  /** The cloner of one partition, in a line of YAML. Every other one is a source. */
  nativeOf(own: string): string {
    const sources = this.#partitions
      .filter(({ serial }) => serial !== own)
      .map(
        ({ token, serial }) => `{ serial: '${bare(serial)}', label: ${token.label}, pinFile: ${token.config.pinFile} }`,
      );
    return `{ kind: luna, domain: payments, sources: [${sources.join(', ')}] }`;
  }

  /** The same for a provider. */
  cloningOf(own: string): LunaCloning {
    const others = this.#partitions.filter(({ serial }) => serial !== own);
    return {
      kind: 'luna',
      domain: 'payments',
      sources: others.map(({ token, serial }) => ({
        ...{ serial: bare(serial), label: token.label, pinFile: token.config.pinFile },
      })),
      client: {
        ...DEFAULT_PROFILE,
        lunacm: LUNACM,
        configuration: this.folder,
        records: join(this.folder, 'records'),
        locks: join(this.folder, 'locks'),
        folder: join(this.folder, own),
        environment: { LUNACM_EMULATOR_NODE: process.execPath, NODE_NO_WARNINGS: '1' },
      },
    };
  }

  change(serial: string, fields: Partial<PartitionRecord>): void {
    this.devices.change(({ partitions }) => {
      Object.assign(partitions.find((one) => one.serial === bare(serial))!, fields);
    });
  }

  /** Every command that was typed, in order. */
  get typed(): string[] {
    const lines = readFileSync(join(this.folder, 'log.jsonl'), 'utf8').split('\n').filter(Boolean);
    return lines.flatMap((line) => (JSON.parse(line) as { typed?: string }).typed ?? []);
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
