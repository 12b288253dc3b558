/** One run of `lunacm`: the port that a session drives, and that a test can stand behind. */
import type { Command } from '../commands.ts';

export interface ToolEnd {
  readonly status: number | undefined;
  readonly signal: string | undefined;
}

export interface ToolProcess {
  /** Both outputs in one stream, as the tool wrote them. Called once; earlier output is delivered then. */
  read(onOutput: (bytes: Uint8Array) => void): void;
  /** The bytes belong to the caller again when the promise has settled. It never rejects: the end tells. */
  write(bytes: Uint8Array): Promise<void>;
  /** Nothing more will be typed. */
  endInput(): void;
  readonly ended: Promise<ToolEnd>;
  /** Ends the tool and all that it has started, at once. */
  kill(): void;
  /** Removes what the run left on disk. Idempotent. */
  dispose(): void;
}

/**
 * `pipe` types into standard input. `terminal` types into a terminal of its own, for a tool that asks for passwords there,
 * or that writes nothing until it ends where no terminal reads it.
 */
export type Typed = 'pipe' | 'terminal';

export interface ToolLauncher {
  launch(way: Typed): ToolProcess;
  /** Runs a file of commands, one a line: what is in `lines` cannot depend on what they answer. */
  launchFile(commands: readonly Command[]): ToolProcess;
}
