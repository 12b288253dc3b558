/**
 * `npm run bench`: the cost of replication beside that of PKCS#11 alone. Data goes to standard output, the rest to
 * standard error.
 */
import { mkdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { systemClock } from '@antipode/runtime';
import type { TestToken } from '../support/tokens.ts';
import { measureDashboard } from './measures/dashboard.ts';
import { Floor } from './measures/floor.ts';
import { measureHistory } from './measures/history.ts';
import { type Bench, measureFull, measureIncremental, measureScript } from './measures/measurements.ts';
import { measureMove } from './measures/move.ts';
import { measureNative } from './measures/native.ts';
import { measureWan } from './measures/wan.ts';
import { HELP, type Options, parseOptions, UsageError } from './options.ts';
import { fill, type Keys, mixed, objectsOf, onlyAes } from './places/keys.ts';
import { commit, load, machine, versions } from './places/machine.ts';
import { type Place, Workspace } from './places/workspace.ts';
import {
  aesFigure,
  dashboardFigure,
  type Figures,
  fullFigure,
  historyFigure,
  memoryFigure,
  moveFigure,
  nativeFigure,
  newKeyFigure,
  type Report,
  scaleFigure,
  sitesFigure,
  unchangedFigure,
} from './report/report.ts';
import { rounded } from './report/statistics.ts';
import { reportTable } from './report/table.ts';
import { measureScale } from './scale/run.ts';

const FULL_TARGET = 1.25;
const SCRIPT_TARGET = 25;
const NATIVE_TARGET = 1.5;
/** The benchmark keeps some one and a half processes busy at a time. */
const BUSY = 1.25;

async function main(args: readonly string[]): Promise<number> {
  const options = parseOptions(args);
  if (options === undefined) {
    process.stdout.write(HELP);
    return 0;
  }
  const workspace = new Workspace();
  try {
    const floor = options.hasFloor ? await Floor.compile(workspace) : undefined;
    if (options.hasFloor && floor === undefined) {
      console.error(
        'bench: no C compiler works here, and the floor is a C program. Install one (Debian: gcc and libc6-dev), or measure without it: --no-floor',
      );
      return 2;
    }
    const report = await measure({ options, workspace, floor, command: args.join(' ') });
    process.stdout.write(`${options.isJson ? JSON.stringify(report) : reportTable(report)}\n`);
    return 0;
  } finally {
    workspace.close();
  }
}

async function measure(given: {
  options: Options;
  workspace: Workspace;
  floor: Floor | undefined;
  command: string;
}): Promise<Report> {
  const { options, workspace, floor, command } = given;
  const startedAt = new Date(systemClock.wallMs()).toISOString();
  const startMs = systemClock.monotonicMs();
  const before = load();
  const notes = floor === undefined ? ['the floor was left out (--no-floor): nothing stands beside the figures'] : [];
  const tell = (text: string): void => console.error(text);
  const bench: Bench = {
    workspace,
    floor,
    rounds: options.rounds,
    profiling: profilingInto(options.profile),
    tell,
  };
  const figures = await measureParts(bench, options);
  const after = load();
  const { cores } = machine();
  if (Math.max(before, after) > BUSY * cores)
    notes.push(`the machine was busy with other things (load ${before} before, ${after} after, on ${cores} cores)`);
  return {
    bench: 1,
    startedAt,
    seconds: rounded((systemClock.monotonicMs() - startMs) / 1_000, 1),
    command: `npm run bench -- ${command}`.trim(),
    commit: commit(),
    machine: machine(),
    versions: versions(),
    load: { before, after },
    rounds: options.rounds,
    figures,
    notes,
  };
}

async function measureParts(bench: Bench, options: Options): Promise<Figures> {
  const { keys, large, rttMs, parts } = options;
  const figures: Figures = {};
  const filled = async (label: string, what: Keys, place: Place = 'tmpfs'): Promise<TestToken> => {
    bench.tell(`filling ${label} (${objectsOf(what)} objects, ${place}) ...`);
    const token = bench.workspace.token(label, place);
    await fill(bench.workspace, token, what);
    return token;
  };
  const full = async (place: Place) => {
    const what = mixed(keys);
    const source = await filled('bench-mixed', what, place);
    bench.tell(`full replication of ${keys} mixed keys on ${place}:`);
    const rounds = await measureFull(bench, { source, keys: what, place });
    source.remove();
    return fullFigure(rounds, { keys, objects: objectsOf(what), target: FULL_TARGET });
  };
  if (parts.has('full')) {
    figures.full = await full('tmpfs');
    if (options.hasDisk) figures.fullOnDisk = await full('disk');
  }
  if (parts.has('aes')) {
    const source = await filled('bench-aes', onlyAes(keys));
    bench.tell(`full replication of ${keys} AES keys:`);
    const rounds = await measureFull(bench, { source, keys: onlyAes(keys), place: 'tmpfs' });
    bench.tell('the script of pkcs11-tool:');
    const script = await measureScript(bench, { source, sample: options.sample });
    source.remove();
    figures.aes = aesFigure(rounds, { script, keys, target: SCRIPT_TARGET });
  }
  if (parts.has('incremental') || parts.has('sites')) {
    const source = await filled('bench-large', onlyAes(large));
    if (parts.has('incremental')) {
      bench.tell(`small rounds at ${large} AES keys:`);
      const copy = bench.workspace.copyOf(source);
      const { first, rounds } = await measureIncremental(bench, { source: copy, count: large });
      copy.remove();
      figures.unchanged = unchangedFigure(rounds, large);
      figures.newKey = newKeyFigure(rounds, { keys: large, firstGenerationMs: first.totalMs });
    }
    if (parts.has('sites')) {
      bench.tell(`two agents, ${large} AES keys, round trip ${rttMs} ms:`);
      const result = await measureWan(bench, { source, count: large, rttMs });
      figures.sites = sitesFigure(result, { keys: large, rttMs });
      figures.memory = memoryFigure(result, large);
    }
  }
  if (parts.has('move')) {
    const count = 10 * large;
    const source = await filled('bench-move', onlyAes(1));
    bench.tell(`two agents, moving a generation of ${count} keys:`);
    figures.move = moveFigure(await measureMove(bench, { source, keys: count }));
  }
  if (parts.has('history')) {
    bench.tell(`what the planner reads, after ${options.days} days:`);
    figures.history = historyFigure(await measureHistory({ days: options.days }));
  }
  if (parts.has('native')) {
    const source = await filled('bench-native', mixed(keys));
    bench.tell(`${keys} mixed keys, cloned natively:`);
    figures.native = nativeFigure(await measureNative(bench, { source, keys }), { keys, target: NATIVE_TARGET });
    source.remove();
  }
  if (parts.has('scale')) {
    const fleet = { ...options.fleet, environment: bench.profiling, tell: bench.tell };
    figures.scale = scaleFigure(await measureScale(bench.workspace, fleet), options.fleet);
  }
  if (parts.has('dashboard')) {
    bench.tell('the page of 500 groups that change every second:');
    figures.dashboard = dashboardFigure(await measureDashboard(bench.tell));
  }
  return figures;
}

/** A worker starts without the options of its parent, but with what its partition's environment says; agents take ours. */
function profilingInto(folder: string | undefined): Record<string, string> {
  if (folder === undefined) return {};
  const path = resolve(folder);
  mkdirSync(path, { recursive: true });
  return { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${path}` };
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (thrown) {
  if (thrown instanceof UsageError) {
    console.error(`bench: ${thrown.message}\n\n${HELP}`);
    process.exitCode = 2;
  } else {
    console.error(thrown);
    process.exitCode = 1;
  }
}
