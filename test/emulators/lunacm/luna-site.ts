/**
 * The devices of one test: two partitions of a Network HSM, one for drills, and a Backup HSM, with the driver in front of
 * the emulated tool. Passwords are new ones in each, so that a search for them finds nothing else.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type ArchiveSource,
  DEFAULT_PROFILE,
  type DriverProfile,
  type JobPorts,
  Launcher,
  LunaDriver,
  type PartitionAccess,
  readClientSettings,
  readPhrases,
  TranscriptFolder,
} from '@antipode/hsm-core/luna';
import { type Clock, Secret } from '@antipode/runtime';
import { FakeClock } from '@antipode/runtime/testing';
import { DeviceFile, hashOf, type PartitionRecord, type RoleName, type RoleRecord } from './devices.ts';
import type { Fault } from './faults.ts';
import { InProcessLauncher } from './in-process.ts';
import { initialDevices, SOURCE, TARGET, VAULT } from './initial-devices.ts';
import { archiveOf, ObjectRecords, type ObjectStore, type StoredObject } from './objects.ts';
import { PartitionUser } from './partition-user.ts';
import type { EmulatorSettings } from './run.ts';
import { TokenObjects } from './token-objects.ts';

export interface LogLine {
  readonly slot: number | undefined;
  readonly serial: string | undefined;
  readonly typed?: string;
  readonly command?: string;
  readonly answer?: string;
  /** A command that waits for ever now, by a fault. */
  readonly hangs?: string;
}

export interface LunaSiteOptions {
  readonly settings?: Partial<EmulatorSettings>;
  readonly profile?: Partial<DriverProfile>;
  /** Real processes under this clock; in this process under a clock of its own if absent. */
  readonly clock?: Clock;
  /** `ped`: roles are served by people, who are there at once. No password is hashed for a record, which takes long. */
  readonly logins?: 'password' | 'ped';
  /** Its partitions are tokens that programs use: `users` are those programs. */
  readonly tokens?: boolean;
  /** Of `Chrystoki.conf`. */
  readonly configuration?: string;
}

const PHRASES = readPhrases();

