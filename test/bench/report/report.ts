/** The result of a run: one object for programs, tables for people. Every figure says whether it meets its target. */

import type { DashboardResult } from '../measures/dashboard.ts';
import type { HistoryResult } from '../measures/history.ts';
import type { FullRound, IncrementalRound, ScriptRound } from '../measures/measurements.ts';
import type { Moved, MoveResult } from '../measures/move.ts';
import type { NativeRound } from '../measures/native.ts';
import type { WanResult } from '../measures/wan.ts';
import type { Fleet } from '../options.ts';
import type { Commit, Machine, Versions } from '../places/machine.ts';
import type { CallTimes } from '../places/member.ts';
import type { ScaleResult } from '../scale/run.ts';
import { median, rounded } from './statistics.ts';

export interface Report {
  readonly bench: 1;
  readonly startedAt: string;
  readonly seconds: number;
  readonly command: string;
  readonly commit: Commit;
  readonly machine: Machine;
  readonly versions: Versions;
  /** Load average of the last minute, before and after. */
  readonly load: { readonly before: number; readonly after: number };
  readonly rounds: number;
  readonly figures: Figures;
  /** The measurements that were left out, and why. */
  readonly notes: readonly string[];
}

export interface Figures {
  full?: FullFigure;
  fullOnDisk?: FullFigure;
  aes?: AesFigure;
  unchanged?: UnchangedFigure;
  newKey?: NewKeyFigure;
  sites?: SitesFigure;
  memory?: MemoryFigure;
  move?: MoveFigure;
  history?: HistoryFigure;
  native?: NativeFigure;
  scale?: ScaleFigure;
  dashboard?: DashboardFigure;
}

export interface FullFigure {
  readonly keys: number;
  readonly objects: number;
  readonly oursMs: number;
  readonly floorMs: number | null;
  readonly ratio: number | null;
  readonly target: number;
  readonly isMet: boolean | null;
  readonly phasesMs: { readonly seal: number; readonly unseal: number; readonly readBack: number };
  /** Medians by call to the provider, at both ends. */
  readonly callsMs: { readonly source: Record<string, number>; readonly target: Record<string, number> };
  readonly floorPhasesMs: Record<'find' | 'read' | 'wrap' | 'unwrap' | 'create' | 'use', number> | null;
  readonly roundsMs: readonly { readonly ours: number; readonly floor: number | null }[];
}

const callsOf = (rounds: readonly CallTimes[]): Record<string, number> =>
  Object.fromEntries(
    Object.keys(rounds[0] ?? {}).map((name) => [name, rounded(median(rounds.map((one) => one[name]?.ms ?? 0)), 1)]),
  );

export function fullFigure(
  rounds: readonly FullRound[],
  { keys, objects, target }: { keys: number; objects: number; target: number },
): FullFigure {
  const floors = rounds.flatMap(({ floor }) => floor ?? []);
  const ratios = rounds.flatMap(({ ours, floor }) => (floor === undefined ? [] : [ours.totalMs / floor.totalMs]));
  const ratio = ratios.length === 0 ? null : rounded(median(ratios));
  const ours = (of: (one: FullRound['ours']) => number): number =>
    rounded(median(rounds.map((one) => of(one.ours))), 1);
  const bare = (of: (one: (typeof floors)[number]) => number): number => rounded(median(floors.map(of)), 1);
  return {
    keys,
    objects,
    oursMs: ours(({ totalMs }) => totalMs),
    floorMs: floors.length === 0 ? null : bare(({ totalMs }) => totalMs),
    ratio,
    target,
    isMet: ratio === null ? null : ratio <= target,
    phasesMs: {
      seal: ours(({ sealMs }) => sealMs),
      unseal: ours(({ unsealMs }) => unsealMs),
      readBack: ours(({ readBackMs }) => readBackMs),
    },
    callsMs: {
      source: callsOf(rounds.map(({ ours: { sourceCalls } }) => sourceCalls)),
      target: callsOf(rounds.map(({ ours: { targetCalls } }) => targetCalls)),
    },
    floorPhasesMs:
      floors.length === 0
        ? null
        : {
            find: bare(({ source }) => source.findMs),
            read: bare(({ source }) => source.readMs),
            wrap: bare(({ source }) => source.wrapMs),
            unwrap: bare(({ target: { unwrapMs } }) => unwrapMs),
            create: bare(({ target: { createMs } }) => createMs),
            use: bare(({ target: { useMs } }) => useMs),
          },
    roundsMs: rounds.map((one) => ({
      ours: rounded(one.ours.totalMs, 1),
      floor: one.floor === undefined ? null : rounded(one.floor.totalMs, 1),
    })),
  };
}

