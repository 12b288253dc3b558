/** One soak: a system, its applications, a storm of faults, and the judgement afterwards. */
import { join } from 'node:path';
import { seededPrng, systemClock } from '@antipode/runtime';
import { type ShiftedClock, shiftedClock } from '../../support/shifted-clock.ts';
import { GROUP, TestSystem } from '../../support/system.ts';
import { Applications } from './applications.ts';
import { judge, unsettledNow } from './checks.ts';
import { Command } from './command.ts';
import { FaultStorm } from './faults.ts';
import { JournalWatch } from './journals.ts';
import { Supervisor } from './supervisor.ts';
import { TokenJudge } from './token-judge.ts';

export interface SoakOptions {
  readonly minutes: number;
  readonly seed: string;
  readonly isKept: boolean;
  /** For people; a line that starts with VIOLATION is one. */
  readonly tell: (text: string) => void;
}

export interface Outcome {
  readonly minutes: number;
  readonly seed: string | number;
  readonly acknowledged: number;
  readonly lost: number;
  readonly deletedAnswers: number;
  readonly twoActives: number;
  readonly unsettled: number;
  readonly faults: Readonly<Record<string, number>>;
  readonly violations: readonly string[];
}

const SITES = ['a', 'b', 'c'];
const SETTLED_MS_MAX = 60_000;
/** Longer than it may take: what has not settled by then is judged as it is. */
const PATIENCE_MS = 180_000;

export async function soak({ minutes, seed, isKept, tell: listener }: SoakOptions): Promise<Outcome> {
  const startedMs = systemClock.monotonicMs();
  const violations: string[] = [];
  const tell = (text: string): void => {
    if (text.startsWith('VIOLATION')) violations.push(text);
    listener(text.startsWith('VIOLATION') ? text : `${seconds(systemClock.monotonicMs() - startedMs)}  ${text}`);
  };
  const clocks = new Map<string, ShiftedClock>();
  const setClock = (name: string, aheadMs: number): void => clocks.get(name)!.set(aheadMs);
  const system = await TestSystem.start({
    processes: [...SITES, 'coordinator'],
    links: 'everywhere',
    // Its applications delete for as long as a fault keeps captures from ending.
    lossObjects: 1_000,
    environment: (name, folder) => {
      const clock = clocks.get(name) ?? shiftedClock(join(folder, `clock-${name}`));
      clocks.set(name, clock);
      return clock.environment;
    },
  });
  try {
    tell(`system of seed ${seed} in ${system.folder}`);
    const tokens = new Map(SITES.map((name) => [name, system.site(name).token]));
    const judges = new Map([...tokens].map(([name, token]) => [name, new TokenJudge(token)]));
    const command = new Command(system.folder);
    const prng = (what: string) => seededPrng(`${seed}/${what}`);
    const applications = new Applications({ command, tokens, judges, group: GROUP, prng: prng('keys'), tell });
    const folders = new Map(SITES.map((name) => [name, join(system.site(name).folder, 'data')]));
    const watch = new JournalWatch(folders, tell);
    const supervisor = new Supervisor(system, tell);
    const storm = new FaultStorm({
      system,
      supervisor,
      command,
      applications,
      group: GROUP,
      prng: prng('faults'),
      tell,
      setClock,
    });

    watch.start();
    supervisor.start();
    applications.start();
    storm.start();
    await systemClock.sleep(minutes * 60_000);
    await storm.close();
    const healedMs = systemClock.monotonicMs();
    tell('every fault has healed');
    await applications.close();
    const { settledMs, unsettled } = await untilSettled(system, healedMs);
    tell(settledMs === undefined ? 'it does not settle' : `settled ${seconds(settledMs)} after the last fault`);
    if (unsettled.length > 0) tell(`VIOLATION not settled 60 s after the last fault: ${unsettled.join(', ')}`);
    for (let attempt = 0; attempt < 3 && !(await applications.round({ changes: 0 })); attempt += 1);
    const judged = await judge(applications.names, judges, tell);
    await supervisor.close();
    await watch.close();
    tell(
      `${applications.rounds} replications, ${applications.names.length} names, ${watch.looks} looks into all journals`,
    );
    return {
      minutes,
      seed: /^\d+$/.test(seed) ? Number(seed) : seed,
      acknowledged: applications.acknowledged,
      lost: new Set([...judged.lost, ...applications.lost]).size,
      deletedAnswers: judged.deletedAnswers,
      twoActives: watch.twoActives,
      unsettled: unsettled.length,
      faults: storm.counts,
      violations,
    };
  } finally {
    if (isKept) await system.stop();
    else await system.close();
  }
}

const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`;

/** Waits until status says that all is well. `unsettled`: what was not, 60 s after the last fault. */
async function untilSettled(system: TestSystem, healedMs: number) {
  let unsettled: string[] | undefined;
  for (;;) {
    const now = await unsettledNow(system).catch((thrown: Error) => [`status does not answer: ${thrown.message}`]);
    const ageMs = systemClock.monotonicMs() - healedMs;
    if (now.length === 0) return { settledMs: ageMs, unsettled: unsettled ?? [] };
    if (ageMs > SETTLED_MS_MAX) unsettled ??= now;
    if (ageMs > PATIENCE_MS) return { settledMs: undefined, unsettled: unsettled ?? now };
    await systemClock.sleep(250);
  }
}
