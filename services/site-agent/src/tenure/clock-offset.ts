/**
 * How far the wall clock of this site is from that of the coordinator that answers. For people only: nothing is decided by
 * it (ADR 0043 compares speeds instead). But approvals and certificates end by wall clocks.
 */

export interface ClockOffset {
  /** This site's minus the coordinator's; milliseconds. */
  readonly ms: number;
  /** By how much it may be wrong, either way. */
  readonly errorMs: number;
}

/** The coordinator read its clock between the sending of the heartbeat and the arrival of its answer. */
export function clockOffset({
  theirsMs,
  receivedMs,
  roundTripMs,
}: {
  /** The coordinator's wall clock when it answered. */
  readonly theirsMs: number;
  /** This site's wall clock when the answer came. */
  readonly receivedMs: number;
  /** By a clock that nobody sets. */
  readonly roundTripMs: number;
}): ClockOffset {
  return { ms: receivedMs - roundTripMs / 2 - theirsMs, errorMs: roundTripMs / 2 };
}
