/** How long things take, by profile. Each figure says which failure it prevents. */

import { ROUND_TRIP_MS_MAX } from '@antipode/protocol';

export interface Timings {
  /** How often agents call. */
  readonly heartbeatMs: number;
  /** Silence after which a site is suspect: a few lost heartbeats, no garbage collection pause. */
  readonly suspectMs: number;
  /** How long other sites get to reach a suspect one before it counts as down. */
  readonly probeTimeoutMs: number;
  /** How many rounds of probes must fail. */
  readonly probeRounds: number;
  /** An observer whose own event loop was this late does not convict. */
  readonly loopDelayMsMax: number;
  /** Nobody else is promoted for this long after a grant. */
  readonly leaseMs: number;
  /** The active member stops by itself after this long. */
  readonly selfStopMs: number;
  /** The longest round trip between two sites at which everything works: no limit of a call or a connection is shorter. */
  readonly roundTripMsMax: number;
  /** A call to an HSM without any answer for this long has hung: nobody waits for it while nobody serves. */
  readonly hangMs: number;
  /** An HSM of the active site that is gone for this long is as good as the site lost, where its group fails over by itself. */
  readonly hsmLostMs: number;
  /** How often the coordinator looks what is due. */
  readonly planMs: number;
  /** Time to live of the coordinators' own leader lease. */
  readonly leaderMs: number;
  /** After an automatic failover, none follows in the same group for this long: a flapping site is a person's matter. */
  readonly automaticFailoverGapMs: number;
  /** How long an operation that waits for a person is left alone before its cause is looked at again. */
  readonly parkedRetryMs: number;
}

const DEFAULT: Timings = {
  heartbeatMs: 1_000,
  suspectMs: 5_000,
  probeTimeoutMs: 2_000,
  probeRounds: 2,
  loopDelayMsMax: 1_000,
  leaseMs: 20_000,
  selfStopMs: 15_000,
  roundTripMsMax: 1_000,
  hangMs: 60_000,
  hsmLostMs: 60_000,
  planMs: 1_000,
  leaderMs: 5_000,
  automaticFailoverGapMs: 3_600_000,
  parkedRetryMs: 30_000,
};

const doubled = (timings: Timings): Timings => ({
  ...timings,
  heartbeatMs: timings.heartbeatMs * 2,
  suspectMs: timings.suspectMs * 2,
  probeTimeoutMs: timings.probeTimeoutMs * 2,
  leaseMs: timings.leaseMs * 2,
  selfStopMs: timings.selfStopMs * 2,
  roundTripMsMax: ROUND_TRIP_MS_MAX,
});

export const PROFILES = {
  default: DEFAULT,
  wan: doubled(DEFAULT),
  /** For demonstrations and tests on one machine: everything done in under 10 s. */
  fast: {
    ...DEFAULT,
    heartbeatMs: 250,
    suspectMs: 1_250,
    probeTimeoutMs: 400,
    probeRounds: 2,
    leaseMs: 4_000,
    selfStopMs: 3_000,
    hangMs: 5_000,
    hsmLostMs: 5_000,
    planMs: 250,
    leaderMs: 2_000,
    parkedRetryMs: 2_000,
  },
} as const satisfies Record<string, Timings>;

export type Profile = keyof typeof PROFILES;
