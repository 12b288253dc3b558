/**
 * The limits of a link with a given round trip. Every limit of a connection derives from this one figure, so that none
 * of them is shorter than the network allows. A new connection takes four round trips: TCP, TLS, HTTP/2 and the call.
 */

export interface LinkLimits {
  /** A peer that swallows bytes is noticed within their sum. */
  readonly keepalive: { readonly timeMs: number; readonly timeoutMs: number };
  /** Of one attempt to connect, its handshakes included. One that hangs is given up, and another one is made. */
  readonly connectMs: number;
  /** Of a call that is answered at once, over a connection that stands. */
  readonly answerMs: number;
}

/** The longest round trip that anything here is made for: what the profile `wan` promises. */
export const ROUND_TRIP_MS_MAX = 3_000;

export function linkLimits(roundTripMsMax: number): LinkLimits {
  return {
    keepalive: { timeMs: roundTripMsMax * 2, timeoutMs: roundTripMsMax * 1.5 },
    connectMs: roundTripMsMax * 5,
    answerMs: roundTripMsMax * 2,
  };
}
