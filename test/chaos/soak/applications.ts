/**
 * The constant work of applications. They make, replace and delete keys with pkcs11-tool at the member that `resolve`
 * names, and ask for a replication. For each name the model keeps the promise of the last acknowledgement, and all
 * states that are possible since then.
 */
import { type Prng, systemClock } from '@antipode/runtime';
import type { TestToken } from '../../support/tokens.ts';
import { type Command, messageOf } from './command.ts';
import { ABSENT, type TokenJudge, type Value } from './token-judge.ts';

export interface Name {
  readonly id: string;
  readonly label: string;
  /** Every key that it ever had, oldest first. */
  readonly made: Value[];
  /** Those of them that an acknowledged generation has held. */
  readonly acknowledged: Set<Value>;
  /** The object with this name in the last acknowledged generation; undefined before the first. */
  promised: Value | undefined;
  /** The possible states now: the promise, and the results of later actions. */
  possible: Set<Value>;
  /** Where something was done to it that no acknowledged generation holds. */
  changedAt: Place | undefined;
}

interface Place {
  readonly site: string;
  readonly epoch: string;
}

const NAMES_MAX = 60;
const ATTEMPTS_MAX = 5;
const TIMEOUT_S = '45';
/** Exit status of a replication that a site which is down did not get. */
const DEGRADED = 4;

export class Applications {
  readonly #command: Command;
  readonly #tokens: ReadonlyMap<string, TestToken>;
  readonly #judges: ReadonlyMap<string, TokenJudge>;
  readonly #group: string;
  readonly #prng: Prng;
  readonly #tell: (text: string) => void;
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;
  readonly names: Name[] = [];
  /** Of the newest generation that a replication has acknowledged. */
  acknowledgedGeneration = 0n;
  /** Keys of which a replication has said that they are at the standbys. */
  acknowledged = 0;
  /** Names whose acknowledged key was not at a new active member. */
  readonly lost = new Set<string>();
  #epoch = '';
  rounds = 0;

  constructor(options: {
    command: Command;
    tokens: ReadonlyMap<string, TestToken>;
    judges: ReadonlyMap<string, TokenJudge>;
    group: string;
    prng: Prng;
    tell: (text: string) => void;
  }) {
    this.#command = options.command;
    this.#tokens = options.tokens;
    this.#judges = options.judges;
    this.#group = options.group;
    this.#prng = options.prng;
    this.#tell = options.tell;
  }

  start(): void {
    this.#running = this.#work();
  }

  /** Resolves when the last round has ended. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #work(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await this.round();
      await systemClock.sleep(100, this.#stop.signal);
    }
  }

  /** Some changes at the active member, and a replication. @returns whether it was acknowledged */
  async round({ changes = 1 + Math.floor(this.#prng.fraction() * 3) } = {}): Promise<boolean> {
    const before = await this.#resolve();
    if (before === undefined) return false;
    for (let count = 0; count < changes; count += 1) await this.#change(before);
    const { status, data, stderr } = await this.#command.run('replicate', this.#group, '--timeout', TIMEOUT_S);
    this.rounds += 1;
    // DEGRADED: every standby that is up has acknowledged it. This promise counts as well.
    const { generation } = (data ?? {}) as { generation?: number };
    if (generation === undefined || (status !== 0 && status !== DEGRADED)) {
      this.#tell(`replicate ends with ${status}: ${messageOf(stderr)}`);
      return false;
    }
    const after = await this.#resolve();
    // If this token was the active one all the time, the captured objects are those in it.
    if (after?.site !== before.site || after.epoch !== before.epoch) return false;
    await this.#settle(before);
    this.acknowledgedGeneration = BigInt(generation);
    return true;
  }

  async #resolve(): Promise<Place | undefined> {
    const { status, data } = await this.#command.run('resolve', this.#group);
    return status === 0 ? (data as Place) : undefined;
  }

  /** Makes a key, replaces one, or deletes one. */
  async #change(place: Place): Promise<void> {
    const chance = this.#prng.fraction();
    const settled = this.names.filter(({ changedAt, promised }) => changedAt === undefined && promised !== undefined);
    const present = settled.filter(({ promised }) => promised !== ABSENT);
    const absent = settled.filter(({ promised }) => promised === ABSENT);
    if (present.length > 3 && chance < 0.25) return this.#delete(this.#pick(present), place);
    if (present.length > 3 && chance < 0.5) return this.#replace(this.#pick(present), place);
    if (absent.length > 0 && chance < 0.65) return this.#makeAgain(this.#pick(absent), place);
    if (this.names.length >= NAMES_MAX) return;
    const id = (this.names.length + 1).toString(16).padStart(4, '0');
    const name: Name = {
      id,
      label: `key-${id}`,
      made: [],
      acknowledged: new Set(),
      promised: undefined,
      possible: new Set([ABSENT]),
      changedAt: undefined,
    };
    this.names.push(name);
    return this.#make(name, place);
  }

