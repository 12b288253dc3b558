/**
 * Limits for the links between sites. They come from the coordinator's profile; until then they are those of the
 * longest link.
 */
import { type LinkLimits, linkLimits, ROUND_TRIP_MS_MAX } from '@antipode/protocol';

export class Link {
  #limits = linkLimits(ROUND_TRIP_MS_MAX);

  get limits(): LinkLimits {
    return this.#limits;
  }

  /** A coordinator that says nothing, or something absurd, changes nothing: nobody may stretch a limit to hours. */
  learn(roundTripMsMax: number): void {
    if (roundTripMsMax > 0 && roundTripMsMax <= ROUND_TRIP_MS_MAX) this.#limits = linkLimits(roundTripMsMax);
  }
}
