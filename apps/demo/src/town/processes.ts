/** The processes of a town: real ones, each its own group, so that a site can be killed as a whole. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { AntipodeError, type ErrorCode, isErrorCode, systemClock, systemPrng } from '@antipode/runtime';

const MAIN = fileURLToPath(new URL('../../../cli/src/main.ts', import.meta.url));

export interface TownProcessOptions {
  /** For people; by default the words that start it. */
  readonly name?: string;
  readonly args: readonly string[];
  /** Its program, where that is not ours: the main.ts of another release. */
  readonly main?: string | undefined;
  /** Words that lead to where it runs, in front of its own command: another network namespace. */
  readonly within?: readonly string[];
  readonly logFile: string;
  /** For whatever it makes for a while: sockets of its servers. By default that of this process. */
  readonly temporaryFolder?: string;
  /** Beside what this process has inherited. Never a PIN. */
  readonly environment?: Readonly<Record<string, string>>;
}

export class TownProcess {
  readonly #name: string;
  readonly #logFile: string;
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  #isEnded = false;
  #isToEnd = false;

  constructor({ name, args, main = MAIN, within = [], logFile, temporaryFolder, environment }: TownProcessOptions) {
    this.#name = name ?? args.slice(0, 2).join(' ');
    this.#logFile = logFile;
    const log = openSync(logFile, 'a');
    // Servers of its own, whatever the machine's are called.
    const { DATABASE_URL: _database, REDIS_URL: _redis, ...inherited } = process.env;
    // The kernel ends it with us, whatever happens to us.
    const bound = ['setpriv', '--pdeathsig', 'TERM', '--', process.execPath, main, ...args];
    const [program, ...words] = [...within, ...bound] as [string, ...string[]];
    this.#child = spawn(program, words, {
      detached: true,
      stdio: ['ignore', log, log],
      env: {
        ...inherited,
        ANTIPODE_LOG_FORMAT: 'json',
        ...(temporaryFolder === undefined ? {} : { TMPDIR: temporaryFolder }),
        ...environment,
      },
    });
    closeSync(log);
    this.#ended = new Promise((resolve) => {
      const end = (): void => {
        this.#isEnded = true;
        resolve();
      };
      this.#child.once('exit', end);
      this.#child.once('error', end);
    });
  }

  /** Its number while it runs. It leads a process group of the same number. */
  get pid(): number | undefined {
    return this.#isEnded ? undefined : this.#child.pid;
  }

  /** Why it ended though nobody told it to, by its own log; undefined while that is not so. */
  get failure(): AntipodeError | undefined {
    if (!this.#isEnded || this.#isToEnd) return undefined;
    const { code, text } = lastError(readFileSync(this.#logFile, 'utf8'));
    return new AntipodeError(code, `${this.#name} has ended: ${text} (log: ${this.#logFile})`, {
      details: { program: this.#name, path: this.#logFile },
    });
  }

  /** SIGKILL to every process of the group: agent and HSM workers at once. */
  async killAll(): Promise<void> {
    this.signal('SIGKILL');
    await this.#ended;
  }

  /** SIGTERM, and SIGKILL when that does not help in time. */
  async stop(timeoutMs = 8_000): Promise<void> {
    this.#isToEnd = true;
    if (this.#isEnded || this.#child.pid === undefined) return;
    this.#child.kill('SIGTERM');
    const ended = new AbortController();
    void systemClock.sleep(timeoutMs, ended.signal).then(() => this.signal('SIGKILL'));
    await this.#ended;
    ended.abort();
  }

  /** To every process of the group. */
  signal(signal: NodeJS.Signals): void {
    this.#isToEnd = true;
    if (this.#child.pid === undefined || this.#isEnded) return;
    try {
      process.kill(-this.#child.pid, signal);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'ESRCH') throw cause;
    }
  }
}

/** The last error that a process wrote: a line of its log, or what the command printed as it ended. */
export function lastError(log: string): { code: ErrorCode; text: string } {
  const lines = log.split('\n').filter((line) => line.trim() !== '');
  for (const line of lines.toReversed()) {
    const { level, message, error } = parseLine(line);
    if (level === 'error') return errorFrom(error?.message ?? message ?? '');
    if (/^\[[A-Z_]+\] /.test(line)) return errorFrom(line);
  }
  const other = lines.findLast((line) => !line.startsWith('{'));
  return { code: 'PROGRAM_MISSING', text: other?.trim() ?? 'it wrote no error' };
}

function errorFrom(message: string): { code: ErrorCode; text: string } {
  const [, code, text] = /^\[([A-Z_]+)\] (.*)$/s.exec(message) ?? [];
  return code !== undefined && isErrorCode(code)
    ? { code, text: text ?? '' }
    : { code: 'PROGRAM_MISSING', text: message };
}

interface LogLine {
  readonly level?: string;
  readonly message?: string;
  readonly error?: { readonly message?: string };
}

function parseLine(line: string): LogLine {
  try {
    return Object(JSON.parse(line)) as LogLine;
  } catch {
    return {};
  }
}

/** Below those that Linux gives to connections and to servers without a port of their own (ip_local_port_range). */
const [PORT_MIN, PORT_MAX] = [10_240, 32_767];
const PORT_TRIES_MAX = 100;

/**
 * A TCP port that is free now, and that the kernel gives to nobody until it is used: a server that is stopped and
 * started again finds it free.
 */
export async function freePort(): Promise<number> {
  for (let tries = 1; ; tries += 1) {
    const port = PORT_MIN + Math.floor(systemPrng.fraction() * (PORT_MAX - PORT_MIN + 1));
    try {
      await tryPort(port);
      return port;
    } catch (cause) {
      if (tries === PORT_TRIES_MAX) throw new AntipodeError('CONFIG_INVALID', 'no free port on loopback', { cause });
    }
  }
}

function tryPort(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => server.close(() => resolve()));
  });
}