  async #replace(name: Name, place: Place): Promise<void> {
    await this.#delete(name, place);
    await this.#make(name, place);
  }

  /**
   * Makes a key under a name that no generation has, unless the token has it already. A key that was made here and
   * never acknowledged can return with its site. A second one beside it would be the application's own fault. A key
   * that was acknowledged and deleted must not be there.
   */
  async #makeAgain(name: Name, place: Place): Promise<void> {
    const value = await this.#judges.get(place.site)!.publicKey(name.id);
    if (value === ABSENT) return this.#make(name, place);
    if (!name.acknowledged.has(value)) return;
    this.lost.add(name.label);
    this.#tell(`VIOLATION ${name.label} at ${place.site}, epoch ${place.epoch}, was deleted and is there`);
  }

  async #make(name: Name, place: Place): Promise<void> {
    name.changedAt = place;
    const pair = ['--keypairgen', '--key-type', 'EC:prime256v1', '--sensitive', '--extractable'];
    const judge = this.#judges.get(place.site)!;
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
      const isMade = await this.#tool(place, ...pair, '--id', name.id, '--label', name.label);
      const value = await judge.publicKey(name.id);
      name.possible.add(value);
      if (value !== ABSENT && !name.made.includes(value)) name.made.push(value);
      if (isMade) return;
      // Half of a pair, perhaps: what other users of a token do when a tool fails is to begin again.
      await this.#delete(name, place);
    }
  }

  async #delete(name: Name, place: Place): Promise<void> {
    name.changedAt = place;
    name.possible.add(ABSENT);
    for (const type of ['privkey', 'pubkey'])
      for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
        if (!(await this.#isThere(place, type, name.id))) break;
        await this.#tool(place, '--delete-object', '--type', type, '--id', name.id);
      }
  }

  async #isThere({ site }: Place, type: string, id: string): Promise<boolean> {
    const list = await this.#tokens
      .get(site)!
      .toolAsync('--list-objects', '--type', type)
      .catch(() => id);
    return list.includes(id);
  }

  /** Whether it succeeded. One that fails has done its work, or a part of it, or nothing. */
  async #tool({ site }: Place, ...args: string[]): Promise<boolean> {
    try {
      await this.#tokens.get(site)!.toolAsync(...args);
      return true;
    } catch {
      this.#tell(`pkcs11-tool ${args[0]} fails at ${site}`);
      return false;
    }
  }

  /** The generation that was captured at this place holds what lies there: nobody else changes it. */
  async #settle({ site, epoch }: Place): Promise<void> {
    const isNewTenure = epoch !== this.#epoch;
    this.#epoch = epoch;
    for (const name of this.names) {
      if (name.changedAt === undefined && !isNewTenure) continue;
      const value = await this.#judges.get(site)!.publicKey(name.id);
      // A divergent key of a site that is active again is captured, where nothing else has its name.
      const isDivergent = name.promised === ABSENT && name.made.includes(value) && !name.acknowledged.has(value);
      if (!name.possible.has(value) && !isDivergent) {
        this.lost.add(name.label);
        this.#tell(`VIOLATION ${name.label} at ${site}, epoch ${epoch}, is not what was acknowledged`);
      }
      if (value !== ABSENT && value !== name.promised) this.acknowledged += 1;
      if (value !== ABSENT) name.acknowledged.add(value);
      name.promised = value;
      name.possible = new Set([value]);
      name.changedAt = undefined;
    }
  }

  #pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.#prng.fraction() * from.length)]!;
  }
}
