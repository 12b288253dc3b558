/**
 * How long the word of the other sites holds for an active member (ADR 0048). The same in every profile: its coordinators
 * and the one that takes over may have different ones.
 */

/** Nobody else is promoted for this long after the last site that could have given its word has persisted an epoch. */
export const VOUCH_MS = 4_000;
/** The active member stops by itself after this long, counted from when it asked. */
export const VOUCH_STOP_MS = 3_000;
