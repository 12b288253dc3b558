/** Where a standby stands when its apply begins, and every step of what it then does. */

import type { Fixture, Standing } from './fixture.ts';
import type { Violation } from './judge.ts';
import type { Kill, Pace, Victim } from './kill.ts';
import type { Lane } from './lane.ts';
import type { Seen } from './token-reader.ts';
import type { Workspace } from './workspace.ts';

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
}

/**
 * `fresh`: an apply after one that was acknowledged. `half`: the same once more, after a kill that left a half key. `skip`:
 * after such a kill, a newer generation than the one that was begun, as when a capture came in between; and the half key
 * has names that only the one that was begun gave it.
 */
export async function recordScenarios(
  lane: Lane,
  { workspace, fixture, tell }: Recording,
): Promise<{ scenarios: Scenario[]; violations: Violation[] }> {
  const standing = (name: string): Standing => ({
    tokens: workspace.folder(`${name}/tokens`),
    data: workspace.folder(`${name}/data`),
  });
  const starts = [
    { name: 'fresh', standing: fixture.start, newestTried: 1, target: 2, half: undefined },
    { name: 'half', standing: standing('half'), newestTried: 2, target: 2, half: { wanted: undefined } },
    { name: 'skip', standing: standing('skip'), newestTried: 2, target: 3, half: { wanted: ONLY_SECOND } },
  ];
  const scenarios: Scenario[] = [];
  const violations: Violation[] = [];
  for (const { half, ...start } of starts) {
    if (half !== undefined) {
      const from = scenarios[0]!;
      const made = fixture.generations[from.target - 1]!;
      const left = await leaveHalfKey(lane, { from, to: start.standing, made, ...half });
      tell(
        `${start.name}: ${left === undefined ? 'no kill left such a half key' : `begins with the half key ${left}`}`,
      );
      if (left === undefined) continue;
    }
    lane.setBack(start.standing, start);
    const { life, violations: found } = await lane.run(start.target, { at: 'never' });
    violations.push(...found.map(({ harm, what }) => ({ harm, what: `${start.name}, without a kill: ${what}` })));
    if (life.ended !== 'acknowledged') break;
    const { steps, callMs, ms } = life;
    scenarios.push({ ...start, steps, pace: { totalMs: ms, callMs, steps: steps.length } });
    tell(`${start.name}: ${steps.length} steps`);
  }
  return { scenarios, violations };
}

interface Recording {
  readonly workspace: Workspace;
  readonly fixture: Fixture;
  readonly tell: (text: string) => void;
}

/** A key that the second generation names as neither the first nor the third does. */
const ONLY_SECOND = '"card key, second" 01';
const HALF_TRIES_MAX = 60;

/** Aims at one key, or at any, by what the kill before has met. Tells which it was. */
async function leaveHalfKey(
  lane: Lane,
  { from, to, wanted, made }: { from: Scenario; to: Standing; wanted: string | undefined; made: readonly Seen[] },
): Promise<string | undefined> {
  const unwrapMs = from.pace.callMs['unwrap'] ?? 5;
  const aim = made.find(({ name }) => name === wanted);
  let afterMs = unwrapMs / 2;
  for (let tries = 1; tries <= HALF_TRIES_MAX; tries += 1) {
    lane.setBack(from.standing, from);
    const afterMicros = Math.max(0, Math.round(afterMs * 1_000));
    const kill = { at: 'call', call: 'unwrap', afterMicros, victim: 'group' } as const;
    const { violations, halfKeys, seen } = await lane.run(from.target, kill);
    const [left] = halfKeys;
    if (violations.length === 0 && left !== undefined && (wanted === undefined || left.name === wanted)) {
      lane.save(to);
      return left.name;
    }
    const isThere = seen.some(({ print, form }) => print === aim?.print && form === aim?.form);
    afterMs += ((isThere ? -1 : 1) * unwrapMs) / (4 + tries);
  }
  return undefined;
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

/** The number decides where it begins, and the seed all the rest. */
export function randomEpisode(scenarios: readonly Scenario[], number: number): Episode {
  return { name: `random.${number}`, scenario: scenarios[number % scenarios.length]!, first: undefined, goesOn: true };
}

/** What has been given by `name` of an episode. Undefined where there is none of that name. */
export function episodeOf(name: string, scenarios: readonly Scenario[]): Episode | undefined {
  const [kind, step = '', victim] = name.split('.');
  if (kind === 'random' && /^\d+$/.test(step)) return randomEpisode(scenarios, Number(step));
  const scenario = scenarios.find((one) => one.name === kind);
  const known = STEP_VICTIMS.find((one) => one === victim);
  if (scenario === undefined || known === undefined || !/^\d+$/.test(step)) return undefined;
  return stepEpisode(scenario, Number(step), known);
}

/** The steps that find something else than the one before: a call to the token or a change of the journal lies between. */
export function distinctSteps({ steps }: Scenario): number[] {
  const isEffect = (name: string): boolean => /^after (provider\.|journal\.(set|begin|commit))/.test(name);
  return [0, ...[...steps.keys()].filter((index) => isEffect(steps[index]!))];
}
