/** Starts a drill, for an operator or a calendar. */

import { newestOf } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import type { Detector } from '../../sites/detector.ts';
import { isSilent } from '../../sites/expected.ts';
import type { Store, Write } from '../../store/store.ts';
import { readAcknowledged, readNewest } from '../../store/tables/generations.ts';
import { readGroup } from '../../store/tables/groups.ts';
import type { Reconciler } from '../reconciler.ts';
import { holdsKey } from './scratch.ts';

/**
 * Chooses generation and scratch partition, and makes the intent. A scratch partition that joined the group lately holds
 * only the domain key versions that came since, and opens nothing that was sealed before.
 * @throws NOT_FOUND, GENERATION_UNKNOWN, DOMAIN_KEY_MISSING
 */
export async function startDrill(
  {
    store,
    detector,
    reconciler,
    untilHeard = async () => {},
  }: {
    store: Pick<Store, 'query'>;
    detector: Pick<Detector, 'isUp' | 'view'>;
    reconciler: Pick<Reconciler, 'intend'>;
    /** Waits for the first report of sites that a new leader has not heard yet. */
    untilHeard?: (sites: readonly string[]) => Promise<void>;
  },
  { group: name, site, isWanted }: { group: string; site: string; isWanted?: (trx: Write) => Promise<boolean> },
): Promise<string> {
  const group = await store.query((db) => readGroup(db, name));
  const scratch = group.spec.scratch.filter((seat) => site === '' || seat.site === site);
  if (scratch.length === 0) {
    throw new AntipodeError(
      'NOT_FOUND',
      `group ${name} has no scratch partition${site === '' ? '' : ` at site ${site}`}`,
      { details: { group: name, site } },
    );
  }
  // Until then, each of them could be chosen: one that is down, or one that cannot open what is to be restored.
  await untilHeard(scratch.map((seat) => seat.site));
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
  const able = scratch.filter((seat) => holdsKey(detector.view(seat.site), seat, { group: name, ...target }));
  const chosen =
    able.find((seat) => detector.isUp(seat.site)) ?? able.find((seat) => !isSilent(detector, seat.site)) ?? able[0];
  if (chosen === undefined) {
    const { domainKeyVersion: version, number } = target;
    const serials = scratch.map(({ serial }) => serial).join(', ');
    throw new AntipodeError(
      'DOMAIN_KEY_MISSING',
      `generation ${number} of group ${name} is sealed under domain key version ${version}, and scratch partition ${serials} does not hold it`,
      {
        details: { group: name, version, generation: number },
        hint: `Run \`antipode replicate ${name}\` and repeat the drill: the next generation is sealed under a version that every partition holds. A drill by calendar starts by itself then.`,
      },
    );
  }
  const state = { phase: 'planned', epoch: target.epoch, number: target.number, serial: chosen.serial };
  return (await reconciler.intend({ kind: 'drill', group: name, site: chosen.site, state, trace: {} }, isWanted)).id;
}
