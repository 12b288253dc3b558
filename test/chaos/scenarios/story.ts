/**
 * A story: what is done to a world, and when. It follows from the seed alone, and every act has its own chance, so that
 * one of them can be left out and the others stay what they are.
 */
import { Chance } from '../simulator/chance.ts';

export interface Act {
  readonly id: number;
  readonly atMs: number;
  readonly kind: string;
  /** A site, a coordinator, or nobody. */
  readonly at: string;
  readonly other: string;
  readonly ms: number;
  readonly value: number;
}

export interface Story {
  readonly seed: string;
  readonly sites: readonly string[];
  /** Sites that only vote. */
  readonly witnesses: readonly string[];
  readonly coordinators: readonly string[];
  readonly acts: readonly Act[];
  /** A moment at which somebody must serve, although nothing has healed. */
  readonly servesAtMs?: number;
  /** The sites have another group, to whose members nothing is done. */
  readonly hasBystanders?: boolean;
  /** The agents act only with the approvals of operators. */
  readonly isGuarded?: boolean;
  /** Nobody who takes the lead has to go by a wall clock. */
  readonly isTimed?: boolean;
  /** Somebody has a copy of each key all the time, so that none may be lost. */
  readonly isLossless?: boolean;
}

/** The members of a group. */
export const SITES: readonly string[] = ['a', 'b', 'c'];

/** How long faults are done to the world. */
export const CHAOS_MS = 30_000;

/** Where an act can happen. */
type Place = 'site' | 'member' | 'witness' | 'coordinator' | 'machine' | 'world';

interface ActKind {
  readonly place: Place;
  readonly weight: number;
  /** How long it lasts at most, milliseconds. */
  readonly ms: number;
  /** The range of its one figure. */
  readonly value?: readonly [number, number];
}

export const FAULTS: Readonly<Record<string, ActKind>> = {
  'kill-agent': { place: 'site', weight: 6, ms: 12_000 },
  'pause-agent': { place: 'site', weight: 6, ms: 12_000 },
  'crash-at-commit': { place: 'site', weight: 6, ms: 6_000, value: [1, 12] },
  'crash-in-a-call': { place: 'member', weight: 3, ms: 8_000, value: [1, 12] },
  'lose-site': { place: 'site', weight: 5, ms: 25_000 },
  'disk-full': { place: 'site', weight: 2, ms: 8_000 },
  'disk-locked': { place: 'site', weight: 2, ms: 8_000 },
  'roll-back-journal': { place: 'site', weight: 2, ms: 8_000 },
  'lose-disk': { place: 'witness', weight: 1, ms: 8_000 },
  'expire-certificate': { place: 'machine', weight: 3, ms: 12_000 },
  'hsm-busy': { place: 'member', weight: 3, ms: 0, value: [1, 20] },
  'hsm-gone': { place: 'member', weight: 4, ms: 15_000 },
  'hsm-slow': { place: 'member', weight: 3, ms: 15_000, value: [20, 600] },
  'hsm-lies': { place: 'member', weight: 2, ms: 10_000 },
  'repeated-order': { place: 'site', weight: 3, ms: 0, value: [0, 1] },
  'order-again': { place: 'site', weight: 2, ms: 0, value: [0, 1] },
  'misdirected-order': { place: 'member', weight: 2, ms: 0, value: [0, 1] },
  'second-owner': { place: 'site', weight: 2, ms: 0 },
  'reused-handles': { place: 'member', weight: 2, ms: 25_000 },
  'empty-token': { place: 'member', weight: 2, ms: 0 },
  'step-clock': { place: 'machine', weight: 2, ms: 0, value: [-3_600_000, 3_600_000] },
  'drift-clock': { place: 'machine', weight: 2, ms: 0, value: [0.996, 1.004] },
  cut: { place: 'machine', weight: 4, ms: 15_000 },
  'cut-one-way': { place: 'machine', weight: 4, ms: 15_000 },
  isolate: { place: 'machine', weight: 5, ms: 18_000 },
  flap: { place: 'machine', weight: 3, ms: 15_000 },
  'slow-link': { place: 'machine', weight: 2, ms: 15_000, value: [50, 900] },
  'lossy-link': { place: 'machine', weight: 3, ms: 15_000, value: [0.02, 0.3] },
  'doubling-link': { place: 'machine', weight: 3, ms: 15_000, value: [0.1, 0.6] },
  'kill-coordinator': { place: 'coordinator', weight: 5, ms: 8_000 },
  'pause-coordinator': { place: 'coordinator', weight: 5, ms: 10_000 },
  'change-profile': { place: 'coordinator', weight: 2, ms: 2_000, value: [0.5, 3] },
  'stall-database': { place: 'world', weight: 3, ms: 8_000 },
  'database-away': { place: 'world', weight: 3, ms: 8_000 },
  'cut-database': { place: 'coordinator', weight: 3, ms: 10_000 },
  'silent-commits': { place: 'world', weight: 3, ms: 10_000, value: [0.05, 0.4] },
  'roll-back-database': { place: 'world', weight: 2, ms: 6_000 },
  'queue-away': { place: 'world', weight: 2, ms: 10_000 },
  'wipe-queue': { place: 'world', weight: 2, ms: 0 },
  'doubling-queue': { place: 'world', weight: 3, ms: 15_000, value: [0.2, 0.9] },
};

