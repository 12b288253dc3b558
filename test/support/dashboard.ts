/** `antipode dashboard` as an operator starts it: a process of its own, of which only the printed addresses are known. */
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../apps/cli/src/main.ts', import.meta.url));

export class RunningDashboard {
  readonly #child: ChildProcess;
  readonly #addresses: string[] = [];
  readonly #waiting: (() => void)[] = [];
  #told = '';

  private constructor(args: readonly string[]) {
    this.#child = spawn(process.execPath, [MAIN, 'dashboard', ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NO_COLOR: '1' },
    });
    let text = '';
    this.#child.stdout!.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
      const lines = text.split('\n');
      text = lines.pop() ?? '';
      this.#addresses.push(...lines);
      for (const wake of this.#waiting.splice(0)) wake();
    });
    this.#child.stderr!.setEncoding('utf8').on('data', (chunk: string) => {
      this.#told += chunk;
    });
    this.#child.once('exit', () => {
      for (const wake of this.#waiting.splice(0)) wake();
    });
  }

  static async start(args: readonly string[]): Promise<RunningDashboard> {
    const started = new RunningDashboard(args);
    await started.address(0);
    return started;
  }

  /** The address that it printed at that place. @throws with its own words if it has ended */
  async address(at: number): Promise<string> {
    for (;;) {
      const address = this.#addresses[at];
      if (address !== undefined) return address;
      if (this.#hasEnded) throw new Error(`the dashboard has ended: ${this.#told}`);
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** Where it serves, without a token. */
  get origin(): string {
    return new URL(this.#addresses[0]!).origin;
  }

  get told(): string {
    return this.#told;
  }

  get #hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  async close(): Promise<void> {
    if (this.#hasEnded) return;
    const ended = new Promise<void>((resolve) => this.#child.once('exit', () => resolve()));
    this.#child.kill('SIGTERM');
    await ended;
  }

  /** As by a crash. */
  async kill(): Promise<void> {
    const ended = new Promise<void>((resolve) => this.#child.once('exit', () => resolve()));
    this.#child.kill('SIGKILL');
    await ended;
  }
}