export class LunaSite {
  readonly folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'antipode-luna-'));
  readonly devices = new DeviceFile(this.folder);
  readonly objects: ObjectStore;
  readonly users: { readonly source: PartitionUser; readonly target: PartitionUser } | undefined;
  readonly fakeClock = new FakeClock();
  readonly passwords = Object.fromEntries(
    (['source', 'target', 'vault', 'backup', 'domain', 'wrong'] as const).map((whose) => [whose, newPassword(whose)]),
  ) as Record<'source' | 'target' | 'vault' | 'backup' | 'domain' | 'wrong', string>;
  readonly #options: LunaSiteOptions;
  #life = { isOver: false };
  readonly pedEvents: { readonly job: string; readonly atMs: number }[] = [];
  readonly launcher: InProcessLauncher;
  driver: LunaDriver;

  constructor(options: LunaSiteOptions = {}) {
    this.#options = options;
    writeFileSync(join(this.folder, 'Chrystoki.conf'), options.configuration ?? CONFIGURATION);
    this.set(options.settings ?? {});
    this.devices.write(initialDevices({ passwords: this.passwords, isPed: options.logins === 'ped' }));
    this.users = options.tokens === true ? this.#tokens() : undefined;
    this.objects = this.users === undefined ? new ObjectRecords(this.folder) : new TokenObjects(this.folder);
    this.launcher = new InProcessLauncher({ folder: this.folder, clock: this.fakeClock });
    this.driver = this.newDriver();
  }

  #tokens(): { source: PartitionUser; target: PartitionUser } {
    const source = PartitionUser.first(this.folder, { ...SOURCE, pin: this.passwords.source });
    return { source, target: source.inDomain(this.folder, { ...TARGET, pin: this.passwords.target }) };
  }

  get ports(): JobPorts {
    const { clock, profile } = this.#options;
    const transcripts = new TranscriptFolder({ folder: join(this.folder, 'transcripts'), clock: this.fakeClock });
    return {
      launcher: clock === undefined ? this.launcher : this.#realLauncher(),
      clock: clock ?? this.#clockOf(this.#life),
      phrases: PHRASES,
      settings: readClientSettings(this.folder),
      profile: { ...DEFAULT_PROFILE, ...profile },
      stateFolder: join(this.folder, 'login'),
      lockFolder: join(this.folder, 'locks'),
      transcripts,
      onPed: ({ job }) => this.pedEvents.push({ job, atMs: this.fakeClock.monotonicMs() }),
    };
  }

  /** A driver that was killed waits for ever. */
  #clockOf(life: { isOver: boolean }): Clock {
    const { fakeClock } = this;
    return {
      wallMs: () => fakeClock.wallMs(),
      monotonicMs: () => fakeClock.monotonicMs(),
      isSliceOver: () => fakeClock.isSliceOver(),
      makeWay: () => fakeClock.makeWay(),
      sleep: async (ms, signal) => {
        await fakeClock.sleep(ms, signal);
        if (life.isOver) await new Promise<never>(() => {});
      },
    };
  }

  #realLauncher(): Launcher {
    return new Launcher({
      program: join(import.meta.dirname, 'lunacm'),
      configuration: this.folder,
      jobs: join(this.folder, 'jobs'),
      environment: { LUNACM_EMULATOR_NODE: process.execPath, NODE_NO_WARNINGS: '1' },
    });
  }

  /** As an agent that starts again has it. */
  newDriver(): LunaDriver {
    return new LunaDriver(this.ports);
  }

  useDriver(ports: JobPorts): void {
    this.driver = new LunaDriver(ports);
  }

  get source(): PartitionAccess & { password: Secret } {
    return { address: SOURCE, login: { role: 'co', password: this.#login('source') }, password: this.secret('source') };
  }

  get target(): PartitionAccess & { password: Secret } {
    return { address: TARGET, login: { role: 'co', password: this.#login('target') }, password: this.secret('target') };
  }

  get vault(): PartitionAccess {
    return { address: VAULT, login: { role: 'so', password: this.#login('vault') } };
  }

  #login(whose: 'source' | 'target' | 'vault'): Secret | 'ped' {
    return this.#options.logins === 'ped' ? 'ped' : this.secret(whose);
  }

  /** The Backup HSM as it leaves its maker. */
  makeFactoryVault({ isInTransport = false }: { isInTransport?: boolean } = {}): void {
    this.replace(VAULT.serial, { label: '', domain: '', isZeroized: true, isInTransport, policies: { 55: 0 } });
    this.replaceRole(VAULT.serial, 'so', { hash: '', isInitialised: false });
    this.change(VAULT.serial, ({ archives }) => void archives.splice(0));
    const domain = hashOf(this.passwords.domain);
    for (const { serial } of [SOURCE, TARGET]) this.replace(serial, { domain });
  }

  partition(serial: string): PartitionRecord {
    return this.devices.read().partitions.find((one) => one.serial === serial)!;
  }

  /** As a kernel does with a driver that was killed: its tool ends, and so do its locks. */
  killDriver(): void {
    this.launcher.killAll();
    this.#life.isOver = true;
    this.#life = { isOver: false };
    rmSync(join(this.folder, 'locks'), { recursive: true, force: true });
    rmSync(join(this.folder, 'devices.lock'), { recursive: true, force: true });
    this.driver = this.newDriver();
  }

  archive(partition: string): ArchiveSource {
    return { vault: VAULT, partition, password: this.secret('backup') };
  }

  secret(whose: keyof LunaSite['passwords']): Secret {
    return new Secret(Buffer.from(this.passwords[whose]));
  }

  set(settings: Partial<EmulatorSettings>): void {
    writeFileSync(join(this.folder, 'emulator.json'), JSON.stringify(settings));
  }

  fault(...faults: readonly Fault[]): void {
    writeFileSync(join(this.folder, 'faults.json'), JSON.stringify(faults));
  }

  change(serial: string, work: (partition: PartitionRecord) => void): void {
    this.devices.change(({ partitions }) => work(partitions.find((one) => one.serial === serial)!));
  }

  /** Members of a record are readonly for the emulator, not for a test. */
  replace(serial: string, fields: Partial<PartitionRecord>): void {
    this.change(serial, (partition) => void Object.assign(partition, fields));
  }

  replaceRole(serial: string, name: RoleName, fields: Partial<RoleRecord>): void {
    this.change(serial, ({ roles }) => void Object.assign(roles[name], fields));
  }

  addKeys(count: number, container = SOURCE.serial): StoredObject[] {
    return Array.from({ length: count }, (_, at) =>
      this.objects.make(container, {
        label: `key ${at}`,
        type: at % 2 === 0 ? 'Private Key' : 'Public Key',
        bytes: 400,
      }),
    );
  }

  addKey(label: string, container = SOURCE.serial): StoredObject {
    return this.objects.make(container, { label, type: 'Symmetric Key', bytes: 100 });
  }

  archived(name: string): StoredObject[] {
    return this.objects.list(archiveOf(VAULT.serial, name));
  }

  /** Everything that was typed, in order. */
  get log(): LogLine[] {
    const path = join(this.folder, 'log.jsonl');
    if (!existsSync(path)) return [];
    return readFileSync(path, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as LogLine);
  }

  /** The names of all texts that were printed so far, and of all commands that were typed. */
  get used(): { texts: Set<string>; commands: Set<string> } {
    const lines = readFileSync(join(this.folder, 'texts.jsonl'), 'utf8').split('\n').filter(Boolean);
    const runs = lines.map((line) => JSON.parse(line) as { keys: string[]; commands: string[] });
    return {
      texts: new Set(runs.flatMap(({ keys }) => keys)),
      commands: new Set(runs.flatMap(({ commands }) => commands)),
    };
  }

  /** The arguments of each process of the tool. */
  get argv(): string[][] {
    return this.#starts().map(({ words }) => words);
  }

  /** The mode of each file of commands, while the tool read it. */
  get modes(): number[] {
    return this.#starts().flatMap(({ mode }) => (mode === undefined ? [] : [mode]));
  }

  #starts(): { words: string[]; mode?: number }[] {
    const path = join(this.folder, 'argv.jsonl');
    if (!existsSync(path)) return [];
    const lines = readFileSync(path, 'utf8').split('\n').filter(Boolean);
    return lines.map((line) => JSON.parse(line) as { words: string[]; mode?: number });
  }

  /** Processes that run with the folder of this site in their environment. */
  processes(): string[] {
    return readdirSync('/proc').filter((name) => {
      try {
        return /^\d+$/.test(name) && readFileSync(`/proc/${name}/environ`, 'utf8').includes(this.folder);
      } catch {
        // It has ended, or belongs to another user.
        return false;
      }
    });
  }

  /** Files that hold one of the passwords. */
  get filesWithPasswords(): string[] {
    return filesIn(this.folder).filter((path) => {
      const contents = readFileSync(path);
      return Object.values(this.passwords).some((password) => contents.includes(password));
    });
  }

  /** Runs a job to its end, whatever time it takes. */
  async finish<T>(job: Promise<T>): Promise<T> {
    if (this.#options.clock !== undefined) return job;
    let isOver = false;
    const end = job.finally(() => {
      isOver = true;
    });
    end.catch(() => {});
    while (!isOver) await this.fakeClock.advance(STEP_MS);
    return end;
  }

  close(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Longer than no limit of the driver, so that events come in their order. */
const STEP_MS = 5_000;

const CONFIGURATION = `Chrystoki2 = {
   LibUNIX64 = /usr/safenet/lunaclient/lib/libCryptoki2_64.so;
}
Luna = {
   DefaultTimeOut = 500000;
   CloningCommandTimeOut = 300000;
   CommandTimeOutPedSet = 720000;
}
LunaSA Client = {
   ReceiveTimeout = 20000;
   ServerName00 = hsm-a.example.org;
   ServerName01 = hsm-b.example.org;
}
`;

let count = 0;

function newPassword(whose: string): string {
  count += 1;
  return `pw-${process.pid.toString(36)}${count.toString(36).padStart(3, '0')}-${whose}-Zq7`;
}

function filesIn(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? filesIn(path) : [path];
  });
}