/** Nobody hears from a coordinator for so long that leases lapse, unless all others vouch. */
export const RARE_FAULTS: Readonly<Record<string, ActKind>> = {
  'coordinators-away': { place: 'world', weight: 1, ms: 28_000 },
  'cut-from-coordinators': { place: 'site', weight: 1, ms: 28_000 },
};
const RARE = 0.15;

/** Faults that need a world of their own, and are in written stories only. */
export const WRITTEN_FAULTS: readonly string[] = ['mute-queue', 'retired-sites', 'run-copy', 'stolen-coordinator'];

export const ORDERS: Readonly<Record<string, ActKind>> = {
  move: { place: 'member', weight: 5, ms: 0 },
  'move-anywhere': { place: 'world', weight: 2, ms: 0 },
  cancel: { place: 'world', weight: 3, ms: 0 },
  replicate: { place: 'world', weight: 3, ms: 0 },
  rotate: { place: 'world', weight: 2, ms: 0 },
  drill: { place: 'world', weight: 1, ms: 0 },
  scrub: { place: 'member', weight: 1, ms: 0 },
};

export const WORK: Readonly<Record<string, ActKind>> = {
  'make-key': { place: 'world', weight: 6, ms: 0 },
  'make-pair': { place: 'world', weight: 3, ms: 0 },
  'replace-pair': { place: 'world', weight: 3, ms: 0 },
  'delete-key': { place: 'world', weight: 3, ms: 0 },
};

const FAULTS_MAX = 6;
const ORDERS_MAX = 2;
const WORK_MAX = 7;

export function storyOf(seed: string): Story {
  const chance = new Chance(`${seed} story`);
  const { sites, witnesses } = layoutOf(new Chance(`${seed} layout`).fraction());
  const coordinators = chance.happens(0.35) ? ['one', 'two'] : ['one'];
  const kinds = chance.whole(1, 3);
  // Few kinds in one seed: a fault that comes again finds more than many that come once.
  const chosen = Array.from({ length: kinds }, () => weighted(FAULTS, chance));
  const acts: Act[] = [];
  const add = (kind: string, { place, ms, value = [0, 0] }: ActKind): void => {
    const own = new Chance(`${seed} act ${acts.length}`);
    const voters = [...sites, ...witnesses];
    const machines = [...voters, ...coordinators];
    const nobody = [''];
    const places = {
      site: voters,
      member: sites,
      witness: witnesses.length > 0 ? witnesses : nobody,
      coordinator: coordinators,
      machine: machines,
      world: nobody,
    }[place];
    const at = own.pick(places);
    const others = machines.filter((one) => one !== at);
    acts.push({
      id: acts.length,
      atMs: Math.round(own.between(0, CHAOS_MS)),
      kind,
      at,
      other: own.pick(others),
      ms: Math.round(own.between(ms / 20, ms)),
      value: own.between(...value),
    });
  };
  const given = (table: Readonly<Record<string, ActKind>>, kind: string): void => add(kind, table[kind]!);
  for (let count = chance.whole(1, FAULTS_MAX); count > 0; count -= 1) given(FAULTS, chance.pick(chosen));
  for (let count = chance.whole(0, ORDERS_MAX); count > 0; count -= 1) given(ORDERS, weighted(ORDERS, chance));
  for (let count = chance.whole(3, WORK_MAX); count > 0; count -= 1) given(WORK, weighted(WORK, chance));
  // With a chance of its own, so that the acts above stay what they were before this fault was there.
  const rare = new Chance(`${seed} rare`);
  if (rare.happens(RARE)) {
    const [kind, what] = rare.pick(Object.entries(RARE_FAULTS));
    add(kind, what);
  }
  return {
    seed,
    sites,
    witnesses,
    coordinators,
    acts: acts.sort((one, other) => one.atMs - other.atMs || one.id - other.id),
  };
}

/** Mostly three members vote. Two members and a witness are the smallest group that can move by itself. */
function layoutOf(fraction: number): Pick<Story, 'sites' | 'witnesses'> {
  if (fraction < 0.15) return { sites: SITES.slice(0, 2), witnesses: ['w'] };
  return { sites: SITES, witnesses: fraction < 0.25 ? ['v', 'w'] : [] };
}

function weighted(table: Readonly<Record<string, ActKind>>, chance: Chance): string {
  const all = Object.entries(table);
  let left = chance.fraction() * all.reduce((sum, [, { weight }]) => sum + weight, 0);
  for (const [kind, { weight }] of all) {
    left -= weight;
    if (left < 0) return kind;
  }
  return all[0]![0];
}

export function told({ atMs, kind, at, other, ms, value }: Act): string {
  const where = at === '' ? '' : ` ${at}`;
  const towards = ['cut', 'cut-one-way', 'flap', 'slow-link', 'lossy-link', 'doubling-link'].includes(kind)
    ? ` to ${other}`
    : '';
  const long = ms > 0 ? ` for ${(ms / 1_000).toFixed(1)} s` : '';
  const much = value === 0 ? '' : ` (${Number(value.toPrecision(3))})`;
  return `${(atMs / 1_000).toFixed(1).padStart(5)} s ${kind}${where}${towards}${long}${much}`;
}
