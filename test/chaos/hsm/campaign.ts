/**
 * Makes the given number of kills, on two lanes at once, and counts the damage. Most kills hit the recorded steps of
 * the scenarios, in an order given by the seed. The rest hit anywhere.
 */
import { type Prng, seededPrng, systemClock } from '@antipode/runtime';
import type { Harm, Violation } from './judge/judge.ts';
import { NATIVE_PARTS, NativeLane, type NativePart } from './native/native-lane.ts';
import { type NativeEpisode, nativeEpisodeOf, type Phase, placeOf, planPoints } from './native/point-plan.ts';
import type { Movement } from './options.ts';
import { makeFixture } from './standby/fixture.ts';
import { describeKill, type Kill, type Points, randomKill } from './standby/kill.ts';
import { Lane } from './standby/lane.ts';
import {
  distinctSteps,
  type Episode,
  episodeOf,
  randomEpisode,
  recordScenarios,
  type Scenario,
  STEP_VICTIMS,
  stepEpisode,
} from './standby/scenarios.ts';
import { Workspace } from './workspace.ts';

export interface Campaign {
  readonly seed: string;
  readonly kills: number;
  /** All recorded steps, as far as the kills reach; or the distinct ones of a first apply, once each and beside `kills`. */
  readonly steps: 'all' | 'first-apply';
  readonly isOnDisk: boolean;
  readonly movement: Movement;
  /** Name of one episode that is run again and again, and nothing else. */
  readonly replay?: string;
  readonly tell: (text: string) => void;
}

export interface Outcome {
  readonly kills: number;
  readonly harms: Readonly<Record<Harm, number>>;
  readonly violations: readonly (Violation & { readonly replay: string })[];
  /** Of the recorded steps, how many a kill has hit, and how many there are. */
  readonly stepsHit: number;
  readonly stepsAll: number;
  /** Names of the steps that a kill has hit. */
  readonly stepNames: ReadonlySet<string>;
  /** Kills that left a half key for the next apply to clean up: that they hit where it hurts. */
  readonly halfKeysLeft: number;
  /** Looks at a token that ended the process that looked; each was repeated. */
  readonly readerCrashes: number;
  readonly kinds: Readonly<Record<string, number>>;
  /** Of the points inside of native cloning, how many there are by phase, and how many kills each phase got. */
  readonly phases: Readonly<Record<string, { readonly points: number; readonly kills: number }>>;
  /** Kills at points, by phase and what came next there. */
  readonly pointNames: Readonly<Record<string, number>>;
  readonly seconds: number;
}

const LANES = 2;
/** A replay meets the same plan, not the same microsecond. */
const REPLAY_RUNS = 20;
/** Names what comes before the first episode: every scenario once, without a kill. */
const RECORD = 'record';
const NEWEST = 4;
/** After so many kills in a row, an apply is let through. */
const KILLS_IN_A_ROW_MAX = 4;
/** Where keys move natively: most kills fall inside of the cloning, in all phases alike. */
const POINTS_SHARE = 0.6;
const NATIVE_STEPS_SHARE = 0.2;
/** Enough for every recorded step where 2,000 kills are asked for. */
const STEPS_SHARE = 0.6;
const FOLLOW_UPS = [0, 1, 1, 2];
const TELL_EVERY = 50;

export async function run(campaign: Campaign): Promise<Outcome> {
  const workspace = new Workspace({ isOnDisk: campaign.isOnDisk });
  try {
    return await new Run(campaign, workspace).all();
  } finally {
    workspace.close();
  }
}

interface Plan {
  readonly episodes: Iterator<Episode | NativeEpisode, undefined>;
  readonly kills: number;
  /** How many of the episodes begin with a kill at a recorded step. */
  readonly firsts: number;
  readonly stepsAll: number;
}

