/**
 * The id of one call, by which its line is found in the log of the server. Commands make one for each call, agents and
 * coordinators make none. The server writes a call with an id into its log if the call fails, and sends the id back if
 * it has. Both sides take an id of the exact form only, so that whatever a peer sends is in no log and on no terminal.
 */
import { randomBytes } from 'node:crypto';
import type { Clock, Log, LogFields, LogLevel } from '@antipode/runtime';

/** Name in the metadata of a call, and in those of its answer. */
export const CALL_ID = 'antipode-call-id';
const FORM = /^[0-9a-f]{16}$/;

export const newCallId = (): string => randomBytes(8).toString('hex');

/** Undefined for anything but an id. Several values of one name are none. */
export const asCallId = (sent: unknown): string | undefined =>
  typeof sent === 'string' && sent.length === 16 && FORM.test(sent) ? sent : undefined;

/** A person repeats a command some times a minute. A peer that floods the log is held to this. */
const LINES_PER_MINUTE_MAX = 60;
const WINDOW_MS = 60_000;
const PEERS_MAX = 256;

/** Logs calls that failed, by their ids. A peer gets so many lines a minute, and no ids beyond them. */
export class CallLines {
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #written = new Map<string, number>();
  #windowMs = Number.NEGATIVE_INFINITY;

  constructor({ log, clock }: { log: Log; clock: Clock }) {
    this.#log = log;
    this.#clock = clock;
  }

  /**
   * Writes the line at `level`, and at `info` where the call has an id.
   * @returns the id if the line with it is in the log, for the caller to look for
   */
  write(
    { id, peer, level = 'debug' }: { id: string | undefined; peer: string; level?: LogLevel },
    message: string,
    fields: LogFields,
  ): string | undefined {
    if (id === undefined) {
      this.#log.at(level, message, fields);
      return undefined;
    }
    const raised = level === 'debug' && this.#hasRoom(peer) ? 'info' : level;
    this.#log.at(raised, message, { call: id, peer, ...fields });
    return raised !== 'debug' && this.#log.writes(raised) ? id : undefined;
  }

  #hasRoom(peer: string): boolean {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#windowMs >= WINDOW_MS || this.#written.size >= PEERS_MAX) {
      this.#windowMs = nowMs;
      this.#written.clear();
    }
    const before = this.#written.get(peer) ?? 0;
    if (before >= LINES_PER_MINUTE_MAX) return false;
    this.#written.set(peer, before + 1);
    return true;
  }
}
