/** One run of the emulated tool: what it knows while it runs, and how it prints. */
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DeviceFile, type PartitionRecord, type RoleName } from './devices.ts';
import { Dialect } from './dialect.ts';
import { type Fault, readFaults } from './faults.ts';
import { ObjectRecords, type ObjectStore } from './objects.ts';
import { Output, type Terminal } from './terminal.ts';
import { TokenObjects, tokensFolder } from './token-objects.ts';

export interface EmulatorSettings {
  readonly dialect: string;
  readonly buffering: 'line' | 'block' | 'byte';
  readonly echo?: boolean;
  readonly carriageReturns?: boolean;
  /** `terminal`: a password is asked for at the terminal, and refused where there is none. */
  readonly passwordPrompts: 'terminal' | 'input';
  /** Nobody has confirmed where failures are written. */
  readonly errorsTo: 'output' | 'error';
  /** After a wrong password that was asked for, it is asked for again. */
  readonly asksAgain: boolean;
  /** After the end of its input. */
  readonly atEnd: 'exit' | 'hang';
  readonly pedMs: number;
  /** A dead appliance is waited for as long as this. */
  readonly receiveMs: number;
  /** How long the end of transport mode takes. */
  readonly transportMs: number;
  /** Whether a change of a policy of the device is confirmed first, as those that destroy are. */
  readonly policyAsks: boolean;
  /** Of a move in which objects of an old partition failed. */
  readonly partialTrailer: 'failure' | 'ok';
}

export const DEFAULT_SETTINGS: EmulatorSettings = {
  dialect: '10.7',
  buffering: 'line',
  passwordPrompts: 'terminal',
  errorsTo: 'output',
  asksAgain: false,
  atEnd: 'exit',
  pedMs: 0,
  receiveMs: 20_000,
  transportMs: 0,
  policyAsks: false,
  partialTrailer: 'failure',
};

/** A refusal of the device: the name of a symbol in the dialect, or a symbol that a fault has asked for. */
export class Refused extends Error {
  readonly reason: string;

  constructor(reason: string) {
    super(reason);
    this.reason = reason;
  }
}

export class Run {
  readonly settings: EmulatorSettings;
  readonly dialect: Dialect;
  readonly devices: DeviceFile;
  readonly objects: ObjectStore;
  readonly output: Output;
  readonly terminal: Terminal;
  readonly #folder: string;
  readonly #faults: readonly Fault[];
  /** Logins end with the process: who is logged in, by serial number. */
  readonly loggedIn = new Map<string, RoleName>();
  slot: number | undefined;
  /** Before the next command is done, the last one is reported again, and so long passes. */
  repeatMs: number | undefined;
  #command = 'start';
  readonly #typed = new Set<string>();
  #nth = 0;

