/**
 * Makes the given number of kills, on two lanes at once, and counts the damage. Most kills hit the recorded steps of
 * the scenarios, in an order given by the seed. The rest hit anywhere.
 */
import { type Prng, seededPrng, systemClock } from '@antipode/runtime';
import type { Harm, Violation } from './judge/judge.ts';
import type { Movement } from './options.ts';
import { makeFixture } from './standby/fixture.ts';
import { describeKill, type Kill, randomKill } from './standby/kill.ts';
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
  readonly episodes: Iterator<Episode, undefined>;
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
    try {
      const recorded = await recordScenarios(lanes[0]!, { workspace: this.#workspace, fixture, tell });
      for (const violation of recorded.violations) this.#report({ ...violation, replay: `${seed}:${RECORD}` });
      const { episodes, kills, firsts, stepsAll } = this.#plan(recorded.scenarios);
      [this.#budget, this.#reserved] = [kills, firsts];
      this.#startMs = systemClock.monotonicMs();
      const work = async (lane: Lane): Promise<void> => {
        for (let next = episodes.next(); !next.done && this.#budget > 0; next = episodes.next())
          await this.#episode(lane, next.value);
      };
      await Promise.all(lanes.map(work));
      return {
        kills: this.#kills,
        harms: this.#harms,
        violations: this.#violations,
        stepsHit: this.#hit.size,
        stepNames: this.#stepNames,
        stepsAll,
        halfKeysLeft: this.#halfKeysLeft,
        readerCrashes: lanes.reduce((sum, lane) => sum + lane.readerCrashes, 0),
        kinds: this.#kinds,
        seconds: (systemClock.monotonicMs() - this.#startMs) / 1_000,
      };
    } finally {
      for (const lane of lanes) lane.close();
    }
  }

  #plan(scenarios: readonly Scenario[]): Plan {
    const { seed, kills, steps, replay } = this.#campaign;
    const none = (): Iterator<Episode, undefined> => ([] as Episode[]).values() as Iterator<Episode, undefined>;
    if (scenarios.length === 0 || replay === RECORD) return { episodes: none(), kills: 0, firsts: 0, stepsAll: 0 };
    if (replay !== undefined) {
      const episode = episodeOf(replay, scenarios);
      if (episode === undefined) throw new Error(`there is no episode "${replay}"`);
      return {
        episodes: Array(REPLAY_RUNS).fill(episode).values() as Iterator<Episode, undefined>,
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
    const first = steps === 'first-apply' ? planned : planned.slice(0, Math.ceil(kills * STEPS_SHARE));
    function* episodes(): Generator<Episode, undefined> {
      yield* first;
      for (let number = 0; ; number += 1) yield randomEpisode(scenarios, number);
    }
    return {
      episodes: episodes(),
      kills: kills + (steps === 'first-apply' ? first.length : 0),
      firsts: first.length,
      stepsAll: planned.length,
    };
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
      if (hasKilled) this.#count(episode, kill, halfKeys.length > 0);
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

  #count({ name, first, scenario }: Episode, kill: Kill, leftHalfKey: boolean): void {
    this.#kills += 1;
    if (kill === first) this.#hit.add(name);
    if (kill === first && kill.at === 'step') this.#stepNames.add(scenario.steps[kill.step]!);
    const kind =
      kill.at === 'call'
        ? `${kill.victim} in ${kill.call}`
        : kill.at === 'step'
          ? `${kill.victim} at a step`
          : 'group at a moment';
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