export interface AesFigure extends FullFigure {
  readonly script: { readonly perKeyMs: number; readonly sampledKeys: number; readonly scaledMs: number };
  /** Our time against the script's, scaled from the sample to all keys. */
  readonly timesAsFast: number;
}

export function aesFigure(
  rounds: readonly FullRound[],
  { script, keys, target }: { script: readonly ScriptRound[]; keys: number; target: number },
): AesFigure {
  const figure = fullFigure(rounds, { keys, objects: keys, target });
  const perKeyMs = rounded(median(script.map((one) => one.perKeyMs)), 1);
  const timesAsFast = rounded((perKeyMs * keys) / figure.oursMs, 1);
  return {
    ...figure,
    isMet: timesAsFast >= target,
    script: {
      perKeyMs,
      sampledKeys: script.reduce((sum, one) => sum + one.keys, 0),
      scaledMs: rounded(perKeyMs * keys),
    },
    timesAsFast,
  };
}

export interface UnchangedFigure {
  readonly keys: number;
  readonly oursMs: number;
  /** One bare inventory pass. */
  readonly passMs: number | null;
  readonly findMs: number | null;
  readonly wrapUs: number | null;
  readonly ratio: number | null;
  readonly target: number;
  readonly isMet: boolean | null;
  readonly roundsMs: readonly { readonly ours: number; readonly pass: number | null }[];
}

export interface NewKeyFigure {
  readonly keys: number;
  readonly oursMs: number;
  readonly passMs: number | null;
  /** 1.5 x one bare pass + 500 ms. */
  readonly limitMs: number | null;
  readonly isMet: boolean | null;
  readonly phasesMs: { readonly seal: number; readonly unseal: number; readonly readBack: number };
  readonly callsMs: { readonly source: Record<string, number>; readonly target: Record<string, number> };
  readonly firstGenerationMs: number;
}

export const UNCHANGED_TARGET = 1.5;
const NEW_KEY_EXTRA_MS = 500;

const passOf = ({ floor }: IncrementalRound): number | null =>
  floor === undefined ? null : median(floor.passes.map(({ findMs, readMs }) => findMs + readMs));

export function unchangedFigure(rounds: readonly IncrementalRound[], keys: number): UnchangedFigure {
  const floors = rounds.flatMap(({ floor }) => floor ?? []);
  const passes = rounds.flatMap((round) => passOf(round) ?? []);
  const ratios = rounds.flatMap((round) => {
    const pass = passOf(round);
    return pass === null ? [] : [round.unchanged.totalMs / pass];
  });
  const ratio = ratios.length === 0 ? null : rounded(median(ratios));
  return {
    keys,
    oursMs: rounded(median(rounds.map(({ unchanged }) => unchanged.totalMs)), 1),
    passMs: passes.length === 0 ? null : rounded(median(passes), 1),
    findMs:
      floors.length === 0
        ? null
        : rounded(median(floors.flatMap((floor) => floor.passes.map(({ findMs }) => findMs))), 1),
    wrapUs: floors.length === 0 ? null : rounded(median(floors.map(({ wrapUs }) => wrapUs)), 1),
    ratio,
    target: UNCHANGED_TARGET,
    isMet: ratio === null ? null : ratio <= UNCHANGED_TARGET,
    roundsMs: rounds.map((round) => {
      const pass = passOf(round);
      return { ours: rounded(round.unchanged.totalMs, 1), pass: pass === null ? null : rounded(pass, 1) };
    }),
  };
}

