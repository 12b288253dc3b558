/**
 * The two parts of a native move that a standby has nothing to do with: a source that takes and encrypts, and a token that
 * gets the token key of the source. Each is killed at a point, judged, done again without a kill, and judged again.
 */
import { fork } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { serialize } from 'node:v8';
import type { Harm, Violation } from '../judge/judge.ts';
import { ReaderProcess } from '../judge/reader-process.ts';
import type { Seen, TokenPlace } from '../judge/token-reader.ts';
import type { Fixture, NativeStart } from '../standby/fixture.ts';
import { type PointOrder, type Points, pointsEnvironment, pointsIn } from '../standby/kill.ts';
import { isTooLate, statesOf, untilDead } from '../standby/process-group.ts';
import { replaceFolder, type Workspace } from '../workspace.ts';
import type { NewcomerOrder } from './newcomer.ts';
import type { SourceOrder } from './source.ts';

export const NATIVE_PARTS = ['source', 'newcomer'] as const;
export type NativePart = (typeof NATIVE_PARTS)[number];
type PointKill = NonNullable<PointOrder['kill']>;

const LIFE_MS_MAX = 120_000;
const DEATH_MS_MAX = 10_000;

interface Life {
  readonly isKilled: boolean;
  readonly answer: { readonly entries?: readonly string[]; readonly domain?: string; readonly failure?: string };
}

export class NativeLane {
  readonly #fixture: Fixture;
  readonly #native: NativeStart;
  readonly #folder: string;
  readonly #reader: ReaderProcess;
  /** Of a life without a kill. */
  readonly #expected = new Map<NativePart, { readonly seen: readonly string[]; readonly answer: string }>();

  constructor(
    workspace: Workspace,
    { fixture, native, name }: { fixture: Fixture; native: NativeStart; name: string },
  ) {
    this.#fixture = fixture;
    this.#native = native;
    this.#folder = workspace.folder(name);
    this.#reader = new ReaderProcess(fixture.publicKeys);
  }

  get readerCrashes(): number {
    return this.#reader.crashes;
  }

  close(): void {
    this.#reader.close();
  }

