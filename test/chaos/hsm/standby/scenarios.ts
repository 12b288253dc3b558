/** Where a standby stands when its apply begins, and every step of what it then does. */

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Violation } from '../judge/judge.ts';
import type { Workspace } from '../workspace.ts';
import type { Fixture, Standing } from './fixture.ts';
import {
  type Kill,
  type Pace,
  POINT_PHASES,
  POINT_VICTIMS,
  type PointPhase,
  type Points,
  type PointVictim,
  pointsIn,
  type Victim,
} from './kill.ts';
import type { Lane } from './lane.ts';

export interface Scenario {
  /** One word, for replays. */
  readonly name: string;
  readonly standing: Standing;
  /** Number of the generation that was begun here last. */
  readonly newestTried: number;
  /** Number of the generation that is applied. */
  readonly target: number;
  readonly pace: Pace;
  readonly steps: readonly string[];
  /** Inside of native cloning; empty where nothing is cloned. */
  readonly points: Points;
}

/**
 * `fresh`: an apply after an acknowledged one. The others begin after an apply that was killed when all of its keys
 * were made. `half`: the same apply again, with one half-made key. `exact`: the same, with a secret that was sealed
 * exactly. `skip`: a newer generation, as after a capture in
 * between. It is sealed under another domain key and gives the half key another name. `reseal`: the same, without a
 * half key.
 */
export async function recordScenarios(
  lane: Lane,
  { workspace, fixture, tell }: Recording,
): Promise<{ scenarios: Scenario[]; violations: Violation[] }> {
  const standing = (name: string): Standing => ({
    tokens: workspace.folder(`${name}/tokens`),
    data: workspace.folder(`${name}/data`),
  });
  const starts: Start[] = [
    { name: 'fresh', standing: fixture.start, newestTried: 1, target: 2 },
    { name: 'half', standing: standing('half'), newestTried: 2, target: 2, half: '"new issuer" 09' },
    {
      name: 'exact',
      standing: standing('exact'),
      newestTried: 2,
      target: 2,
      half: '"odd mac, second" 0d',
      made: EXACT,
    },
    { name: 'skip', standing: standing('skip'), newestTried: 2, target: 3, half: '"card key, second" 01' },
    { name: 'reseal', standing: standing('reseal'), newestTried: 2, target: 3 },
    ...(fixture.movement === 'native'
      ? [{ name: 'again', standing: standing('again'), newestTried: 2, target: 2 }]
      : []),
  ];
  const made = MADE[fixture.movement];
  const scenarios: Scenario[] = [];
  const violations: Violation[] = [];
  for (const { half, made: step = made, ...start } of starts) {
    // A clone is made whole or not at all.
    if (half !== undefined && fixture.movement === 'native') continue;
    if (start.newestTried > 1) await cutShort(lane, scenarios[0]!, { to: start.standing, half, made: step });
    lane.setBack(start.standing, start);
    const record = join(workspace.folder('points'), start.name);
    writeFileSync(record, '');
    const { life, violations: found } = await lane.run(start.target, { at: 'never' }, { record });
    violations.push(...found.map(({ harm, what }) => ({ harm, what: `${start.name}, without a kill: ${what}` })));
    if (life.ended !== 'acknowledged') break;
    const { steps, callMs, ms } = life;
    const points = pointsIn(readFileSync(record, 'utf8'));
    scenarios.push({ ...start, steps, points, pace: { totalMs: ms, callMs, steps: steps.length } });
    const counted = POINT_PHASES.filter((phase) => points[phase].length > 0).map(
      (phase) => `${points[phase].length} of the ${phase}`,
    );
    tell(`${start.name}: ${steps.length} steps${counted.length === 0 ? '' : `; points: ${counted.join(', ')}`}`);
  }
  return { scenarios, violations };
}

/** The step that has made the keys, by their movement, or the secrets that are sealed exactly. */
const MADE = { sealed: 'after provider.unwrap', native: 'after provider.putNative' } as const;
const EXACT = 'after provider.unwrapSecrets';

interface Start extends Pick<Scenario, 'name' | 'standing' | 'newestTried' | 'target'> {
  /** A key that is left half made. */
  readonly half?: string;
  /** The step behind which the apply before was killed. */
  readonly made?: string;
}

interface Recording {
  readonly workspace: Workspace;
  readonly fixture: Fixture;
  readonly tell: (text: string) => void;
}

/**
 * An apply that is killed when it has made its keys. The named key is left as a kill in the middle of its making leaves
 * it.
 */
async function cutShort(
  lane: Lane,
  from: Scenario,
  { to, half, made }: { to: Standing; half: string | undefined; made: string },
): Promise<void> {
  const step = from.steps.indexOf(made);
  if (step === -1) throw new Error(`no step of the apply is "${made}"`);
  lane.setBack(from.standing, from);
  await lane.run(from.target, { at: 'step', step, victim: 'agent' });
  if (half !== undefined) await lane.halve(half, from.standing);
  lane.save(to);
}

/** One chain of kills from one standing, by a name that says which. */
export interface Episode {
  readonly name: string;
  readonly scenario: Scenario;
  readonly first: Kill | undefined;
  /** Whether the generations after are applied, too. */
  readonly goesOn: boolean;
}

export const STEP_VICTIMS = ['agent', 'worker-first', 'group'] as const satisfies readonly Victim[];

export function stepEpisode(scenario: Scenario, step: number, victim: (typeof STEP_VICTIMS)[number]): Episode {
  const first = { at: 'step', step, victim } as const;
  return { name: `${scenario.name}.${step}.${victim}`, scenario, first, goesOn: false };
}

export function pointEpisode(
  scenario: Scenario,
  { phase, index, victim }: { phase: PointPhase; index: number; victim: PointVictim },
): Episode {
  const first = { at: 'point', phase, index, victim } as const;
  return { name: `${scenario.name}.${phase}-${index}.${victim}`, scenario, first, goesOn: false };
}

/** The number decides where it begins, and the seed all the rest. */
export function randomEpisode(scenarios: readonly Scenario[], number: number): Episode {
  return { name: `random.${number}`, scenario: scenarios[number % scenarios.length]!, first: undefined, goesOn: true };
}

/** The episode with this name. Undefined where there is none of that name. */
export function episodeOf(name: string, scenarios: readonly Scenario[]): Episode | undefined {
  const [kind, step = '', victim] = name.split('.');
  if (kind === 'random' && /^\d+$/.test(step)) return randomEpisode(scenarios, Number(step));
  const scenario = scenarios.find((one) => one.name === kind);
  const at = /^([a-z]+)-(\d+)$/.exec(step);
  const phase = POINT_PHASES.find((one) => one === at?.[1]);
  const pointVictim = POINT_VICTIMS.find((one) => one === victim);
  if (scenario !== undefined && phase !== undefined && pointVictim !== undefined)
    return pointEpisode(scenario, { phase, index: Number(at?.[2]), victim: pointVictim });
  const known = STEP_VICTIMS.find((one) => one === victim);
  if (scenario === undefined || known === undefined || !/^\d+$/.test(step)) return undefined;
  return stepEpisode(scenario, Number(step), known);
}

/** The steps that find something else than the one before: a call to the token or a change of the journal lies between. */
export function distinctSteps({ steps }: Scenario): number[] {
  const isEffect = (name: string): boolean => /^after (provider\.|journal\.(\w+\.)?(set|begin|commit))/.test(name);
  return [0, ...[...steps.keys()].filter((index) => isEffect(steps[index]!))];
}
