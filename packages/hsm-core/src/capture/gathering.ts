/**
 * The middle of a capture, from the scan to the objects of the new generation: match, classify, seal, explain what is
 * absent. A capture and its preview both run it, so that a preview has no opinion of its own.
 */
import type { Entry } from '../model/generation.ts';
import { type Absence, explainAbsence, resolveDoubtful } from './absence.ts';
import { type CaptureContext, isLive } from './capture-context.ts';
import { type CapturedObject, classify } from './classification.ts';
import { type Candidate, matchSightings } from './match.ts';
import type { Scan } from './scan.ts';
import { type Sealing, sealObjects } from './sealing.ts';
import type { UncapturedObject } from './uncaptured.ts';

export interface Gathered {
  readonly candidates: readonly Candidate[];
  readonly captured: readonly CapturedObject[];
  readonly uncaptured: readonly UncapturedObject[];
  readonly absence: Absence;
  readonly sealing: Sealing;
}

export async function gather(context: CaptureContext, scan: Scan): Promise<Gathered> {
  const { candidates, absent } = await matchSightings(context, scan);
  const classification = await classify(
    context,
    candidates.filter(({ before, hasVanished }) => before !== undefined || !hasVanished),
  );
  const sealing = await sealObjects(context, classification, scan.wraps);
  const resolved = await resolveDoubtful(context, sealing.doubtful);
  const deleted = [...classification.deleted, ...resolved.deleted].filter((entry: Entry) => isLive(context, entry));
  return {
    candidates,
    captured: [...classification.captured, ...sealing.captured],
    uncaptured: [...classification.uncaptured, ...sealing.uncaptured, ...resolved.uncaptured],
    absence: explainAbsence(context, { candidates }, [...absent, ...deleted]),
    sealing,
  };
}