class Run {
  readonly #campaign: Campaign;
  readonly #workspace: Workspace;
  readonly #harms: Record<Harm, number> = {
    lost: 0,
    halfKeys: 0,
    foreignDestroyed: 0,
    duplicates: 0,
    deletedAnswers: 0,
    stuck: 0,
  };
  readonly #violations: (Violation & { replay: string })[] = [];
  readonly #kinds: Record<string, number> = {};
  readonly #hit = new Set<string>();
  readonly #stepNames = new Set<string>();
  readonly #pointNames: Record<string, number> = {};
  readonly #phaseKills: Partial<Record<Phase, number>> = {};
  #phasePoints: ReadonlyMap<Phase, number> = new Map();
  /** The points of the parts that have no scenario. */
  readonly #parts = new Map<NativePart, Points>();
  #kills = 0;
  #budget = 0;
  /** Of the budget, what the recorded steps still need: the kills that follow on them must not use it up. */
  #reserved = 0;
  #halfKeysLeft = 0;
  #startMs = 0;

  constructor(campaign: Campaign, workspace: Workspace) {
    this.#campaign = campaign;
    this.#workspace = workspace;
  }

  async all(): Promise<Outcome> {
    const { seed, tell } = this.#campaign;
    tell('making the keys, four generations of them, and a standby ...');
    const fixture = await makeFixture(this.#workspace, this.#campaign.movement);
    const lanes = Array.from({ length: LANES }, (_, index) => new Lane(this.#workspace, fixture, `lane-${index + 1}`));
    const { native } = fixture;
    const nativeLanes = lanes.flatMap((_, index) =>
      native === undefined ? [] : new NativeLane(this.#workspace, { fixture, native, name: `native-${index + 1}` }),
    );
    try {
      const recorded = await recordScenarios(lanes[0]!, { workspace: this.#workspace, fixture, tell });
      for (const violation of recorded.violations) this.#report({ ...violation, replay: `${seed}:${RECORD}` });
      for (const part of nativeLanes.length === 0 ? [] : NATIVE_PARTS) {
        this.#parts.set(part, await nativeLanes[0]!.record(part));
        const counted = Object.entries(this.#parts.get(part)!).filter(([, points]) => points.length > 0);
        tell(`${part}: points: ${counted.map(([phase, points]) => `${points.length} of the ${phase}`).join(', ')}`);
      }
      for (const lane of nativeLanes) lane.expect(nativeLanes[0]!);
      const { episodes, kills, firsts, stepsAll } = this.#plan(recorded.scenarios);
      [this.#budget, this.#reserved] = [kills, firsts];
      this.#startMs = systemClock.monotonicMs();
      const work = async (lane: Lane, nativeLane: NativeLane | undefined): Promise<void> => {
        for (let next = episodes.next(); !next.done && this.#budget > 0; next = episodes.next())
          await ('part' in next.value ? this.#nativeEpisode(nativeLane!, next.value) : this.#episode(lane, next.value));
      };
      await Promise.all(lanes.map((lane, index) => work(lane, nativeLanes[index])));
      return {
        kills: this.#kills,
        harms: this.#harms,
        violations: this.#violations,
        stepsHit: this.#hit.size,
        stepNames: this.#stepNames,
        stepsAll,
        halfKeysLeft: this.#halfKeysLeft,
        readerCrashes: [...lanes, ...nativeLanes].reduce((sum, lane) => sum + lane.readerCrashes, 0),
        kinds: this.#kinds,
        phases: Object.fromEntries(
          [...this.#phasePoints].map(([phase, points]) => [phase, { points, kills: this.#phaseKills[phase] ?? 0 }]),
        ),
        pointNames: this.#pointNames,
        seconds: (systemClock.monotonicMs() - this.#startMs) / 1_000,
      };
    } finally {
      for (const lane of [...lanes, ...nativeLanes]) lane.close();
    }
  }

  #plan(scenarios: readonly Scenario[]): Plan {
    const { seed, kills, steps, replay } = this.#campaign;
    const none = (): Plan['episodes'] => ([] as Episode[]).values() as Plan['episodes'];
    if (scenarios.length === 0 || replay === RECORD) return { episodes: none(), kills: 0, firsts: 0, stepsAll: 0 };
    if (replay !== undefined) {
      const episode = episodeOf(replay, scenarios) ?? nativeEpisodeOf(replay);
      if (episode === undefined) throw new Error(`there is no episode "${replay}"`);
      return {
        episodes: Array(REPLAY_RUNS).fill(episode).values() as Plan['episodes'],
        kills: Number.POSITIVE_INFINITY,
        firsts: 0,
        stepsAll: 0,
      };
    }
    const order = seededPrng(`${seed}:order`);
    const fresh = scenarios[0]!;
    const planned =
      steps === 'first-apply'
        ? distinctSteps(fresh).map((step, index) =>
            stepEpisode(fresh, step, STEP_VICTIMS[index % STEP_VICTIMS.length]!),
          )
        : shuffled(
            scenarios.flatMap((scenario) =>
              [...scenario.steps.keys()].flatMap((step) =>
                STEP_VICTIMS.slice(0, 2).map((victim) => stepEpisode(scenario, step, victim)),
              ),
            ),
            order,
          );
    const spreadOut = steps === 'first-apply' ? undefined : planPoints({ scenarios, parts: this.#parts, prng: order });
    this.#phasePoints = spreadOut?.points ?? new Map();
    const points = spreadOut?.episodes.slice(0, Math.ceil(kills * POINTS_SHARE)) ?? [];
    const share = points.length > 0 ? NATIVE_STEPS_SHARE : STEPS_SHARE;
    const first = steps === 'first-apply' ? planned : planned.slice(0, Math.ceil(kills * share));
    function* episodes(): Generator<Episode | NativeEpisode, undefined> {
      yield* points;
      yield* first;
      for (let number = 0; ; number += 1) yield randomEpisode(scenarios, number);
    }
    return {
      episodes: episodes(),
      kills: kills + (steps === 'first-apply' ? first.length : 0),
      firsts: points.length + first.length,
      stepsAll: planned.length,
    };
  }

  async #nativeEpisode(lane: NativeLane, { name, part, kill }: NativeEpisode): Promise<void> {
    this.#budget -= 1;
    this.#reserved -= 1;
    const { hasKilled, violations } = await lane.run(part, kill);
    if (hasKilled) this.#count({ name, points: this.#parts.get(part) }, kill, { isFirst: true, leftHalfKey: false });
    else this.#budget += 1;
    for (const violation of violations) this.#report({ ...violation, replay: `${this.#campaign.seed}:${name}` });
  }

  /** From a standing to a generation that is acknowledged, with kills on the way; then, it may be, to the next one. */
  async #episode(lane: Lane, episode: Episode): Promise<void> {
    const { scenario, first, goesOn, name } = episode;
    const prng = seededPrng(`${this.#campaign.seed}:${name}`);
    lane.setBack(scenario.standing, scenario);
    const history: string[] = [];
    let { target } = scenario;
    let inARow = 0;
    let followUps =
      first === undefined ? Number.POSITIVE_INFINITY : FOLLOW_UPS[Math.floor(prng.fraction() * FOLLOW_UPS.length)]!;
    for (let kill = first ?? this.#random(prng, scenario); ; ) {
      const isFirst = kill === first;
      if (isFirst) this.#reserved -= 1;
      const mayKill = kill.at !== 'never' && (isFirst || this.#budget > this.#reserved);
      if (mayKill) this.#budget -= 1;
      const { life, violations, halfKeys } = await lane.run(target, mayKill ? kill : { at: 'never' });
      const hasKilled = life.ended === 'killed' || (life.ended === 'acknowledged' && life.workerKilled);
      if (mayKill && !hasKilled) this.#budget += 1;
      if (hasKilled) this.#count({ ...scenario, name }, kill, { isFirst, leftHalfKey: halfKeys.length > 0 });
      history.push(`generation ${target}, kill ${mayKill ? describeKill(kill) : 'none'}: ${life.ended}`);
      if (violations.length > 0) {
        for (const violation of violations)
          this.#report({ ...violation, replay: `${this.#campaign.seed}:${name}` }, history);
        return;
      }
      if (life.ended === 'acknowledged') {
        if (!goesOn || target === NEWEST || this.#budget <= 0) return;
        [target, inARow] = [target + 1, 0];
      } else {
        inARow += 1;
        // A capture came meanwhile: the newer generation is ordered, and the one that was cut short never again.
        if (goesOn && target < NEWEST && prng.fraction() < 0.1) target += 1;
      }
      followUps -= hasKilled && kill !== first ? 1 : 0;
      kill = followUps > 0 && inARow < KILLS_IN_A_ROW_MAX ? this.#random(prng, scenario) : { at: 'never' };
    }
  }

  #random(prng: Prng, { pace }: Scenario): Kill {
    return randomKill(prng, pace, this.#campaign.movement);
  }

  #count(
    { name, steps = [], points }: { name: string; steps?: readonly string[]; points?: Points | undefined },
    kill: Kill,
    { isFirst, leftHalfKey }: { isFirst: boolean; leftHalfKey: boolean },
  ): void {
    this.#kills += 1;
    if (isFirst && kill.at === 'step') {
      this.#hit.add(name);
      this.#stepNames.add(steps[kill.step]!);
    }
    const place = placeOf(kill, { steps, points });
    if (place !== undefined) {
      this.#phaseKills[place.phase] = (this.#phaseKills[place.phase] ?? 0) + 1;
      const point = `${place.phase}: ${place.name}`;
      this.#pointNames[point] = (this.#pointNames[point] ?? 0) + 1;
    }
    const kind =
      kill.at === 'call'
        ? `${kill.victim} in ${kill.call}`
        : kill.at === 'moment' || kill.at === 'never'
          ? 'group at a moment'
          : `${kill.victim} at a ${kill.at}`;
    this.#kinds[kind] = (this.#kinds[kind] ?? 0) + 1;
    if (leftHalfKey) this.#halfKeysLeft += 1;
    if (this.#kills % TELL_EVERY !== 0) return;
    const rate = this.#kills / ((systemClock.monotonicMs() - this.#startMs) / 1_000);
    this.#campaign.tell(
      `${this.#kills} kills, ${rate.toFixed(2)} a second, ${this.#halfKeysLeft} left a half key, ${this.#violations.length} violations`,
    );
  }

  #report(violation: Violation & { replay: string }, history: readonly string[] = []): void {
    this.#harms[violation.harm] += 1;
    this.#violations.push(violation);
    const { harm, what, replay } = violation;
    this.#campaign.tell(
      `VIOLATION ${harm}: ${what}\n  replay: npm run chaos:hsm -- --movement ${this.#campaign.movement} --replay "${replay}"${history.map((line) => `\n  ${line}`).join('')}`,
    );
  }
}

function shuffled<T>(list: readonly T[], prng: Prng): T[] {
  const result = [...list];
  for (let index = result.length - 1; index > 0; index -= 1) {
    const other = Math.floor(prng.fraction() * (index + 1));
    [result[index], result[other]] = [result[other]!, result[index]!];
  }
  return result;
}
