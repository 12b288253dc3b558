/**
 * A network of the kernel's own for one program: a namespace for each place, joined by a bridge. Links that go down and
 * cuts in one direction are those of a real network: nothing is reset, and neither end hears of it. The program itself is
 * at the bridge. The namespaces have no names, so nothing else on the machine sees them, and the kernel takes them away
 * with the processes in them, however those end.
 */
import { execFile, execFileSync, spawn } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { promisify } from 'node:util';
import type { TownNetwork } from '@antipode/demo/town';
import { type Closeable, systemClock } from '@antipode/runtime';

const run = promisify(execFile);
const ENTERED = 'ANTIPODE_PRIVATE_NETWORK';
const BRIDGE = 'bridge0';
/** No network of this machine is reached from inside, so any will do. */
const PREFIX = '10.77.0.';
const POLL_MS = 20;
/** A station that is not there: the bridge takes frames for it, and nobody reads them. */
const NOBODY = '02:00:00:00:00:01';

interface Place {
  readonly address: string;
  /** Of the process that keeps the namespace. */
  readonly pid: number;
  /** The end of its link at the bridge. */
  readonly port: string;
}

/** Why this machine or this user makes no namespaces; undefined where it does. */
export function whyNoPrivateNetwork(): string | undefined {
  const trial = `ip link add ${BRIDGE} type bridge && ip link add one type veth peer name other`;
  try {
    execFileSync('unshare', ['--net', '--', 'sh', '-c', trial], { stdio: 'pipe' });
    return undefined;
  } catch (thrown) {
    const { stderr, message } = thrown as Error & { stderr?: Buffer };
    return stderr?.toString().trim().split('\n')[0] || message.split('\n')[0];
  }
}

/** True when this program has its own network. */
export const hasPrivateNetwork = (): boolean => process.env[ENTERED] === readlinkSync('/proc/self/ns/net');

/** Begins this program again, as the same process, with a network of its own. Does not return. */
export function enterPrivateNetwork(): never {
  const program = execFileSync('which', ['unshare']).toString().trim();
  const again = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  // The namespace has no name until it is there: the shell inside tells it to the program.
  const shell = `${ENTERED}=$(readlink /proc/self/ns/net) exec "$@"`;
  process.execve?.(program, ['unshare', '--net', '--', 'sh', '-c', shell, 'sh', ...again], process.env);
  throw new Error('this release of Node cannot begin a program again');
}

export class PrivateNetwork implements TownNetwork, Closeable {
  readonly #places = new Map<string, Place>();
  readonly #keepers: ReturnType<typeof spawn>[] = [];

  /** Only in a program that has a private network. */
  static async make(places: readonly string[]): Promise<PrivateNetwork> {
    const network = new PrivateNetwork();
    await ip('link', 'set', 'lo', 'up');
    await ip('link', 'add', BRIDGE, 'type', 'bridge');
    await ip('addr', 'add', `${PREFIX}1/24`, 'dev', BRIDGE);
    await ip('link', 'set', BRIDGE, 'up');
    for (const [index, place] of places.entries()) await network.#settle(place, index);
    return network;
  }

  /** Where this program itself is. */
  get hub(): string {
    return `${PREFIX}1`;
  }

  host(place: string): string {
    return this.#place(place).address;
  }

  within(place: string): readonly string[] {
    return ['nsenter', '--net', '--target', String(this.#place(place).pid), '--'];
  }

  /** Like a cable that is pulled, somewhere on the way: neither end gets a word. */
  async linkDown(place: string): Promise<void> {
    await ip('link', 'set', this.#place(place).port, 'down');
  }

  async linkUp(place: string): Promise<void> {
    await ip('link', 'set', this.#place(place).port, 'up');
  }

  /** Loses everything that the first place sends to the second from now on. */
  async cut(from: string, to: string): Promise<void> {
    await this.#ipAt(from, 'neigh', 'replace', this.host(to), 'lladdr', NOBODY, 'dev', 'eth0', 'nud', 'permanent');
  }

  async mend(from: string, to: string): Promise<void> {
    await this.#ipAt(from, 'neigh', 'del', this.host(to), 'dev', 'eth0');
  }

  /** Every process in it has ended before. */
  async close(): Promise<void> {
    for (const keeper of this.#keepers.splice(0)) keeper.kill('SIGKILL');
    for (const { port } of this.#places.values()) await ip('link', 'del', port).catch(() => undefined);
    this.#places.clear();
    await ip('link', 'del', BRIDGE).catch(() => undefined);
  }

  async #settle(name: string, index: number): Promise<void> {
    const keeper = spawn('setpriv', ['--pdeathsig', 'KILL', '--', 'unshare', '--net', '--', 'sleep', 'infinity'], {
      stdio: 'ignore',
    });
    this.#keepers.push(keeper);
    const pid = keeper.pid!;
    const ours = readlinkSync('/proc/self/ns/net');
    while (keeper.exitCode === null && readlinkSync(`/proc/${pid}/ns/net`) === ours) await systemClock.sleep(POLL_MS);
    const place: Place = { address: `${PREFIX}${index + 11}`, pid, port: `port${index}` };
    this.#places.set(name, place);
    await ip('link', 'add', place.port, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(pid));
    await ip('link', 'set', place.port, 'master', BRIDGE);
    await ip('link', 'set', place.port, 'up');
    await this.#ipAt(name, 'link', 'set', 'lo', 'up');
    await this.#ipAt(name, 'addr', 'add', `${place.address}/24`, 'dev', 'eth0');
    await this.#ipAt(name, 'link', 'set', 'eth0', 'up');
  }

  #place(name: string): Place {
    const place = this.#places.get(name);
    if (place === undefined) throw new Error(`the network has no place ${name}`);
    return place;
  }

  async #ipAt(place: string, ...words: string[]): Promise<void> {
    const [program, ...rest] = this.within(place) as [string, ...string[]];
    await run(program, [...rest, 'ip', ...words]);
  }
}

const ip = (...words: string[]): Promise<unknown> => run('ip', words);
