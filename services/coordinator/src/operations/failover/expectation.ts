/**
 * The expected time without an active member, from what was measured in this group. Each part is the worst of what was
 * seen, and the parts are added, although some of them overlap. So a real move is seldom slower (I13). Pure.
 */

/** A move of this group that ended well. */
export interface MeasuredMove {
  readonly to: string;
  readonly recoveryTimeMs: number;
  /** How many objects were proved before the site served. */
  readonly proved: number;
  /** The old active member answered, so nothing was waited for. */
  readonly caughtUp: boolean;
}

/** A drill that passed: it restores and proves, so it takes longer than a promotion, which proves only. */
export interface MeasuredDrill {
  readonly recoveryTimeMs: number;
  readonly proved: number;
}

export interface Circumstances {
  readonly to: string;
  readonly moves: readonly MeasuredMove[];
  readonly drills: readonly MeasuredDrill[];
  /** In the newest generation. */
  readonly objects: number;
  /** The rest of the lease of a member that does not answer. */
  readonly leaseWaitMs: number;
  /** How long calls to sites that do not answer are held before the move goes on without them. */
  readonly silenceMs: number;
}

export interface Expectation {
  readonly ms: number;
  /** The parts, for people. */
  readonly from: readonly string[];
}

/** As many as still tell of this group as it is. */
const MOVES_MAX = 5;

/** Undefined while nothing was measured: nobody should plan with a guess. */
export function expectRecovery(of: Circumstances): Expectation | undefined {
  const handling = handlingOf(of);
  if (handling === undefined) return undefined;
  const parts: Expectation[] = [
    { ms: of.leaseWaitMs, from: [`${shown(of.leaseWaitMs)} until the lease has ended`] },
    { ms: of.silenceMs, from: [`${shown(of.silenceMs)} for sites that do not answer`] },
  ].filter(({ ms }) => ms > 0);
  return [...parts, handling].reduce((sum, one) => ({ ms: sum.ms + one.ms, from: [...sum.from, ...one.from] }));
}

function handlingOf({ to, moves, drills, objects }: Circumstances): Expectation | undefined {
  const caughtUp = moves.filter((move) => move.caughtUp);
  const there = caughtUp.filter((move) => move.to === to);
  const planned = (there.length > 0 ? there : caughtUp).slice(0, MOVES_MAX);
  const text = (count: number, what: string): string => `the slowest of ${count} ${what}`;
  if (planned.length > 0)
    return slowest(planned, objects, text(planned.length, there.length > 0 ? `moves to ${to}` : 'moves'));
  const proofs = drills.slice(0, MOVES_MAX);
  if (proofs.length > 0) return slowest(proofs, objects, text(proofs.length, 'drills'));
  // They have waited for a lease, too: worse than this one, and never better.
  const others = moves.slice(0, MOVES_MAX);
  return others.length === 0 ? undefined : slowest(others, objects, text(others.length, 'failovers'));
}

/** Each as long as it would have taken for the objects of today. More objects take longer, and fewer not less. */
function slowest(measured: readonly MeasuredDrill[], objects: number, what: string): Expectation {
  const scaled = ({ recoveryTimeMs, proved }: MeasuredDrill): number =>
    recoveryTimeMs * Math.max(1, objects / Math.max(1, proved));
  const ms = Math.ceil(Math.max(...measured.map(scaled)));
  return { ms, from: [`${shown(ms)} for ${objects} objects (${what})`] };
}

const shown = (ms: number): string => (ms < 1_000 ? `${Math.ceil(ms)} ms` : `${Math.ceil(ms / 100) / 10} s`);