export function newKeyFigure(
  rounds: readonly IncrementalRound[],
  { keys, firstGenerationMs }: { keys: number; firstGenerationMs: number },
): NewKeyFigure {
  const passes = rounds.flatMap((round) => passOf(round) ?? []);
  const passMs = passes.length === 0 ? null : rounded(median(passes), 1);
  const limitMs = passMs === null ? null : rounded(UNCHANGED_TARGET * passMs + NEW_KEY_EXTRA_MS, 1);
  const ours = (of: (one: IncrementalRound['newKey']) => number): number =>
    rounded(median(rounds.map(({ newKey }) => of(newKey))), 1);
  const oursMs = ours(({ totalMs }) => totalMs);
  return {
    keys,
    oursMs,
    passMs,
    limitMs,
    isMet: limitMs === null ? null : oursMs <= limitMs,
    phasesMs: {
      seal: ours(({ sealMs }) => sealMs),
      unseal: ours(({ unsealMs }) => unsealMs),
      readBack: ours(({ readBackMs }) => readBackMs),
    },
    callsMs: {
      source: callsOf(rounds.map(({ newKey }) => newKey.sourceCalls)),
      target: callsOf(rounds.map(({ newKey }) => newKey.targetCalls)),
    },
    firstGenerationMs: rounded(firstGenerationMs, 1),
  };
}

export interface SitesFigure {
  readonly keys: number;
  readonly rttMs: number;
  readonly captureMs: number;
  readonly withoutMs: number;
  readonly delayedMs: number;
  readonly ratio: number;
  readonly target: number;
  readonly isMet: boolean;
  readonly applyMs: { readonly without: number; readonly delayed: number };
  readonly verifyMs: { readonly without: number; readonly delayed: number };
  readonly pull: {
    readonly blobs: number;
    readonly bytes: number;
    readonly withoutMs: number;
    readonly delayedMs: number;
  };
  readonly unchangedMs: number;
  readonly newKeyMs: number;
  readonly newKeyPhasesMs: { readonly capture: number; readonly apply: number; readonly verify: number };
  readonly roundsMs: readonly { readonly without: number; readonly delayed: number }[];
}

const SITES_TARGET = 1.1;

export function sitesFigure(result: WanResult, { keys, rttMs }: { keys: number; rttMs: number }): SitesFigure {
  const { rounds, small } = result;
  type Link = (typeof rounds)[number]['without'];
  const pair = (of: (link: Link) => number): { without: number; delayed: number } => ({
    without: rounded(median(rounds.map(({ without }) => of(without))), 1),
    delayed: rounded(median(rounds.map(({ delayed }) => of(delayed))), 1),
  });
  const total = pair(({ totalMs }) => totalMs);
  const pulls = pair(({ pullMs }) => pullMs);
  const ratio = rounded(median(rounds.map(({ without, delayed }) => delayed.totalMs / without.totalMs)));
  const ofSmall = (of: (one: (typeof small)[number]) => number): number => rounded(median(small.map(of)), 1);
  return {
    keys,
    rttMs,
    captureMs: rounded(result.captureMs, 1),
    withoutMs: total.without,
    delayedMs: total.delayed,
    ratio,
    target: SITES_TARGET,
    isMet: ratio <= SITES_TARGET,
    applyMs: pair(({ applyMs }) => applyMs),
    verifyMs: pair(({ verifyMs }) => verifyMs),
    pull: { blobs: result.blobs, bytes: result.bytes, withoutMs: pulls.without, delayedMs: pulls.delayed },
    unchangedMs: ofSmall(({ unchangedMs }) => unchangedMs),
    newKeyMs: ofSmall(({ newKeyMs }) => newKeyMs),
    newKeyPhasesMs: {
      capture: ofSmall(({ captureMs }) => captureMs),
      apply: ofSmall(({ applyMs }) => applyMs),
      verify: ofSmall(({ verifyMs }) => verifyMs),
    },
    roundsMs: rounds.map(({ without, delayed }) => ({
      without: rounded(without.totalMs, 1),
      delayed: rounded(delayed.totalMs, 1),
    })),
  };
}

