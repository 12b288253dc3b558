/**
 * A network between machines of a test, and a place at its middle from which they are reached: where an operator sits.
 * All of it is in namespaces without names, so this machine's own network is left alone, and the kernel takes everything
 * away with the last process.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { systemClock } from '@antipode/runtime';
import type { Machine } from './machine.ts';

const PREFIX = '10.78.0.';
const POLL_MS = 20;

export interface Ended {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export class MachineNetwork {
  readonly #ports = new Map<Machine, string>();
  #hub: ChildProcess | undefined;

  async open(): Promise<void> {
    this.#hub = spawn('setpriv', ['--pdeathsig', 'KILL', '--', 'unshare', '--net', '--', 'sleep', 'infinity'], {
      stdio: 'ignore',
    });
    const ours = readlinkSync('/proc/self/ns/net');
    while (this.#hub.exitCode === null && readlinkSync(`/proc/${this.#hub.pid}/ns/net`) === ours)
      await systemClock.sleep(POLL_MS);
    this.#ip('link set lo up');
    this.#ip('link add bridge0 type bridge');
    this.#ip(`addr add ${PREFIX}1/24 dev bridge0`);
    this.#ip('link set bridge0 up');
  }

  /** Gives a machine that has booted its end of a cable. @returns its address */
  attach(machine: Machine): string {
    const number = this.#ports.size + 11;
    const port = `port${number}`;
    this.#ip(`link add ${port} type veth peer name eth0 netns ${machine.pid}`);
    this.#ip(`link set ${port} master bridge0`);
    this.#ip(`link set ${port} up`);
    machine.must(`ip addr add ${PREFIX}${number}/24 dev eth0 && ip link set eth0 up`);
    this.#ports.set(machine, port);
    return `${PREFIX}${number}`;
  }

  /** Pulls the cable of a machine, or puts it in again. */
  link(machine: Machine, state: 'up' | 'down'): void {
    this.#ip(`link set ${this.#ports.get(machine)} ${state}`);
  }

  /** The words that start a program in the middle. */
  get within(): readonly string[] {
    return ['nsenter', `--net=/proc/${this.#hub?.pid}/ns/net`, '--'];
  }

  /** Runs a program there to its end. */
  run(words: readonly string[], { cwd, env }: { cwd: string; env?: NodeJS.ProcessEnv | undefined }): Promise<Ended> {
    const [program = '', ...rest] = [...this.within, ...words];
    return new Promise((resolve) => {
      execFile(
        program,
        rest,
        { cwd, env: { ...process.env, ...env }, killSignal: 'SIGKILL', maxBuffer: 64 * 1024 * 1024 },
        (error, stdout, stderr) => {
          const status = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
          resolve({ status, stdout, stderr });
        },
      ).stdin?.end();
    });
  }

  close(): void {
    this.#hub?.kill('SIGKILL');
  }

  #ip(words: string): void {
    const [program = '', ...rest] = this.within;
    execFileSync(program, [...rest, 'ip', ...words.split(' ')], { stdio: 'pipe' });
  }
}
