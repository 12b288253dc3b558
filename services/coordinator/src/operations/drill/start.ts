/** Starts a drill, for an operator or a calendar. */
import { newestOf } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import type { Detector } from '../../sites/detector.ts';
import type { Store, Write } from '../../store/store.ts';
import { readAcknowledged, readNewest } from '../../store/tables/generations.ts';
import { readGroup } from '../../store/tables/groups.ts';
import type { Reconciler } from '../reconciler.ts';

/** Chooses generation and scratch partition, and makes the intent. @throws NOT_FOUND, GENERATION_UNKNOWN */
export async function startDrill(
  {
    store,
    detector,
    reconciler,
  }: { store: Pick<Store, 'query'>; detector: Pick<Detector, 'isUp'>; reconciler: Pick<Reconciler, 'intend'> },
  { group: name, site, isWanted }: { group: string; site: string; isWanted?: (trx: Write) => Promise<boolean> },
): Promise<string> {
  const group = await store.query((db) => readGroup(db, name));
  const scratch = group.spec.scratch.filter((seat) => site === '' || seat.site === site);
  const chosen = scratch.find((seat) => detector.isUp(seat.site)) ?? scratch[0];
  if (chosen === undefined) {
    throw new AntipodeError(
      'NOT_FOUND',
      `group ${name} has no scratch partition${site === '' ? '' : ` at site ${site}`}`,
      { details: { group: name, site } },
    );
  }
  const [newest, acknowledged] = await store.query((db) =>
    Promise.all([readNewest(db, name), readAcknowledged(db, name)]),
  );
  // An acknowledged generation is a promise. Without any, the newest capture is better than no drill.
  const target = newestOf(acknowledged) ?? newest;
  // A rehearsal of nothing would count as proof of everything.
  if (target === undefined || target.objectCount === 0)
    throw new AntipodeError('GENERATION_UNKNOWN', `group ${name} has no generation with any object yet`, {
      details: { group: name },
      hint: `Run \`antipode replicate ${name}\` first. If it captures no object, the partition of the active member has no object to capture.`,
    });
  const state = { phase: 'planned', epoch: target.epoch, number: target.number, serial: chosen.serial };
  return (await reconciler.intend({ kind: 'drill', group: name, site: chosen.site, state, trace: {} }, isWanted)).id;
}