  constructor(folder: string, terminal: Terminal) {
    this.#folder = folder;
    const path = join(folder, 'emulator.json');
    const found = existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Partial<EmulatorSettings>) : {};
    this.settings = { ...DEFAULT_SETTINGS, ...found };
    const { dialect, echo, carriageReturns, buffering } = this.settings;
    this.dialect = Dialect.read(dialect, {
      ...(echo === undefined ? {} : { echo }),
      ...(carriageReturns === undefined ? {} : { carriageReturns }),
    });
    this.devices = new DeviceFile(folder);
    this.objects = existsSync(tokensFolder(folder)) ? new TokenObjects(folder) : new ObjectRecords(folder);
    this.#faults = readFaults(folder);
    this.terminal = terminal;
    this.output = new Output(terminal, { buffering, ...this.dialect.settings });
  }

  say(key: string, values: Readonly<Record<string, string | number>> = {}): void {
    this.output.line(this.dialect.text(key, values));
  }

  /** A name and its value, in a column. `separator` differs between the lists of one output. */
  field(
    key: string,
    value: string | number,
    separator: '->' | ':' = '->',
    indent = this.dialect.settings.indent,
  ): void {
    const { padding } = this.dialect.settings;
    const name = `${this.dialect.text(key)} ${separator}`.replace(' :', ':');
    const gap = padding === ' ' ? ' '.repeat(Math.max(1, 26 - name.length)) : padding;
    this.output.line(`${indent}${name}${gap}${value}`);
  }

  /** The partition in the current slot. */
  current(): PartitionRecord {
    return this.partitionAt(this.slot);
  }

  partitionAt(slot: number | undefined): PartitionRecord {
    const { slots, partitions } = this.devices.read();
    const serial = slots.find((one) => one.slot === slot)?.serial;
    const found = partitions.find((one) => one.serial === serial && one.isReachable);
    if (found === undefined) throw new Refused('noSuchSlot');
    return found;
  }

  /** Changes a partition, whatever other runs do at the same time. */
  change(serial: string, work: (partition: PartitionRecord) => void): void {
    this.devices.change(({ partitions }) => {
      const found = partitions.find((one) => one.serial === serial);
      if (found !== undefined) work(found);
    });
  }

  requireLogin({ serial }: PartitionRecord, role: RoleName): void {
    if (this.loggedIn.get(serial) !== role) throw new Refused('notLoggedIn');
  }

  symbolOf({ reason }: Refused): string {
    return Object.hasOwn(this.dialect.strings, `symbol.${reason}`) ? this.dialect.text(`symbol.${reason}`) : reason;
  }

  beginCommand(command: string): void {
    this.#command = command;
    this.#typed.add(command);
    this.#nth = this.devices.change((devices) => {
      const count = (devices.runs[command] ?? 0) + 1;
      devices.runs[command] = count;
      return count;
    });
  }

  /**
   * Whether the object at this place is to be done, left out or refused. Faults that end or delay the run happen here.
   */
  async at(place: number | 'end'): Promise<'do' | 'skip' | Refused> {
    await this.terminal.turn();
    for (const fault of this.#faults) {
      if (fault.command !== this.#command || fault.at !== place) continue;
      if (fault.run !== undefined && fault.run !== this.#nth) continue;
      if (fault.do === 'skip') return 'skip';
      if (fault.do === 'fail') return new Refused(fault.symbol ?? 'deviceError');
      await this.#happen(fault);
    }
    return 'do';
  }

  async #happen(fault: Fault): Promise<void> {
    if (fault.do === 'die') {
      this.output.cut('Cloned object 17 to');
      await this.terminal.die();
    } else if (fault.do === 'hang') {
      this.log({ hangs: `${fault.command} ${fault.at}` });
      await this.terminal.hang();
    } else if (fault.do === 'slow') await this.terminal.sleep(fault.ms ?? 1_000);
    else if (fault.do === 'garble') this.output.garble();
    else if (fault.do === 'repeat') this.repeatMs = fault.ms ?? 1;
    else if (fault.do === 'ask') await this.confirm('goes on in a way that nobody has asked for');
  }

  /** True to go on. Only the word `proceed` does. */
  async confirm(consequence: string): Promise<boolean> {
    this.say('warning', { consequence });
    this.output.line();
    this.say('sure');
    this.output.raw(this.dialect.text('confirmation'));
    this.output.flush();
    const answer = await this.terminal.readLine();
    if (answer === undefined) return this.terminal.hang();
    if (this.dialect.settings.echo && !this.terminal.isTerminal) this.output.line(answer);
    this.log({ answer });
    return answer === 'proceed';
  }

  log(entry: Readonly<Record<string, unknown>>): void {
    const serial = this.devices.read().slots.find(({ slot }) => slot === this.slot)?.serial;
    appendFileSync(join(this.#folder, 'log.jsonl'), `${JSON.stringify({ slot: this.slot, serial, ...entry })}\n`);
  }

  /** Keeps the names of the texts that were printed, for a count of the recalled ones. */
  logTexts(): void {
    const path = join(this.#folder, 'texts.jsonl');
    appendFileSync(
      path,
      `${JSON.stringify({ dialect: this.settings.dialect, keys: [...this.dialect.used], commands: [...this.#typed] })}\n`,
    );
  }
}