  /** The points of a life without a kill, and what is right afterwards. */
  async record(part: NativePart): Promise<Points> {
    this.#setBack(part);
    const before = await this.#look(part);
    const record = join(this.#folder, 'points');
    writeFileSync(record, '');
    const { answer } = await this.#live(part, { record, mark: join(this.#folder, 'killed') });
    this.#expected.set(part, { seen: before, answer: JSON.stringify(answer) });
    if (answer.entries === undefined && answer.domain === undefined)
      throw new Error(`${part}, without a kill: ${answer.failure ?? 'no answer'}`);
    const violations = await this.#judge(part, answer);
    if (violations[0] !== undefined) throw new Error(`${part}, without a kill: ${violations[0].what}`);
    return pointsIn(readFileSync(record, 'utf8'));
  }

  /** Learns from another lane what is right. */
  expect(other: NativeLane): void {
    for (const [part, expected] of other.#expected) this.#expected.set(part, expected);
  }

  async run(part: NativePart, kill: PointKill): Promise<{ hasKilled: boolean; violations: readonly Violation[] }> {
    this.#setBack(part);
    const mark = join(this.#folder, 'killed');
    const cut = await this.#live(part, { kill, mark });
    const violations = await this.#judge(part, cut.isKilled ? undefined : cut.answer);
    if (cut.isKilled && violations.length === 0) {
      const { answer } = await this.#live(part, undefined);
      violations.push(...(await this.#judge(part, answer)));
    }
    return { hasKilled: cut.isKilled || isThere(mark), violations };
  }

  #setBack(part: NativePart): void {
    const { tokens, unshared } = this.#native;
    replaceFolder(this.#tokens, part === 'source' ? tokens : unshared);
    writeFileSync(
      this.#place(part).configFile,
      `directories.tokendir = ${this.#tokens}\nobjectstore.backend = file\nlog.level = ERROR\n`,
    );
    rmSync(join(this.#folder, 'killed'), { force: true });
    rmSync(this.#store, { recursive: true, force: true });
  }

  /** Each object of the token, by everything that it shows and what its use gives. */
  async #look(part: NativePart): Promise<string[]> {
    const seen: Seen[] = await this.#reader.read(this.#place(part));
    return seen.map(({ objectClass, name, fingerprint, raw }) => `${objectClass} ${name} ${fingerprint} ${raw}`).sort();
  }

  /** The token has what it had, whatever was cut short; at the end, what a life without a kill gives. */
  async #judge(part: NativePart, answer: Life['answer'] | undefined): Promise<Violation[]> {
    const expected = this.#expected.get(part)!;
    const violations: Violation[] = [];
    const report = (harm: Harm, what: string): void => void violations.push({ harm, what });
    let seen: string[];
    try {
      seen = await this.#look(part);
    } catch (thrown) {
      return [{ harm: 'stuck', what: `${part}: ${(thrown as Error).message}` }];
    }
    const [now, before] = [new Set(seen), new Set(expected.seen)];
    for (const one of before)
      if (!now.has(one)) report(part === 'source' ? 'lost' : 'foreignDestroyed', `${part}: ${one} is gone`);
    for (const one of now) if (!before.has(one)) report('duplicates', `${part}: ${one} is new`);
    if (seen.length !== expected.seen.length)
      report('duplicates', `${part}: ${seen.length} objects, expected ${expected.seen.length}`);
    if (answer !== undefined && JSON.stringify(answer) !== expected.answer)
      report(part === 'source' ? 'lost' : 'stuck', `${part}: ${JSON.stringify(answer)}`);
    return violations;
  }

  async #live(part: NativePart, points: PointOrder | undefined): Promise<Life> {
    const file = join(this.#folder, 'order');
    writeFileSync(file, serialize(part === 'source' ? this.#sourceOrder(points) : this.#newcomerOrder()));
    const { compileCache } = this.#fixture;
    const child = fork(fileURLToPath(new URL(`./${part}.ts`, import.meta.url)), [file], {
      detached: true,
      execArgv: [],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      env: {
        ...{ PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '', NODE_COMPILE_CACHE: compileCache },
        ...(part === 'newcomer' && points !== undefined ? pointsEnvironment(points) : {}),
      },
    });
    const kill = (): void => {
      try {
        process.kill(-child.pid!, 'SIGKILL');
      } catch {
        // It has ended already.
      }
    };
    process.once('exit', kill);
    let answer: Life['answer'] = {};
    let printed = '';
    let hung: string | undefined;
    child.stderr!.on('data', (data: Buffer) => {
      printed = `${printed}${data.toString()}`.slice(-4_000);
    });
    child.on('message', (message: Life['answer']) => {
      answer = message;
    });
    const done = new AbortController();
    void isTooLate(LIFE_MS_MAX, done.signal).then((isHung) => {
      if (!isHung) return;
      hung = statesOf(child.pid!);
      kill();
    });
    const signal = await new Promise<string | null>((resolve) => child.once('close', (_code, how) => resolve(how)));
    done.abort();
    process.off('exit', kill);
    await untilDead(child.pid!, DEATH_MS_MAX);
    if (hung !== undefined) return { isKilled: false, answer: { failure: `it hangs: ${hung}\n${printed}` } };
    if (signal === 'SIGKILL' && points?.kill !== undefined) return { isKilled: true, answer: {} };
    return { isKilled: false, answer: Object.keys(answer).length > 0 ? answer : { failure: printed } };
  }

  #sourceOrder(points: PointOrder | undefined): SourceOrder {
    const { config, member } = this.#native;
    const environment = {
      ...{ SOFTHSM2_CONF: this.#place('source').configFile, NODE_COMPILE_CACHE: this.#fixture.compileCache },
      ...(points === undefined ? {} : pointsEnvironment(points)),
    };
    return {
      config: { ...config, native: { kind: 'softhsm' }, environment },
      member: { identity: member.identity, domainKeys: member.domainKeys },
      group: this.#fixture.group,
      domainKeyVersion: 2,
      storeFolder: this.#store,
    };
  }

  #newcomerOrder(): NewcomerOrder {
    const { newcomer, sourcePath } = this.#native;
    return { serial: newcomer.serial, configFile: this.#place('newcomer').configFile, sourcePath };
  }

  #place(part: NativePart): TokenPlace {
    const { source, newcomer } = this.#native;
    return { label: (part === 'source' ? source : newcomer).label, configFile: join(this.#folder, 'softhsm2.conf') };
  }

  get #tokens(): string {
    return join(this.#folder, 'tokens');
  }

  get #store(): string {
    return join(this.#folder, 'store');
  }
}

function isThere(path: string): boolean {
  try {
    readFileSync(path);
    return true;
  } catch {
    return false;
  }
}
