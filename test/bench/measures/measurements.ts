/** The measurements. Each alternates with its floor, so that other load on the machine affects both. */
import { systemClock } from '@antipode/runtime';
import type { TestToken } from '../../support/tokens.ts';
import { fill, type Keys, objectsOf, onlyAes } from '../places/keys.ts';
import { BenchMember } from '../places/member.ts';
import type { Place, Workspace } from '../places/workspace.ts';
import type { Floor, FloorInventory, FloorSource, FloorTarget } from './floor.ts';
import { BenchGroup, type RoundTimes } from './replication.ts';
import { UserScript } from './script.ts';

export interface Bench {
  readonly workspace: Workspace;
  /** Undefined where it is left out. */
  readonly floor: Floor | undefined;
  readonly rounds: number;
  /** Environment of HSM workers and agents by which they write a profile; empty where none is wanted. */
  readonly profiling: Readonly<Record<string, string>>;
  /** What happens, for people. */
  readonly tell: (text: string) => void;
}

export interface FullRound {
  readonly ours: RoundTimes;
  readonly floor: { readonly totalMs: number; readonly source: FloorSource; readonly target: FloorTarget } | undefined;
}

/** The first generation of a group to one standby, again and again to an empty one. */
export async function measureFull(bench: Bench, { source, keys, place }: FullOptions): Promise<FullRound[]> {
  const { workspace, floor, rounds, tell } = bench;
  const member = await BenchMember.open(source, bench.profiling);
  const measured: FullRound[] = [];
  try {
    for (let round = 0; round < rounds; round += 1) {
      const runFloor = async (): Promise<FullRound['floor']> => {
        if (floor === undefined) return undefined;
        const target = workspace.token(`bench-floor-${round}`, place);
        try {
          const times = await floor.replicate(source, target);
          if (times.source.objects !== objectsOf(keys)) throw new Error('the floor moved another number of objects');
          return { totalMs: times.source.totalMs + times.target.totalMs, ...times };
        } finally {
          target.remove();
        }
      };
      const runOurs = () => replicateOnce(bench, { member, place, round });
      // The order alternates, so that neither always has the warmer machine.
      const [first, second] =
        round % 2 === 0 ? [await runFloor(), await runOurs()] : [await runOurs(), await runFloor()];
      const one = (round % 2 === 0 ? { floor: first, ours: second } : { floor: second, ours: first }) as FullRound;
      measured.push(one);
      tell(
        `  round ${round + 1}: ours ${one.ours.totalMs.toFixed(0)} ms, floor ${one.floor?.totalMs.toFixed(0) ?? '-'} ms`,
      );
    }
    return measured;
  } finally {
    await member.provider.close();
  }
}

interface FullOptions {
  readonly source: TestToken;
  readonly keys: Keys;
  readonly place: Place;
}

async function replicateOnce(
  { workspace, profiling }: Bench,
  { member, place, round }: { member: BenchMember; place: Place; round: number },
): Promise<RoundTimes> {
  const target = await BenchMember.open(workspace.token(`bench-target-${round}`, place), profiling);
  try {
    const group = await BenchGroup.enrol({ name: `bench-${round}`, source: member, target });
    return await group.replicate();
  } finally {
    await target.close();
  }
}

export interface ScriptRound {
  readonly perKeyMs: number;
  readonly keys: number;
}

/**
 * Some of the keys, by the script. The time for a key grows with the number of objects on the token. The target begins
 * empty here, so the script is shown at its best.
 */
export async function measureScript(
  { workspace, rounds, tell }: Bench,
  { source, sample }: { source: TestToken; sample: number },
): Promise<ScriptRound[]> {
  const target = workspace.token('bench-script');
  const script = await UserScript.prepare({ workspace, source: workspace.copyOf(source), target });
  const keys = Math.ceil(sample / rounds);
  const measured: ScriptRound[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const perKeyMs = await script.run(keys);
    measured.push({ perKeyMs, keys });
    tell(`  round ${round + 1}: ${perKeyMs.toFixed(0)} ms a key (${keys} keys)`);
  }
  target.remove();
  return measured;
}

export interface IncrementalRound {
  readonly floor: FloorInventory | undefined;
  readonly unchanged: Awaited<ReturnType<BenchGroup['unchanged']>>;
  readonly newKey: RoundTimes;
}

/** Rounds in which nothing is new, and rounds with one new key, on a large partition that is replicated already. */
export async function measureIncremental(
  bench: Bench,
  { source, count }: { source: TestToken; count: number },
): Promise<{ first: RoundTimes; rounds: IncrementalRound[] }> {
  const { workspace, floor, rounds, profiling, tell } = bench;
  const member = await BenchMember.open(source, profiling);
  const target = await BenchMember.open(workspace.token('bench-large-target'), profiling);
  try {
    const group = await BenchGroup.enrol({ name: 'bench-large', source: member, target });
    const first = await group.replicate();
    tell(`  first generation: ${first.totalMs.toFixed(0)} ms`);
    const measured: IncrementalRound[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const bare = await floor?.inventory(source, { passes: PASSES, wraps: WRAPS });
      await apart();
      const unchanged = await group.unchanged();
      await fill(workspace, source, onlyAes(1), count + round);
      await apart();
      const newKey = await group.replicate();
      measured.push({ floor: bare, unchanged, newKey });
      const pass = bare?.passes.map(({ findMs, readMs }) => (findMs + readMs).toFixed(0)).join('/') ?? '-';
      tell(
        `  round ${round + 1}: bare passes ${pass} ms, unchanged ${unchanged.totalMs.toFixed(0)} ms, one new key ${newKey.totalMs.toFixed(0)} ms`,
      );
    }
    return { first, rounds: measured };
  } finally {
    await member.provider.close();
    await target.close();
  }
}

const PASSES = 3;
const WRAPS = 200;

/** Rounds lie minutes apart: the pause that the provider keeps between two passes is over when one begins. */
const apart = (): Promise<void> => systemClock.sleep(300);