/** Resident memory of agents without their workers, MiB. */
export interface MemoryFigure {
  readonly keys: number;
  readonly activeMiB: number;
  readonly standbyMiB: number;
  readonly activePeakMiB: number;
  readonly standbyPeakMiB: number;
  /** The longest that an event loop was held up in the whole measurement. */
  readonly activeLoopDelayMs: number;
  readonly standbyLoopDelayMs: number;
  readonly target: number;
  readonly isMet: boolean;
}

/** The growth of two agents when one pulls a generation from the other, MiB. */
export interface MoveFigure {
  readonly keys: number;
  readonly ms: number;
  readonly manifestMiB: number;
  readonly sourceMiB: Growth;
  readonly destinationMiB: Growth;
  readonly target: number;
  readonly isMet: boolean;
}

interface Growth {
  readonly after: number;
  /** Once the agent rests. */
  readonly rest: number;
  readonly peak: number;
}

/** Keys cloned natively, beside a copy of the token folder; both with one use of each key. */
export interface NativeFigure {
  readonly keys: number;
  readonly oursMs: number;
  readonly floorMs: number;
  readonly ratio: number;
  readonly phasesMs: { readonly take: number; readonly place: number; readonly use: number };
  readonly floorPhasesMs: { readonly copy: number; readonly use: number };
  /** The bare calls that the promises need, and the ratio that these and a use of each key would give. */
  readonly bare: { readonly takeMs: number; readonly placeMs: number; readonly ratio: number } | null;
  readonly target: number;
  readonly isMet: boolean;
}

export function nativeFigure(
  rounds: readonly NativeRound[],
  { keys, target }: { keys: number; target: number },
): NativeFigure {
  const middle = (of: (round: NativeRound) => number): number => rounded(median(rounds.map(of)), 1);
  const ours = ({ ours: { takeMs, placeMs, useMs } }: Omit<NativeRound, 'bare'>): number => takeMs + placeMs + useMs;
  const floor = ({ floor: { copyMs, useMs } }: Omit<NativeRound, 'bare'>): number => copyMs + useMs;
  const ratio = rounded(median(rounds.map((round) => ours(round) / floor(round))));
  const bares = rounds.flatMap(({ bare, ...round }) => (bare === undefined ? [] : { ...bare, round }));
  const bareRatios = bares.map(
    ({ takeMs, placeMs, round }) => (takeMs + placeMs + round.ours.useMs) / (round.floor.copyMs + round.floor.useMs),
  );
  return {
    keys,
    bare:
      bares.length === 0
        ? null
        : {
            takeMs: rounded(median(bares.map(({ takeMs }) => takeMs)), 1),
            placeMs: rounded(median(bares.map(({ placeMs }) => placeMs)), 1),
            ratio: rounded(median(bareRatios)),
          },
    oursMs: middle(ours),
    floorMs: middle(floor),
    ratio,
    phasesMs: {
      take: middle((round) => round.ours.takeMs),
      place: middle((round) => round.ours.placeMs),
      use: middle((round) => round.ours.useMs),
    },
    floorPhasesMs: { copy: middle((round) => round.floor.copyMs), use: middle((round) => round.floor.useMs) },
    target,
    isMet: ratio <= target,
  };
}

const MOVE_TARGET_MIB = 100;

export function moveFigure({ keys, ms, manifestMiB, source, destination }: MoveResult): MoveFigure {
  const growth = ({ before, after, rest, peak }: Moved): Growth => ({
    after: rounded(after - before, 1),
    rest: rounded(rest - before, 1),
    peak: rounded(peak - before, 1),
  });
  const [sourceMiB, destinationMiB] = [growth(source), growth(destination)];
  return {
    keys,
    ms: rounded(ms, 1),
    manifestMiB: rounded(manifestMiB, 1),
    sourceMiB,
    destinationMiB,
    target: MOVE_TARGET_MIB,
    isMet: Math.max(sourceMiB.after, destinationMiB.after) < MOVE_TARGET_MIB,
  };
}

