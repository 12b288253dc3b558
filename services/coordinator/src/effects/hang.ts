/** An HSM that does not answer at all: by what its agent says of the call that is under way. */
import type { PartitionState } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import type { Group } from '../model.ts';
import type { EffectContext } from './context.ts';

export const isHung = (partition: PartitionState | undefined, hangMs: number): boolean =>
  (partition?.unansweredMs ?? 0) > hangMs;

/**
 * Does the work, and gives it up when the HSM of that site has hung. Only where another member may take its place: a slow
 * one is better than none.
 * @throws HSM_WORKER_LOST
 */
export async function unlessHung<T>(
  { ports }: EffectContext,
  group: Group,
  { site, excluded }: { site: string; excluded: readonly string[] },
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { clock, detector, timings } = ports;
  const partitionOf = (name: string): PartitionState | undefined => {
    const member = group.members.find((one) => one.site === name);
    return detector.view(name)?.state?.partitions.find(({ serial }) => serial === member?.serial);
  };
  const hasOther = (): boolean =>
    group.members.some(
      ({ site: other, role }) =>
        other !== site &&
        role !== 'active' &&
        !excluded.includes(other) &&
        detector.isUp(other) &&
        partitionOf(other)?.errorCode === '' &&
        !isHung(partitionOf(other), timings.hangMs),
    );
  const stop = new AbortController();
  const done = new AbortController();
  const watch = async (): Promise<never> => {
    while (!done.signal.aborted) {
      await clock.sleep(timings.heartbeatMs, done.signal);
      if (done.signal.aborted || !isHung(partitionOf(site), timings.hangMs) || !hasOther()) continue;
      stop.abort();
      throw new AntipodeError('HSM_WORKER_LOST', `the HSM at site ${site} has not answered for ${timings.hangMs} ms`, {
        details: { site, hangMs: timings.hangMs },
      });
    }
    return new Promise<never>(() => {});
  };
  try {
    return await Promise.race([work(stop.signal), watch()]);
  } finally {
    done.abort();
  }
}
