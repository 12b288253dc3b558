/** When, and how, the standby process is killed; told to it as JSON. */
import type { Prng } from '@antipode/runtime';
import type { Movement } from '../options.ts';

/**
 * The victim. The agent, and its worker by PDEATHSIG; the worker and then the agent; both at once, as a process group;
 * or the worker alone, which the agent survives.
 */
export type Victim = 'agent' | 'worker-first' | 'group' | 'worker';

export type Kill =
  | { readonly at: 'never' }
  /** Before or after the n-th call of journal or provider since the process began. */
  | { readonly at: 'step'; readonly step: number; readonly victim: Exclude<Victim, 'worker'> }
  /** In the first call of this name, so long after it was sent. */
  | { readonly at: 'call'; readonly call: string; readonly afterMicros: number; readonly victim: Victim }
  /** At the n-th point of a phase of native cloning, in the process that does it. */
  | { readonly at: 'point'; readonly phase: PointPhase; readonly index: number; readonly victim: PointVictim }
  /** From outside, so long after the apply began. */
  | { readonly at: 'moment'; readonly afterMs: number };

/**
 * The phases of a native move. The source takes objects and encrypts them, the standby decrypts, places and compares
 * them. Before all of it the standby's token gets the token key of the source.
 */
export const POINT_PHASES = ['taking', 'encryption', 'decryption', 'placing', 'comparison', 'enrolment'] as const;
export type PointPhase = (typeof POINT_PHASES)[number];
export type PointVictim = 'group' | 'agent' | 'worker';
export const POINT_VICTIMS: readonly PointVictim[] = ['group', 'agent', 'worker'];

/** The points of one phase, by what comes next at each. */
export type Points = Readonly<Record<PointPhase, readonly string[]>>;

/** For `points.ts`, in this variable of its environment. */
export const POINTS_ORDER = 'ANTIPODE_KILL_POINTS';
export interface PointOrder {
  /** A file to which each point is written. */
  readonly record?: string;
  readonly kill?: Extract<Kill, { at: 'point' }>;
  /** A file that says that the kill has happened. */
  readonly mark: string;
}

/** Environment of a process whose points count. */
export const pointsEnvironment = (order: PointOrder): Record<string, string> => ({
  NODE_OPTIONS: `--import=${new URL('./points.ts', import.meta.url).href}`,
  [POINTS_ORDER]: JSON.stringify(order),
});

/** The points that a process has recorded. */
export function pointsIn(text: string): Points {
  const points = Object.fromEntries(POINT_PHASES.map((phase) => [phase, [] as string[]])) as Record<
    PointPhase,
    string[]
  >;
  for (const line of text.split('\n').filter(Boolean)) {
    const [phase = '', ...name] = line.split(' ');
    points[phase as PointPhase].push(name.join(' '));
  }
  return points;
}

/** How long an apply without a kill takes, and its parts. */
export interface Pace {
  readonly totalMs: number;
  readonly callMs: Readonly<Record<string, number>>;
  readonly steps: number;
}

/** The calls that change the token, the most interesting one most often; proofs, since an apply must not end before them. */
const KEY_CALLS: Readonly<Record<Movement, readonly string[]>> = {
  sealed: ['unwrap', 'unwrap', 'unwrap', 'unwrap', 'unwrapSecrets', 'unwrapSecrets', 'openExactKey'],
  native: ['putNative', 'putNative', 'putNative', 'putNative', 'putNative', 'putNative'],
};
const CALLS = ['create', 'createData', 'destroy', 'destroy', 'prove', 'inventory'] as const;
const VICTIMS: readonly Victim[] = ['group', 'group', 'agent', 'worker-first', 'worker', 'worker'];

export function randomKill(prng: Prng, { totalMs, callMs, steps }: Pace, movement: Movement): Kill {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(prng.fraction() * list.length)]!;
  const kind = prng.fraction();
  if (kind < 0.25) return { at: 'moment', afterMs: Math.round(prng.fraction() * totalMs * 1.1) };
  if (kind < 0.45) {
    const victim = pick(['agent', 'worker-first', 'group'] as const);
    return { at: 'step', step: Math.floor(prng.fraction() * steps), victim };
  }
  const call = pick([...KEY_CALLS[movement], ...CALLS]);
  const micros = Math.round(prng.fraction() * (callMs[call] ?? 5) * 1_200);
  return { at: 'call', call, afterMicros: micros, victim: pick(VICTIMS) };
}

export function describeKill(kill: Kill): string {
  switch (kill.at) {
    case 'never':
      return 'none';
    case 'step':
      return `${kill.victim} at step ${kill.step}`;
    case 'call':
      return `${kill.victim} ${kill.afterMicros} us into ${kill.call}`;
    case 'point':
      return `${kill.victim} at point ${kill.index} of the ${kill.phase}`;
    case 'moment':
      return `group after ${kill.afterMs} ms`;
  }
}
