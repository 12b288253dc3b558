/** The desk of an operator who follows a runbook, and the machines to which the page sends them. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stripVTControlCharacters } from 'node:util';
import { systemClock } from '@antipode/runtime';
import {
  isAsShown,
  linesToCompare,
  type RunbookBlock,
  readRunbook,
  sectionsOfRunbook,
  typedFromSources,
} from './runbook-page.ts';
import { temporaryFolder } from './tokens.ts';

const BIN = fileURLToPath(new URL('../../bin', import.meta.url));
const PATIENCE_MS = 150_000;
const LOOK_MS = 200;
/** Of one command. */
const COMMAND_MS = 90_000;

/** A machine, by the name that pages give it. */
export interface Place {
  readonly environment: Readonly<Record<string, string>>;
  /** Paths of the page, and where they are here. */
  readonly paths: Readonly<Record<string, string>>;
  /** The user who works there, as numbers of user and group. */
  readonly user?: { readonly uid: number; readonly gid: number };
}

export interface DeskOptions {
  readonly places: (name: string) => Place;
  /** Examples in a command, such as serial numbers, in words of this system. */
  readonly translate: (script: string) => Promise<string>;
  /** Answers that only an operator can know, by the word behind `answer`. */
  readonly knows: (word: string) => string;
}

/** Events outside of the page, each before the first command of a section. */
export type Happenings = Readonly<Record<string, () => Promise<unknown>>>;

interface Ended {
  readonly status: number;
  readonly printed: string;
}

export class RunbookDesk {
  readonly folder = temporaryFolder('desk');
  /** Everything that was typed and printed. A failure ends with the last of it. */
  readonly transcript: string[] = [];
  readonly #options: DeskOptions;
  readonly #started = new Map<string, ChildProcess>();

  constructor(options: DeskOptions) {
    this.#options = options;
  }

  /** Follows a page from its first command to its last. @throws where a command does not do what the page says */
  async follow(name: string, happenings: Happenings = {}): Promise<void> {
    const sections = sectionsOfRunbook(readRunbook(name));
    const unknown = Object.keys(happenings).filter((one) => !sections.some(({ heading }) => heading === one));
    if (unknown.length > 0) throw new Error(`${name} has no section ${unknown.join(', ')}`);
    for (const { heading, blocks } of sections) {
      await happenings[heading]?.();
      for (const block of blocks) await this.#obey(name, block);
    }
  }

  /** Kills what a page has started at a place, if it has. */
  kill(at: string): void {
    const { pid } = this.#started.get(at) ?? {};
    this.#started.delete(at);
    if (pid === undefined) return;
    try {
      process.kill(-pid, 'SIGKILL');
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'ESRCH') throw cause;
    }
  }

  close(): void {
    for (const at of [...this.#started.keys()]) this.kill(at);
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #obey(page: string, block: RunbookBlock): Promise<void> {
    const endMs = systemClock.monotonicMs() + PATIENCE_MS;
    const script = await this.#options.translate(typedFromSources(block.script));
    if (block.isStart) this.#start(block.at, script);
    for (;;) {
      const { status, printed } = block.isStart ? this.#logOf(block.at) : await this.#run(block, script);
      const isRight =
        status === block.status && (block.expected === undefined || this.#isShown(block, block.expected, printed));
      this.transcript.push(`$ ${block.at === '' ? '' : `[${block.at}] `}${script}${printed}[${status}]`);
      if (isRight) return;
      const isWaiting = (block.isRepeated || block.isStart) && systemClock.monotonicMs() < endMs;
      if (!isWaiting) throw new Error(this.#difference(page, block, { status, printed }));
      this.transcript.pop();
      await systemClock.sleep(LOOK_MS);
    }
  }

  /** A log has more lines than the page shows, in between and around. */
  #isShown({ isStart }: RunbookBlock, expected: string, printed: string): boolean {
    const shown = isStart ? `...\n${expected.trimEnd().split('\n').join('\n...\n')}\n...\n` : expected;
    return isAsShown(shown, printed);
  }

  #difference(page: string, block: RunbookBlock, { status, printed }: Ended): string {
    const lines = (text: string): string => linesToCompare(text).join('\n  ');
    return [
      `${page}, "${block.heading}": the page does not hold`,
      block.script,
      `expected status ${block.status} and\n  ${lines(block.expected ?? '...')}`,
      `found status ${status} and\n  ${lines(printed)}`,
      `before:\n${this.transcript.slice(-2).join('\n')}`,
    ].join('\n');
  }

  #spawn(at: string, args: readonly string[], stdio: ('pipe' | 'ignore' | number)[], timeout?: number): ChildProcess {
    const { environment, user } = this.#options.places(at);
    const as = user === undefined ? [] : [`--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups'];
    const { ANTIPODE_CONFIG: _config, DATABASE_URL: _database, REDIS_URL: _redis, ...inherited } = process.env;
    return spawn('setpriv', [...as, '--pdeathsig', 'KILL', '--', ...args], {
      cwd: user === undefined ? this.folder : '/',
      detached: true,
      stdio,
      timeout,
      killSignal: 'SIGKILL',
      env: {
        ...inherited,
        NO_COLOR: '1',
        ...environment,
        PATH: `${BIN}:${environment['PATH'] ?? process.env['PATH']}`,
      },
    });
  }

  #start(at: string, script: string): void {
    this.kill(at);
    const log = openSync(this.#logFile(at), 'w');
    this.#started.set(at, this.#spawn(at, ['sh', '-euc', `exec ${this.#here(at, script)}`], ['ignore', log, log]));
    closeSync(log);
  }

  #logFile(at: string): string {
    return join(this.folder, `${at}.log`);
  }

  #logOf(at: string): Ended {
    const { exitCode } = this.#started.get(at)!;
    return { status: exitCode ?? 0, printed: readFileSync(this.#logFile(at), 'utf8') };
  }

  #run({ at, answers }: RunbookBlock, script: string): Promise<Ended> {
    const typed = answers.map((word) => this.#options.knows(word));
    const here = this.#here(at, script);
    // Commands that ask want a terminal.
    const args = typed.length === 0 ? ['sh', '-euc', here] : ['script', '-qec', here, '/dev/null'];
    const child = this.#spawn(at, args, ['pipe', 'pipe', 'pipe'], COMMAND_MS);
    child.stdin!.end(typed.map((line) => `${line}\n`).join(''));
    const printed: Buffer[] = [];
    for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (part: Buffer) => void printed.push(part));
    return new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code) => {
        const text = Buffer.concat(printed).toString();
        resolve({ status: code ?? -1, printed: this.#asThere(at, withoutTyping(text, typed)) });
      });
    });
  }

  #here(at: string, script: string): string {
    const { paths } = this.#options.places(at);
    return Object.entries(paths).reduce((text, [there, here]) => text.replaceAll(there, here), script);
  }

  #asThere(at: string, printed: string): string {
    const { paths } = this.#options.places(at);
    return Object.entries(paths).reduce((text, [there, here]) => text.replaceAll(here, there), printed);
  }
}

/** Without what a terminal adds: the cursor, and the lines that were typed before anybody asked. */
function withoutTyping(text: string, typed: readonly string[]): string {
  const lines = stripVTControlCharacters(text).replaceAll('\r', '').split('\n');
  return lines.slice(lines.findIndex((line) => !typed.includes(line))).join('\n');
}
