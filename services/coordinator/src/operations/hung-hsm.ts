/** An HSM that does not answer at all: by what its agent says of the call that is under way. */

import type { PartitionState } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import type { Group } from '../model.ts';
import { partitionIn } from '../sites/accounts.ts';
import type { Detector } from '../sites/detector.ts';
import type { EffectContext } from './context.ts';

export const isHung = (partition: PartitionState | undefined, hangMs: number): boolean =>
  (partition?.unansweredMs ?? 0) > hangMs;

/** A site's partition in a group, by the site's last heartbeat. */
export const partitionOf = (
  detector: Pick<Detector, 'view'>,
  group: Group,
  site: string,
): PartitionState | undefined => {
  const member = group.members.find((one) => one.site === site);
  return partitionIn(detector.view(site)?.state, member?.serial);
};

/**
 * Does the work, and gives it up when the HSM of that site has hung. Only where another member may take its place: a slow
 * one is better than none.
 * @throws HSM_WORKER_LOST
 */
export function unlessHung<T>(
  context: EffectContext,
  group: Group,
  { site, excluded }: { site: string; excluded: readonly string[] },
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { detector, timings } = context.ports;
  const hasOther = (): boolean =>
    group.members.some(({ site: other, role }) => {
      const partition = partitionOf(detector, group, other);
      return (
        other !== site &&
        role !== 'active' &&
        !excluded.includes(other) &&
        detector.isUp(other) &&
        partition?.errorCode === '' &&
        !isHung(partition, timings.hangMs)
      );
    });
  const fault = (): AntipodeError | undefined =>
    isHung(partitionOf(detector, group, site), timings.hangMs) && hasOther() ? hungAt(site, timings.hangMs) : undefined;
  return unlessFault(context, fault, work);
}

/**
 * Does work that a move needs before anything is changed. Gives it up when one of these sites is down or its HSM has
 * hung, because everything else that is due waits meanwhile.
 * @throws SITE_UNREACHABLE, HSM_WORKER_LOST
 */
export function whileUsable<T>(
  context: EffectContext,
  group: Group,
  { sites }: { sites: readonly string[] },
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { detector, timings } = context.ports;
  const fault = (): AntipodeError | undefined => {
    const down = sites.find((site) => detector.view(site)?.status === 'down');
    if (down !== undefined)
      return new AntipodeError('SITE_UNREACHABLE', `site ${down} is down`, { details: { site: down } });
    const hung = sites.find((site) => isHung(partitionOf(detector, group, site), timings.hangMs));
    return hung === undefined ? undefined : hungAt(hung, timings.hangMs);
  };
  return unlessFault(context, fault, work);
}

const hungAt = (site: string, hangMs: number): AntipodeError =>
  new AntipodeError('HSM_WORKER_LOST', `the HSM at site ${site} has not answered for ${hangMs} ms`, {
    details: { site, hangMs },
  });

/** Looks at every heartbeat; what is given up is cancelled. */
async function unlessFault<T>(
  { ports: { clock, timings } }: EffectContext,
  fault: () => AntipodeError | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const stop = new AbortController();
  const done = new AbortController();
  const watch = async (): Promise<never> => {
    while (!done.signal.aborted) {
      await clock.sleep(timings.heartbeatMs, done.signal);
      const found = done.signal.aborted ? undefined : fault();
      if (found === undefined) continue;
      stop.abort();
      throw found;
    }
    return new Promise<never>(() => {});
  };
  try {
    return await Promise.race([work(stop.signal), watch()]);
  } finally {
    done.abort();
  }
}
