/** The processes of the demonstration: real ones, each its own group, so that a site can be killed as a whole. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { AntipodeError, systemClock } from '@antipode/runtime';

const MAIN = fileURLToPath(new URL('../main.ts', import.meta.url));

export class DemoProcess {
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  #isEnded = false;

  constructor({ args, logFile }: { args: readonly string[]; logFile: string }) {
    const log = createWriteStream(logFile, { flags: 'a' });
    // The kernel ends it with us, whatever happens to us.
    this.#child = spawn('setpriv', ['--pdeathsig', 'TERM', '--', process.execPath, MAIN, ...args], {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ANTIPODE_LOG_FORMAT: 'json' },
    });
    this.#child.stdout?.pipe(log);
    this.#child.stderr?.pipe(log);
    this.#ended = new Promise((resolve) => {
      const end = (): void => {
        this.#isEnded = true;
        resolve();
      };
      this.#child.once('exit', end);
      this.#child.once('error', end);
    });
  }

  get hasEnded(): boolean {
    return this.#isEnded;
  }

  /** SIGKILL to every process of the group: agent and HSM workers at once. */
  async killAll(): Promise<void> {
    this.signal('SIGKILL');
    await this.#ended;
  }

  /** SIGTERM, and SIGKILL when that does not help in time. */
  async stop(timeoutMs = 8_000): Promise<void> {
    if (this.#isEnded || this.#child.pid === undefined) return;
    this.#child.kill('SIGTERM');
    const ended = new AbortController();
    void systemClock.sleep(timeoutMs, ended.signal).then(() => this.signal('SIGKILL'));
    await this.#ended;
    ended.abort();
  }

  /** To every process of the group. */
  signal(signal: NodeJS.Signals): void {
    if (this.#child.pid === undefined || this.#isEnded) return;
    try {
      process.kill(-this.#child.pid, signal);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'ESRCH') throw cause;
    }
  }
}

/** A TCP port that is free now. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (cause) => reject(new AntipodeError('CONFIG_INVALID', 'no free port on loopback', { cause })));
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}
