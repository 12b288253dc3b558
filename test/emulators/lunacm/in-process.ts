/** Runs of the emulated tool in the process of a test, under its clock. They can die and hang as processes do. */
import type { Command, ToolEnd, ToolLauncher, ToolProcess, Typed } from '@antipode/hsm-core/luna';
import type { Clock } from '@antipode/runtime';
import { emulate } from './emulator.ts';
import type { Terminal } from './terminal.ts';

/** Cuts what was written at once into the pieces that arrive. */
export type Cut = (bytes: Uint8Array) => readonly Uint8Array[];

export class InProcessLauncher implements ToolLauncher {
  readonly #folder: string;
  readonly #clock: Clock;
  cut: Cut = (bytes) => [bytes];
  /** Each piece arrives in a turn of its own, so that the driver can act on one before the next is there. */
  isPaced = false;
  readonly #running = new Set<InProcessTool>();
  /** How many runs have begun to wait for ever, by a fault. */
  hangs = 0;
  /** How each run was typed into. */
  readonly starts: Typed[] = [];

  constructor({ folder, clock }: { folder: string; clock: Clock }) {
    this.#folder = folder;
    this.#clock = clock;
  }

  launch(way: Typed): ToolProcess {
    this.starts.push(way);
    return this.#start(way === 'terminal');
  }

  launchFile(commands: readonly Command[]): ToolProcess {
    const tool = this.#start(false);
    for (const { parts } of commands) void tool.write(Buffer.from(`${parts.join(' ')}\n`));
    tool.endInput();
    return tool;
  }

  #start(isTerminal: boolean): InProcessTool {
    const tool = new InProcessTool({
      folder: this.#folder,
      clock: this.#clock,
      cut: (bytes) => this.cut(bytes),
      isPaced: this.isPaced,
      isTerminal,
      onHang: () => {
        this.hangs += 1;
      },
    });
    this.#running.add(tool);
    void tool.ended.then(() => this.#running.delete(tool));
    return tool;
  }

  /** Ends what runs, without a word to whoever started it: that one was killed first. */
  killAll(): void {
    for (const tool of this.#running) tool.vanish();
    this.#running.clear();
  }
}

interface InProcessOptions {
  readonly folder: string;
  readonly clock: Clock;
  readonly cut: Cut;
  readonly isPaced: boolean;
  readonly isTerminal: boolean;
  readonly onHang: () => void;
}

class InProcessTool implements ToolProcess {
  readonly ended: Promise<ToolEnd>;
  readonly #early: Uint8Array[] = [];
  #onOutput: ((bytes: Uint8Array) => void) | undefined;
  readonly #lines: string[] = [];
  #rest = '';
  #delivered = Promise.resolve();
  #isInputOver = false;
  #isOver = false;
  #wake: () => void = () => {};
  #end: (end: ToolEnd) => void = () => {};

  constructor({ folder, clock, cut, isPaced, isTerminal, onHang }: InProcessOptions) {
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    const forever = new Promise<never>(() => {});
    const alive = async (): Promise<void> => (this.#isOver ? forever : undefined);
    const readLine = async (): Promise<string | undefined> => {
      while (this.#lines.length === 0 && !this.#isInputOver)
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      await alive();
      return this.#lines.shift();
    };
    const terminal: Terminal = {
      isTerminal,
      readLine,
      readSecret: async () => (isTerminal ? readLine() : undefined),
      write: (bytes) => {
        if (this.#isOver) return;
        for (const piece of cut(bytes))
          if (isPaced) this.#delivered = this.#delivered.then(turn).then(() => this.#deliver(piece));
          else this.#deliver(piece);
      },
      sleep: async (ms) => {
        await clock.sleep(ms);
        await alive();
      },
      turn: alive,
      die: () => {
        this.kill();
        return forever;
      },
      hang: () => {
        onHang();
        return forever;
      },
    };
    void emulate(folder, [], terminal).then(async (status) => {
      await this.#delivered;
      this.#finish({ status, signal: undefined });
    });
  }

  read(onOutput: (bytes: Uint8Array) => void): void {
    this.#onOutput = onOutput;
    for (const bytes of this.#early.splice(0)) onOutput(bytes);
  }

  #deliver(piece: Uint8Array): void {
    if (this.#onOutput === undefined) this.#early.push(piece);
    else this.#onOutput(piece);
  }

  async write(bytes: Uint8Array): Promise<void> {
    const pieces = (this.#rest + Buffer.from(bytes).toString('utf8')).split('\n');
    this.#rest = pieces.pop() ?? '';
    this.#lines.push(...pieces);
    this.#wake();
  }

  endInput(): void {
    this.#isInputOver = true;
    this.#wake();
  }

  kill(): void {
    this.#finish({ status: undefined, signal: 'SIGKILL' });
  }

  dispose(): void {}

  vanish(): void {
    this.#isOver = true;
  }

  #finish(end: ToolEnd): void {
    this.#isOver = true;
    this.#end(end);
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
