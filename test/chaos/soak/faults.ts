/** The faults of a soak: each begins, lasts a while, and heals. Chance decides which, where, when and how long. */
import { readdirSync, readFileSync } from 'node:fs';
import { type Prng, systemClock } from '@antipode/runtime';
import type { TestSystem } from '../../support/system.ts';
import type { Applications } from './applications.ts';
import { type Command, messageOf } from './command.ts';
import type { Supervisor } from './supervisor.ts';

export interface FaultContext {
  readonly system: TestSystem;
  readonly command: Command;
  readonly applications: Applications;
  readonly group: string;
  readonly prng: Prng;
  readonly tell: (text: string) => void;
  readonly supervisor: Supervisor;
  /** Shifts the wall clock of a process. */
  readonly setClock: (name: string, aheadMs: number) => void;
}

type Heal = () => Promise<void> | void;

interface Fault {
  readonly weight: number;
  /** How long it lasts, in seconds. */
  readonly seconds: readonly [number, number];
  readonly begin: (context: FaultContext) => Promise<Heal>;
}

const SITES = ['a', 'b', 'c'] as const;
const EVERYBODY = [...SITES, 'coordinator'] as const;

export const FAULTS: Readonly<Record<string, Fault>> = {
  agentKilled: {
    weight: 3,
    seconds: [0, 8],
    begin: async (context) => {
      const site = pick(context, SITES);
      return context.supervisor.takeDown(site);
    },
  },
  agentFrozen: {
    weight: 2,
    seconds: [1, 12],
    begin: async (context) => {
      const { process: agent } = context.system.site(pick(context, SITES));
      agent?.signal('SIGSTOP');
      return () => agent?.signal('SIGCONT');
    },
  },
  workerKilled: {
    weight: 2,
    seconds: [0, 1],
    begin: async (context) => {
      const pid = context.system.site(pick(context, SITES)).process?.pid;
      const workers = pid === undefined ? [] : descendants(pid);
      if (workers.length > 0) signal(pick(context, workers), 'SIGKILL');
      return () => {};
    },
  },
  coordinatorKilled: {
    weight: 2,
    seconds: [0, 6],
    begin: ({ supervisor }) => supervisor.takeDown('coordinator'),
  },
  coordinatorFrozen: {
    weight: 1,
    seconds: [1, 12],
    begin: async ({ system }) => {
      const pid = system.coordinatorProcess?.pid;
      if (pid !== undefined) signal(pid, 'SIGSTOP');
      return () => {
        if (pid !== undefined) signal(pid, 'SIGCONT');
      };
    },
  },
  databaseStalled: { weight: 3, seconds: [1, 20], begin: (context) => serverStalled(context, 'postgres') },
  queueStalled: { weight: 2, seconds: [1, 20], begin: (context) => serverStalled(context, 'redis-server') },
  databaseKilled: { weight: 1, seconds: [0, 1], begin: (context) => serverKilled(context, 'postgres') },
  queueKilled: { weight: 1, seconds: [0, 1], begin: (context) => serverKilled(context, 'redis-server') },
  siteUnreachable: {
    weight: 2,
    seconds: [1, 10],
    begin: async (context) => {
      const { inbound } = context.system.site(pick(context, SITES));
      if (context.prng.fraction() < 0.5) inbound?.cut();
      else inbound?.blackHole();
      return () => inbound?.heal();
    },
  },
  siteSilent: {
    weight: 2,
    seconds: [1, 10],
    begin: async (context) => {
      const { outbound } = context.system.site(pick(context, SITES));
      if (context.prng.fraction() < 0.5) outbound?.cut();
      else outbound?.blackHole();
      return () => outbound?.heal();
    },
  },
  siteIsolated: {
    weight: 2,
    seconds: [3, 15],
    begin: async (context) => {
      const { inbound, outbound } = context.system.site(pick(context, SITES));
      for (const link of [inbound, outbound]) link?.blackHole();
      return () => {
        for (const link of [inbound, outbound]) link?.heal();
      };
    },
  },
  clockStepped: {
    weight: 3,
    seconds: [1, 20],
    begin: async ({ prng, setClock, ...context }) => {
      const name = pick({ prng }, EVERYBODY);
      const seconds = Math.round((prng.fraction() - 0.5) * 7_200);
      context.tell(`  the clock of ${name} steps by ${seconds} s`);
      setClock(name, seconds * 1_000);
      return () => setClock(name, 0);
    },
  },
  plannedMove: {
    weight: 3,
    seconds: [0, 0],
    begin: async (context) => {
      await move(context, ['--to', pick(context, SITES)]);
      return () => {};
    },
  },
  forcedMove: {
    weight: 2,
    seconds: [2, 8],
    begin: async (context) => {
      const { supervisor, command, group } = context;
      const { data } = await command.run('resolve', group);
      const active = (data as { site?: string } | undefined)?.site ?? pick(context, SITES);
      const heal = await supervisor.takeDown(active);
      await move(context, []);
      return heal;
    },
  },
};

