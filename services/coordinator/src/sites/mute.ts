/**
 * The ways in which a site does not do its work although its heartbeats arrive. A heartbeat goes out from the agent, and
 * reads only its memory and its journal. So it proves neither that orders reach the agent, nor that anything is done
 * there. A mute site stays where it is: only people act on this. Trouble that has a code of its own in the account of a
 * partition (a refused PIN, a missing token) does not count here. Pure.
 */
import type { DescribeResponse } from '@antipode/protocol';
import type { AntipodeError } from '@antipode/runtime';
import type { Timings } from '../timings.ts';

export const MUTE_KINDS = ['calls', 'journal', 'hsm', 'turn', 'late'] as const;

/**
 * - `calls`: the coordinator does not reach the agent at its address.
 * - `journal`: the agent cannot write its journal, so it takes no order.
 * - `hsm`: a call to the HSM has no answer.
 * - `turn`: work has its turn at a partition and calls nothing, and all other work waits for it.
 * - `late`: the process of the agent itself runs late.
 */
export type MuteKind = (typeof MUTE_KINDS)[number];

export interface Muteness {
  readonly kind: MuteKind;
  /** Empty where it concerns the whole site. */
  readonly partition: string;
  readonly serial: string;
  readonly errorCode: string;
  readonly message: string;
  /** Monotonic. */
  readonly sinceMs: number;
  readonly hint: string;
}

/** Attempts to call an agent that have all failed since its last answer. */
export interface FailedCalls {
  readonly attempts: number;
  /** Monotonic time of the first. */
  readonly sinceMs: number;
  readonly error: AntipodeError;
}

/** Heartbeats in a row that came from a late event loop. */
export interface LateBeats {
  readonly beats: number;
  readonly sinceMs: number;
  readonly delayMs: number;
}

/** One lost call is an accident of the network. */
const ATTEMPTS_MIN = 2;
/** A pause of garbage collection makes one heartbeat late. */
const LATE_BEATS_MIN = 5;

type MuteTimings = Pick<Timings, 'suspectMs' | 'hangMs' | 'loopDelayMsMax'>;

export function mutenessesOf(
  {
    state,
    address,
    calls,
    late,
  }: {
    /** Its last account. */
    state: DescribeResponse;
    address: string;
    calls?: FailedCalls | undefined;
    late?: LateBeats | undefined;
  },
  { nowMs, timings }: { nowMs: number; timings: MuteTimings },
): Muteness[] {
  const { site } = state;
  const ofSite = { partition: '', serial: '' };
  const found: Muteness[] = [];
  if (calls !== undefined && calls.attempts >= ATTEMPTS_MIN && nowMs - calls.sinceMs >= timings.suspectMs)
    found.push({
      ...ofSite,
      kind: 'calls',
      errorCode: calls.error.code,
      message: `heartbeats of site ${site} arrive, but this coordinator does not reach its agent at ${address}: ${plain(calls.error)}`,
      sinceMs: calls.sinceMs,
      hint: `Check \`advertise\` and \`listen\` in agent.yaml of site ${site}, and the firewall between the coordinator and ${address}. No order reaches the site until then.`,
    });
  if (state.journalErrorCode !== '')
    found.push({
      ...ofSite,
      kind: 'journal',
      errorCode: state.journalErrorCode,
      message: `the agent of site ${site} cannot write its journal: ${state.journalErrorMessage}`,
      sinceMs: nowMs,
      hint: `Check the disk and the owner of the data folder at site ${site}. The agent takes no order and does not vote until it can write.`,
    });
  for (const { name, serial, unansweredMs, stalledMs, ordersWaiting } of state.partitions) {
    const partition = { partition: name, serial };
    if (unansweredMs > timings.hangMs)
      found.push({
        ...partition,
        kind: 'hsm',
        errorCode: 'HSM_WORKER_LOST',
        message: `the HSM at site ${site} does not answer, although its agent does and work is waiting`,
        sinceMs: nowMs - unansweredMs,
        hint: 'Check the HSM and the link to it. The agent continues by itself when the HSM answers again.',
      });
    else if (stalledMs > timings.hangMs)
      found.push({
        ...partition,
        kind: 'turn',
        errorCode: 'PARTITION_STALLED',
        message: `work has its turn at partition ${name} of site ${site} and makes no call to the HSM; ${ordersWaiting} ${ordersWaiting === 1 ? 'order waits' : 'orders wait'} for it`,
        sinceMs: nowMs - stalledMs,
        hint: `Look in the log of the agent of site ${site} for the last order of this partition. If nothing moves, restart the agent: every order may be repeated.`,
      });
  }
  if (late !== undefined && late.beats >= LATE_BEATS_MIN)
    found.push({
      ...ofSite,
      kind: 'late',
      errorCode: 'PROCESS_LATE',
      message: `the agent of site ${site} runs late: its last ${late.beats} heartbeats each came from a process that had waited for more than ${timings.loopDelayMsMax} ms for its turn, the last one for ${late.delayMs} ms`,
      sinceMs: late.sinceMs,
      hint: `Check the load, the memory and the swap of the machine of site ${site}. Its leases are at risk.`,
    });
  return found;
}

/** After another attempt to call the agent. */
export const afterCall = (
  before: FailedCalls | undefined,
  { error, nowMs }: { error: AntipodeError | undefined; nowMs: number },
): FailedCalls | undefined =>
  error === undefined ? undefined : { attempts: (before?.attempts ?? 0) + 1, sinceMs: before?.sinceMs ?? nowMs, error };

/** After another heartbeat. */
export const afterBeat = (
  before: LateBeats | undefined,
  { delayMs, delayMsMax, nowMs }: { delayMs: number; delayMsMax: number; nowMs: number },
): LateBeats | undefined =>
  delayMs <= delayMsMax ? undefined : { beats: (before?.beats ?? 0) + 1, sinceMs: before?.sinceMs ?? nowMs, delayMs };

const plain = ({ message, code }: AntipodeError): string => message.replace(`[${code}] `, '');
