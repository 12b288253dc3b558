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
import { addSecondForms, withoutLostClones } from './second-forms.ts';
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
  const forms = await addSecondForms(context, {
    captured: [...classification.captured, ...sealing.captured],
    candidates,
  });
  const resolved = await resolveDoubtful(context, sealing.doubtful);
  const deleted = [...classification.deleted, ...resolved.deleted].filter((entry: Entry) => isLive(context, entry));
  const absence = explainAbsence(context, { candidates, hidden: scan.hidden }, [...absent, ...deleted]);
  return {
    candidates,
    captured: forms.captured,
    uncaptured: [...classification.uncaptured, ...sealing.uncaptured, ...resolved.uncaptured],
    absence: { ...absence, kept: withoutLostClones(context, absence.kept) },
    sealing: {
      ...sealing,
      dataKeys: [...sealing.dataKeys, ...forms.dataKeys],
      blobs: new Map([...sealing.blobs, ...forms.blobs]),
    },
  };
}