/** An operator who moves the group, and accepts no loss of what was acknowledged. */
async function move({ command, group, applications, tell }: FaultContext, to: readonly string[]): Promise<void> {
  const plan = await command.run('failover', group, ...to, '--dry-run');
  const { lostGenerations = [], needsAcceptLoss = false } = (plan.data ?? {}) as {
    lostGenerations?: string[];
    needsAcceptLoss?: boolean;
  };
  const isAcknowledgedLost = lostGenerations.some((number) => BigInt(number) <= applications.acknowledgedGeneration);
  const accept = needsAcceptLoss && !isAcknowledgedLost ? ['--accept-loss'] : [];
  const { status, stderr } = await command.run('failover', group, ...to, ...accept, '--yes', '--timeout', '40');
  tell(`  failover ${[...to, ...accept].join(' ')} ends with ${status} ${status === 0 ? '' : messageOf(stderr)}`);
}

async function serverStalled({ system }: FaultContext, program: string): Promise<Heal> {
  const pids = serverPids(system, program);
  for (const pid of pids) signal(pid, 'SIGSTOP');
  return () => {
    for (const pid of pids) signal(pid, 'SIGCONT');
  };
}

async function serverKilled({ system }: FaultContext, program: string): Promise<Heal> {
  const [first] = serverPids(system, program);
  if (first !== undefined) signal(first, 'SIGKILL');
  return () => {};
}

/** A server and its children, the server first. */
function serverPids({ coordinatorProcess }: TestSystem, program: string): number[] {
  const pid = coordinatorProcess?.pid;
  return pid === undefined ? [] : descendants(pid).filter((child) => commandOf(child) === program);
}

/** By proc(5), parents before their children. */
function descendants(root: number): number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    const parent = /^\d+$/.test(name) ? parentOf(Number(name)) : undefined;
    if (parent !== undefined) parents.set(Number(name), parent);
  }
  const found = [root];
  for (const pid of found) for (const [child, parent] of parents) if (parent === pid) found.push(child);
  return found.slice(1);
}

function parentOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return undefined;
  }
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return '';
  }
}

/** Of a process of this test. One that has ended needs none. */
function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ESRCH') throw cause;
  }
}

export function pick<T>({ prng }: Pick<FaultContext, 'prng'>, from: readonly T[]): T {
  return from[Math.floor(prng.fraction() * from.length)]!;
}

/** Lets faults come one after the other, sometimes two at once, until told to stop; then heals what is left. */
export class FaultStorm {
  readonly #context: FaultContext;
  readonly #stop = new AbortController();
  readonly #lasting = new Set<Promise<void>>();
  readonly counts: Record<string, number> = Object.fromEntries(Object.keys(FAULTS).map((name) => [name, 0]));
  #running: Promise<void> | undefined;

  constructor(context: FaultContext) {
    this.#context = context;
  }

  start(): void {
    this.#running = this.#blow();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    await Promise.all(this.#lasting);
  }

  async #blow(): Promise<void> {
    const { prng } = this.#context;
    while (!this.#stop.signal.aborted) {
      await systemClock.sleep(1_000 + prng.fraction() * 4_000, this.#stop.signal);
      while (this.#lasting.size > 1) await Promise.race(this.#lasting);
      if (this.#stop.signal.aborted) return;
      const lasting: Promise<void> = this.#inject(this.#choose()).finally(() => this.#lasting.delete(lasting));
      this.#lasting.add(lasting);
    }
  }

  #choose(): string {
    const entries = Object.entries(FAULTS);
    let left = this.#context.prng.fraction() * entries.reduce((sum, [, { weight }]) => sum + weight, 0);
    for (const [name, { weight }] of entries) {
      left -= weight;
      if (left < 0) return name;
    }
    return entries[0]![0];
  }

  async #inject(name: string): Promise<void> {
    const { seconds, begin } = FAULTS[name]!;
    const { prng, tell } = this.#context;
    const lastsMs = (seconds[0] + prng.fraction() * (seconds[1] - seconds[0])) * 1_000;
    this.counts[name] = (this.counts[name] ?? 0) + 1;
    tell(`fault ${name}${lastsMs > 0 ? `, for ${(lastsMs / 1_000).toFixed(1)} s` : ''}`);
    const heal = await begin(this.#context);
    await systemClock.sleep(lastsMs, this.#stop.signal);
    await heal();
  }
}
