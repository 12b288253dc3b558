/**
 * The emulated Luna devices of the demonstration: partitions of Network HSMs and a Backup HSM. The emulator is a program
 * of the tests, and is started as `lunacm` is. Behind each partition is a SoftHSM token, so that its keys are real ones.
 */
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { AntipodeError } from '@antipode/runtime';
import { type DemoToken, demoToken, makeDemoToken, newPin, runTool } from '../token.ts';

/** Among the sources. The package does not have it. */
const EMULATOR = fileURLToPath(new URL('../../../../test/emulators/lunacm/', import.meta.url));

/** As `slot list` of lunacm shows a device. */
export interface Slot {
  readonly serial: string;
  readonly label: string;
}

export interface EmulatedPartition extends Slot {
  readonly token: DemoToken;
}

/** A command that was typed into lunacm, and the device of its slot. */
export interface Typed {
  readonly command: string;
  readonly serial: string;
}

interface DevicesPlan {
  /** For the state of the devices. */
  readonly folder: string;
  /** The token of each partition gets the folder that is named. */
  readonly partitions: readonly (Slot & { readonly folder: string })[];
  readonly vault: Slot & { readonly password: string };
  /** Of the programs of the emulator. */
  readonly emulator?: string;
}

export class EmulatedDevices {
  /** Of the configuration of the client (`Chrystoki.conf`). */
  readonly folder: string;
  readonly lunacm: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly #emulator: string;
  readonly #partitions = new Map<string, EmulatedPartition>();

  /** @throws PROGRAM_MISSING where the emulator is not there */
  constructor({ folder, partitions, vault, emulator = EMULATOR }: DevicesPlan) {
    if (!existsSync(join(emulator, 'lunacm')))
      throw new AntipodeError('PROGRAM_MISSING', `the emulator of lunacm is not there: expected ${emulator}`, {
        details: { program: 'lunacm' },
        hint: 'The package of Antipode does not have it. Run `npm run demo -- --luna` in the sources.',
      });
    this.folder = folder;
    this.#emulator = emulator;
    this.lunacm = join(emulator, 'lunacm');
    this.environment = {
      LUNACM_EMULATOR_NODE: process.execPath,
      NODE_NO_WARNINGS: '1',
      // A job starts it some ten times.
      NODE_COMPILE_CACHE: join(folder, 'compiled'),
    };
    mkdirSync(folder, { recursive: true });
    this.#make(partitions, vault);
  }

  /** Partitions of one cloning domain: their tokens have the token key of one that is removed again. */
  #make(partitions: DevicesPlan['partitions'], vault: DevicesPlan['vault']): void {
    const domain = { folder: join(this.folder, 'domain'), label: 'domain' };
    const first = makeDemoToken(domain);
    const made = partitions.map(({ serial, label, folder }) => {
      const pin = newPin();
      this.#partitions.set(serial, { serial, label, token: demoToken({ folder, label, pin }) });
      return { serial, label, folder, password: pin };
    });
    const plan = {
      domain: { tokens: join(domain.folder, 'tokens'), pin: readFileSync(first.pinFile, 'utf8').trim() },
      partitions: made,
      vault,
    };
    this.#run('make', [], JSON.stringify(plan));
    rmSync(domain.folder, { recursive: true });
  }

  partition(serial: string): EmulatedPartition {
    const found = this.#partitions.get(serial);
    if (found === undefined) throw new AntipodeError('NOT_FOUND', `no partition has the serial number ${serial}`);
    return found;
  }

  /** Whether lunacm reaches these devices from now on. Programs with PKCS#11 at their site go on. */
  setReachable(isReachable: boolean, ...devices: readonly Slot[]): void {
    this.#run('reach', [isReachable ? 'yes' : 'no', ...devices.map(({ serial }) => serial)]);
  }

  /** Every command that was typed into lunacm, in order, by the log of the emulator. */
  get typed(): readonly Typed[] {
    return JSON.parse(this.#run('typed', []).toString()) as Typed[];
  }

  #run(verb: string, words: readonly string[], input?: string): Buffer {
    const args = [join(this.#emulator, 'machine-room.ts'), verb, this.folder, ...words];
    const env = { ...process.env, ...this.environment };
    return runTool(process.execPath, {
      what: `machine-room ${verb}`,
      args,
      env,
      ...(input === undefined ? {} : { input }),
    });
  }
}
