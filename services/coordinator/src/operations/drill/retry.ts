/**
 * Repeats a drill that ended without a verdict: nobody could look. Its cause goes away by itself or by a person, and the
 * calendar may be a week away. Pure.
 */
import { newestOf } from '@antipode/protocol';
import { agoMs } from '../../calendar/timeline.ts';
import { isSettled } from '../../model.ts';
import { partitionIn } from '../../sites/accounts.ts';
import type { DrillEnd } from '../../store/tables/evidence/drills.ts';
import type { Situation } from '../planner.ts';
import { DAMAGE_CODES } from '../scrub/machine.ts';
import { holdsKey } from './scratch.ts';

/** Codes of drills that have found something. A person looks into it. No later drill may hide it at once. */
const VERDICTS: ReadonlySet<string> = new Set([...DAMAGE_CODES, 'DRILL_UNCLEAN']);

/** Each drill leaves a record and two events. Where the cause stays, 24 of them a day are enough. */
const PAUSE_MS_MAX = 3_600_000;

export interface DrillDue {
  readonly site: string;
  readonly serial: string;
  readonly epoch: bigint;
  readonly number: bigint;
}

type Facts = Pick<Situation, 'group' | 'newest' | 'acknowledged' | 'drills' | 'open' | 'view' | 'nowMs' | 'timings'>;

/** The drill that is due again, at the site of the last one if that can be used. */
export function drillDueAgain(facts: Facts): DrillDue | undefined {
  const { group, newest, acknowledged, drills, open, view, nowMs, timings } = facts;
  const ofGroup = drills.filter(({ startedMs }) => startedMs >= group.createdMs);
  const [last] = ofGroup;
  if (last === undefined || last.passed || VERDICTS.has(last.errorCode) || !isSettled(group)) return undefined;
  if (open.some(({ kind }) => kind === 'failover' || kind === 'drill')) return undefined;
  if (agoMs({ nowMs, stampMs: last.startedMs }) < pauseMs(ofGroup, timings.parkedRetryMs)) return undefined;
  const target = newestOf(acknowledged) ?? newest;
  if (target === undefined || target.objectCount === 0) return undefined;
  const usable = group.spec.scratch.filter(
    (seat) =>
      view(seat.site)?.status === 'up' &&
      partitionIn(view(seat.site)?.state, seat.serial)?.errorCode === '' &&
      holdsKey(view(seat.site), seat, { group: group.spec.name, ...target }),
  );
  const chosen = usable.find(({ site }) => site === last.site) ?? usable[0];
  return chosen && { site: chosen.site, serial: chosen.serial, epoch: target.epoch, number: target.number };
}

/** Twice as long after each drill in a row that did not pass. */
function pauseMs(drills: readonly DrillEnd[], firstMs: number): number {
  const passed = drills.findIndex((one) => one.passed);
  const failures = passed === -1 ? drills.length : passed;
  return Math.min(firstMs * 2 ** (failures - 1), PAUSE_MS_MAX);
}