const MEMORY_TARGET_MIB = 150;

export function memoryFigure({ active, standby }: WanResult, keys: number): MemoryFigure {
  return {
    keys,
    activeMiB: active.now,
    standbyMiB: standby.now,
    activePeakMiB: active.peak,
    standbyPeakMiB: standby.peak,
    activeLoopDelayMs: active.loopDelayMs,
    standbyLoopDelayMs: standby.loopDelayMs,
    target: MEMORY_TARGET_MIB,
    isMet: Math.max(active.now, standby.now) < MEMORY_TARGET_MIB,
  };
}

/** The planner's reads for one group each second, beside those for a new group. */
export interface HistoryFigure {
  readonly days: number;
  readonly generations: number;
  readonly oursMs: number;
  readonly emptyMs: number;
  readonly ratio: number;
  readonly target: number;
  readonly isMet: boolean;
}

/** Fifty failed intents may be read where none are yet. */
const HISTORY_TARGET = 2;

export function historyFigure({ days, generations, emptyMs, oursMs }: HistoryResult): HistoryFigure {
  const ratio = rounded(oursMs / emptyMs, 2);
  return {
    days,
    generations,
    oursMs: rounded(oursMs, 2),
    emptyMs: rounded(emptyMs, 2),
    ratio,
    target: HISTORY_TARGET,
    isMet: ratio <= HISTORY_TARGET,
  };
}

/** A coordinator under a whole fleet of simulated agents. */
export interface ScaleFigure extends Fleet, ScaleResult {
  readonly targetCores: number;
  readonly targetMiB: number;
  readonly isMet: boolean;
}

const SCALE_TARGET_CORES = 0.5;
const SCALE_TARGET_MIB = 512;

export function scaleFigure(result: ScaleResult, fleet: Fleet): ScaleFigure {
  const { coordinatorCores, coordinatorMiB } = result.steady;
  return {
    ...fleet,
    ...result,
    targetCores: SCALE_TARGET_CORES,
    targetMiB: SCALE_TARGET_MIB,
    isMet: coordinatorCores <= SCALE_TARGET_CORES && coordinatorMiB <= SCALE_TARGET_MIB,
  };
}

/** The dashboard: what an operator waits for, and what it costs while nobody looks at it. */
export interface DashboardFigure extends Omit<DashboardResult, 'firstPaintMs'> {
  readonly firstPaintMs: number;
  readonly roundsMs: readonly number[];
  readonly targetPaintMs: number;
  readonly targetBytes: number;
  readonly targetCore: number;
  readonly isMet: boolean;
}

const DASHBOARD_TARGET_PAINT_MS = 300;
const DASHBOARD_TARGET_BYTES = 150_000;
const DASHBOARD_TARGET_CORE = 0.3;

export function dashboardFigure(result: DashboardResult): DashboardFigure {
  const firstPaintMs = rounded(median(result.firstPaintMs));
  const [serverCore, pageCore, browserCore] = [result.serverCore, result.pageCore, result.browserCore].map((share) =>
    rounded(share, 3),
  ) as [number, number, number];
  return {
    ...result,
    firstPaintMs,
    roundsMs: result.firstPaintMs.map((ms) => rounded(ms)),
    serverCore,
    pageCore,
    browserCore,
    targetPaintMs: DASHBOARD_TARGET_PAINT_MS,
    targetBytes: DASHBOARD_TARGET_BYTES,
    targetCore: DASHBOARD_TARGET_CORE,
    isMet:
      firstPaintMs < DASHBOARD_TARGET_PAINT_MS &&
      result.compressedBytes < DASHBOARD_TARGET_BYTES &&
      serverCore + browserCore < DASHBOARD_TARGET_CORE,
  };
}
