/** The deadline of a switchover: a person has agreed on a time with those who use the keys. */
import { AntipodeError } from '@antipode/runtime';
import { agoMs } from '../../calendar/timeline.ts';
import type { Intent } from '../../store/tables/intents.ts';
import type { EffectContext } from '../context.ts';

type Ordered = Pick<Intent, 'createdMs' | 'group'>;

/** @throws FAILOVER_REFUSED when it is over */
export function requireInTime({ ports }: EffectContext, intent: Ordered, deadlineMs: number | undefined): void {
  if (leftMs(ports.clock.wallMs(), intent, deadlineMs) <= 0) throw missed(intent, deadlineMs);
}

/** Cancels the work at the deadline. @throws FAILOVER_REFUSED */
export async function inTime<T>(
  { ports: { clock } }: EffectContext,
  intent: Ordered,
  deadlineMs: number | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const over = new AbortController();
  if (deadlineMs === undefined) return work(over.signal);
  const done = new AbortController();
  const watch = async (): Promise<never> => {
    await clock.sleep(Math.max(0, leftMs(clock.wallMs(), intent, deadlineMs)), done.signal);
    if (done.signal.aborted) return new Promise<never>(() => {});
    over.abort();
    throw missed(intent, deadlineMs);
  };
  try {
    return await Promise.race([work(over.signal), watch()]);
  } finally {
    done.abort();
  }
}

const leftMs = (nowMs: number, { createdMs }: Ordered, deadlineMs = Number.POSITIVE_INFINITY): number =>
  deadlineMs - agoMs({ nowMs, stampMs: createdMs });

const missed = ({ group }: Ordered, deadlineMs = 0): AntipodeError =>
  new AntipodeError(
    'FAILOVER_REFUSED',
    `the switchover of group ${group} was not ready ${deadlineMs / 1_000} s after the order; nothing was changed`,
    {
      details: { group, deadlineMs },
      hint: 'Order it again with more time, or without --deadline. There is no loss to accept. `antipode status` shows whether a site lags.',
    },
  );
