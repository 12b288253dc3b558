/** One standby, killed again and again: a token and an agent's data in folders of their own, set back to where they began. */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { CKO } from '@antipode/cryptoki';
import { judge, type Violation } from '../judge/judge.ts';
import { ReaderProcess } from '../judge/reader-process.ts';
import type { Seen, TokenPlace } from '../judge/token-reader.ts';
import { halveNewKey } from '../objects/half-key.ts';
import { replaceFolder, type Workspace } from '../workspace.ts';
import { EPOCH, type Fixture, STANDBY, type Standing, settingsOf } from './fixture.ts';
import type { Kill } from './kill.ts';
import { type Life, live } from './standby-process.ts';

export interface Run {
  readonly life: Life;
  readonly violations: readonly Violation[];
  /** Half-made objects after a kill, which the next apply must clean up. */
  readonly halfKeys: readonly Seen[];
}

const CLONED: ReadonlySet<number> = new Set([CKO.PRIVATE_KEY, CKO.SECRET_KEY]);

export class Lane {
  readonly #fixture: Fixture;
  readonly #folder: string;
  readonly #place: TokenPlace;
  readonly #reader: ReaderProcess;
  #acknowledged: number[] = [];
  #newestTried = 1;
  #seen: readonly Seen[] = [];

  constructor(workspace: Workspace, fixture: Fixture, name: string) {
    this.#fixture = fixture;
    this.#reader = new ReaderProcess(fixture.publicKeys);
    this.#folder = workspace.folder(name);
    const configFile = join(this.#folder, 'softhsm2.conf');
    writeFileSync(
      configFile,
      `directories.tokendir = ${this.#tokens}\nobjectstore.backend = file\nlog.level = ERROR\n`,
    );
    this.#place = { label: STANDBY, configFile };
  }

  /** How often the library of the reader has crashed on what a kill left. */
  get readerCrashes(): number {
    return this.#reader.crashes;
  }

  close(): void {
    this.#reader.close();
  }

  get newestAcknowledged(): number {
    return this.#acknowledged.at(-1)!;
  }

  /** As if nothing had happened since. The first generation is acknowledged, and `newestTried` may have been cut short. */
  setBack(standing: Standing, { newestTried }: { newestTried: number }): void {
    replaceFolder(this.#tokens, standing.tokens);
    replaceFolder(this.#data, standing.data);
    this.#acknowledged = [1];
    this.#newestTried = newestTried;
  }

  /** Leaves a key half made of those that were not there before. */
  async halve(name: string, before: Standing): Promise<void> {
    const isWanted = async (): Promise<boolean> =>
      (await this.#reader.read(this.#place)).some((one) => this.#isHalf(one) && one.name === name);
    await halveNewKey(this.#tokens, { before: before.tokens, isWanted });
  }

  save(standing: Standing): void {
    replaceFolder(standing.tokens, this.#tokens);
    replaceFolder(standing.data, this.#data);
  }

  /**
   * One life of the standby process with this generation as its order. Its leftovers are judged before anything else
   * happens.
   */
  async run(number: number, kill: Kill, { record }: { record?: string } = {}): Promise<Run> {
    const { group, sealed, compileCache, pinFile, movement, source } = this.#fixture;
    this.#newestTried = Math.max(this.#newestTried, number);
    const mark = join(this.#folder, 'killed');
    rmSync(mark, { force: true });
    const points = kill.at === 'point' ? { kill, mark } : record === undefined ? undefined : { record, mark };
    const settings = settingsOf({ configFile: this.#place.configFile, pinFile, compileCache, movement, points });
    const { digest } = sealed[number - 1]!;
    const order = { dataFolder: this.#data, settings, group, epoch: EPOCH, digest, kill, source, mark };
    const violations: Violation[] = [];
    const halfKeys: Seen[] = [];
    const judgeCut = async (): Promise<void> => {
      violations.push(...(await this.#judge({ isCut: true })));
      const half = this.#seen.filter((one) => this.#isHalf(one));
      halfKeys.push(...half);
      // A clone is made whole or not at all.
      for (const { objectClass, name } of movement === 'native' ? half : [])
        if (CLONED.has(objectClass))
          violations.push({ harm: 'halfKeys', what: `a kill has left a half of class ${objectClass} ${name}` });
    };
    const life = await live(order, { compileCache, onWorkerKilled: judgeCut });
    this.#readAcknowledged();
    if (life.ended === 'failed') violations.push({ harm: 'stuck', what: life.why });
    else if (life.ended === 'killed') await judgeCut();
    else violations.push(...(await this.#judge({ isCut: false })));
    return { life, violations, halfKeys };
  }

  async #judge({ isCut }: { isCut: boolean }): Promise<Violation[]> {
    const moment = { acknowledged: this.#acknowledged, newestTried: this.#newestTried, isCut };
    try {
      this.#seen = await this.#reader.read(this.#place);
    } catch (thrown) {
      return [{ harm: 'stuck', what: (thrown as Error).message }];
    }
    return judge(this.#seen, moment, this.#fixture);
  }

  #isHalf({ fingerprint, raw }: Seen): boolean {
    return fingerprint === undefined && !this.#fixture.permanent.some(({ seen }) => seen.raw === raw);
  }

  /**
   * Acknowledged is what the agent's journal says, as the next agent will read it. Read from a copy, since opening it after
   * a crash repairs it, which is for the agent to do.
   */
  #readAcknowledged(): void {
    const copy = join(this.#folder, 'look');
    replaceFolder(copy, this.#data);
    const database = new DatabaseSync(join(copy, 'journal.db'));
    try {
      const row = database
        .prepare("SELECT digest FROM head WHERE grp = ? AND kind = 'applied'")
        .get(this.#fixture.group);
      const number = this.#fixture.sealed.findIndex(({ digest }) => digest === row?.['digest']) + 1;
      if (number > this.newestAcknowledged) this.#acknowledged.push(number);
    } finally {
      database.close();
    }
  }

  get #tokens(): string {
    return join(this.#folder, 'tokens');
  }

  get #data(): string {
    return join(this.#folder, 'data');
  }
}
