/**
 * Starts `lunacm`. Its arguments never hold a secret: every user of the machine can read them. A secret is typed, or is in
 * a file that only its owner can read, and that is removed when the tool has ended.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readdirSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { AntipodeError, makeFolder, type Prng, systemPrng } from '@antipode/runtime';
import { type Command, lineOf } from '../commands.ts';
import type { ToolEnd, ToolLauncher, ToolProcess, Typed } from './tool-process.ts';

export interface LauncherOptions {
  /** Path of `lunacm`. */
  readonly program: string;
  /** The folder of `Chrystoki.conf`. */
  readonly configuration: string;
  /** For the files of commands. Nobody else writes here: what a killed agent left in it is removed. */
  readonly jobs: string;
  /** For what else the tool needs, such as `PATH`. */
  readonly environment?: Readonly<Record<string, string>>;
  readonly prng?: Prng;
}

/** `exec`, so that the shell is not there any more when the tool runs. Both outputs are one, in the order of writing. */
const JOIN_OUTPUTS = 'exec "$0" "$@" 2>&1';
/** Without echo, a password that is typed before the tool asks for it is not shown. */
const QUIET_TERMINAL = 'stty -echo -onlcr cols 4096; exec "$LUNACM_PROGRAM"';

/**
 * The kernel ends the tool when the agent is killed. A device takes one backup at a time. A tool that nobody reads would
 * go on with an old one beside the next.
 */
const WITH_ITS_PARENT = ['--pdeathsig', 'KILL', '--'];

const ENDING = '.lunacm';

export class Launcher implements ToolLauncher {
  readonly #options: LauncherOptions;

  /** @throws FILE_UNWRITABLE */
  constructor(options: LauncherOptions) {
    this.#options = options;
    makeFolder(options.jobs);
    for (const name of readdirSync(options.jobs)) if (name.endsWith(ENDING)) rmSync(join(options.jobs, name));
  }

  launch(way: Typed): ToolProcess {
    if (way === 'pipe') return this.#start('/bin/sh', ['-c', JOIN_OUTPUTS, this.#options.program]);
    return this.#start('script', ['-q', '-e', '-f', '-c', QUIET_TERMINAL, '/dev/null']);
  }

  launchFile(commands: readonly Command[]): ToolProcess {
    const { jobs, prng = systemPrng } = this.#options;
    const path = join(jobs, `${Buffer.from(prng.bytes(12)).toString('hex')}${ENDING}`);
    const remove = (): void => rmSync(path, { force: true });
    try {
      writeCommands(path, commands);
      return this.#start('/bin/sh', ['-c', JOIN_OUTPUTS, this.#options.program, '-f', path], remove);
    } catch (cause) {
      remove();
      if (cause instanceof AntipodeError) throw cause;
      throw new AntipodeError('FILE_UNWRITABLE', `cannot write ${path}`, { details: { path }, cause });
    }
  }

  #start(program: string, words: readonly string[], dispose: () => void = () => {}): ToolProcess {
    const { configuration, environment = {}, program: tool } = this.#options;
    const child = spawn('setpriv', [...WITH_ITS_PARENT, program, ...words], {
      stdio: ['pipe', 'pipe', 'pipe'],
      // A group of its own, so that everything that the tool starts ends with it.
      detached: true,
      env: {
        PATH: process.env['PATH'],
        ...environment,
        ChrystokiConfigurationPath: configuration,
        LUNACM_PROGRAM: tool,
      },
    });
    return new ChildTool(child, dispose);
  }
}

class ChildTool implements ToolProcess {
  readonly ended: Promise<ToolEnd>;
  readonly #child: ChildProcess;
  readonly #dispose: () => void;

  constructor(child: ChildProcess, dispose: () => void) {
    this.#child = child;
    this.#dispose = dispose;
    // A tool that has ended does not read. Its end is reported, and not the broken pipe.
    child.stdin?.on('error', () => {});
    this.ended = new Promise((resolve) => {
      child.once('error', () => {
        dispose();
        resolve({ status: undefined, signal: undefined });
      });
      // All output has been delivered by then.
      child.once('close', (status, signal) => {
        dispose();
        resolve({ status: status ?? undefined, signal: signal ?? undefined });
      });
    });
  }

  read(onOutput: (bytes: Uint8Array) => void): void {
    this.#child.stdout?.on('data', onOutput);
    this.#child.stderr?.on('data', onOutput);
  }

  write(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      if (this.#child.stdin?.writable !== true) resolve();
      else this.#child.stdin.write(bytes, () => resolve());
    });
  }

  endInput(): void {
    this.#child.stdin?.end();
  }

  kill(): void {
    const { pid } = this.#child;
    if (pid === undefined) return;
    try {
      process.kill(-pid, 'SIGKILL');
    } catch {
      // The group has ended.
    }
  }

  dispose(): void {
    this.#dispose();
  }
}

function writeCommands(path: string, commands: readonly Command[]): void {
  // Never through a file or a link that is there already.
  const file = openSync(path, 'wx', 0o600);
  try {
    for (const command of commands) {
      const line = lineOf(command);
      writeSync(file, line);
      line.fill(0);
    }
  } finally {
    closeSync(file);
  }
}
