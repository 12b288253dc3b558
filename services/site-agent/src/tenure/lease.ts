/**
 * The right to act as the active member, for a while. Counted from the moment the renewal was *sent*, so that it ends here
 * before anybody else may count on its end. The sleep of the machine counts, since the coordinator's machine did not
 * sleep (ADR 0043). A restarted agent holds none.
 */
import { AntipodeError, type Clock, elapsedMs } from '@antipode/runtime';

export interface Grant {
  readonly group: string;
  readonly epoch: bigint;
  /** Elapsed time, with the sleep of the machine, at which the renewal was asked for. */
  readonly sentAtMs: number;
  readonly selfStopMs: number;
}

export class LeaseKeeper {
  readonly #clock: Clock;
  readonly #leases = new Map<string, { epoch: bigint; untilMs: number }>();

  constructor({ clock }: { clock: Clock }) {
    this.#clock = clock;
  }

  /** A grant that was overtaken by a later one changes nothing. */
  grant({ group, epoch, sentAtMs, selfStopMs }: Grant): void {
    const held = this.#leases.get(group);
    const untilMs = sentAtMs + selfStopMs;
    if (held !== undefined && (held.epoch > epoch || (held.epoch === epoch && held.untilMs >= untilMs))) return;
    this.#leases.set(group, { epoch, untilMs });
  }

  revoke(group: string): void {
    this.#leases.delete(group);
  }

  remainingMs(group: string, epoch: bigint): number {
    const lease = this.#leases.get(group);
    return lease?.epoch === epoch ? Math.max(0, lease.untilMs - elapsedMs(this.#clock)) : 0;
  }

  /** @throws LEASE_LAPSED */
  check(group: string, epoch: bigint): void {
    if (this.remainingMs(group, epoch) > 0) return;
    throw new AntipodeError('LEASE_LAPSED', `no valid lease for epoch ${epoch} of group ${group}`, {
      details: { group, epoch },
    });
  }
}
