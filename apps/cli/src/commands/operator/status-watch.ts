/**
 * The status again and again. A terminal is drawn over in place, line by line, so that nothing flickers, and is put back
 * as it was at the end. Anything else gets a line for each change.
 */
import type { GetStatusResponse } from '@antipode/protocol';
import { AntipodeError, type Clock, PROTECTION_STATES, printableLines } from '@antipode/runtime';
import { coloured, isColoured } from '../../colours.ts';
import { jsonText } from '../../output.ts';
import { isDegraded, statusText } from '../../views/status.ts';
import { isPassing } from './event-feed.ts';

export interface Screen {
  readonly isTTY?: boolean;
  readonly rows?: number;
  readonly columns?: number;
  write(text: string): unknown;
}

export interface WatchPorts {
  readonly read: () => Promise<GetStatusResponse>;
  readonly screen: Screen;
  readonly clock: Pick<Clock, 'sleep' | 'wallMs'>;
  readonly everyMs: number;
  /** Ends it. */
  readonly signal: AbortSignal;
  /** A line of JSON for each change, whatever reads it. */
  readonly json: boolean;
}

const ENTER = '\u001b[?1049h\u001b[?25l';
const LEAVE = '\u001b[?25h\u001b[?1049l';
const HOME = '\u001b[H';
const END_OF_LINE = '\u001b[K';
const BELOW = '\u001b[J';

/** While an answer takes longer, a terminal says so above the last one, and again after as long. */
export const LATE_MS = 2_000;

type Answer = GetStatusResponse | AntipodeError;

/** Goes on over errors that pass: a coordinator that restarts is what somebody watches for. */
export async function watchStatus({ read, screen, clock, everyMs, signal, json }: WatchPorts): Promise<void> {
  const isDrawn = screen.isTTY === true && !json;
  const now = (): string => new Date(clock.wallMs()).toISOString();
  let last: readonly string[] = [];
  let drawn: { answer: Answer; at: string } | undefined;
  if (isDrawn) screen.write(ENTER);
  try {
    while (!signal.aborted) {
      const here = new AbortController();
      const asked = read()
        .catch((thrown: unknown) => {
          const error = AntipodeError.from(thrown);
          // The call that Ctrl-C ends has no answer.
          if (signal.aborted || isPassing(error)) return error;
          throw error;
        })
        .finally(() => here.abort());
      if (isDrawn) await tellLate({ drawn, screen, clock, now }, AbortSignal.any([signal, here.signal]));
      const answer = await asked;
      if (signal.aborted) break;
      const at = now();
      if (isDrawn) screen.write(frame(answer, { screen, head: at }));
      else last = tell(answer, { last, screen, at, json });
      drawn = { answer, at };
      await clock.sleep(everyMs, signal);
    }
  } finally {
    if (isDrawn) screen.write(LEAVE);
  }
}

/** An old picture must not pass for the present one. Ends with the signal. */
async function tellLate(
  {
    drawn,
    screen,
    clock,
    now,
  }: Pick<WatchPorts, 'screen' | 'clock'> & {
    drawn: { answer: Answer; at: string } | undefined;
    now: () => string;
  },
  signal: AbortSignal,
): Promise<void> {
  for (let lateMs = LATE_MS; ; lateMs += LATE_MS) {
    await clock.sleep(LATE_MS, signal);
    if (signal.aborted) return;
    const late = `${now()}  no answer for ${lateMs / 1_000} s`;
    const head = drawn === undefined ? late : `${late}; the state below is that of ${drawn.at}`;
    screen.write(frame(drawn?.answer, { screen, head }));
  }
}

function frame(answer: Answer | undefined, { screen, head }: { screen: Screen; head: string }): string {
  const text =
    answer === undefined
      ? ''
      : answer instanceof AntipodeError
        ? `${answer.message}\n  ${answer.hint}`
        : statusText(answer);
  const plain = printableLines(text)
    .split('\n')
    .flatMap((line) => folded(line, screen.columns))
    .join('\n');
  const painted = isColoured(screen) ? coloured(plain) : plain;
  const lines = [...folded(`${head}  Ctrl-C ends`, screen.columns), '', ...painted.split('\n')];
  // A serial console does not know its size, and says 0.
  const room = Math.max(3, (screen.rows || 24) - 1);
  const shown =
    lines.length <= room ? lines : [...lines.slice(0, room - 1), `... ${lines.length - room + 1} more lines`];
  return `${HOME}${shown.map((line) => `${line}${END_OF_LINE}`).join('\n')}${BELOW}`;
}

/**
 * Wrapped lines that nobody counts would push the first ones off the screen. The last column stays free: a terminal
 * erases what stands there with the rest of the line.
 */
function folded(line: string, columns = 0): string[] {
  const width = columns - 1;
  if (width < 1 || line.length <= width) return [line];
  return Array.from({ length: Math.ceil(line.length / width) }, (_, at) => line.slice(at * width, (at + 1) * width));
}

/** @returns the facts of now: the next call tells only those that are new */
function tell(
  status: Answer,
  { last, screen, at, json }: { last: readonly string[]; screen: Screen; at: string; json: boolean },
): readonly string[] {
  const facts = status instanceof AntipodeError ? [`no answer: ${status.code}`] : factsOf(status);
  const news = facts.filter((fact) => !last.includes(fact));
  if (news.length === 0) return facts;
  if (!json) screen.write(news.map((fact) => `${at} ${printableLines(fact)}\n`).join(''));
  else if (!(status instanceof AntipodeError)) screen.write(`${jsonText({ at, status })}\n`);
  else screen.write(`${jsonText({ at, error: { code: status.code, hint: status.hint } })}\n`);
  return facts;
}

function factsOf(status: GetStatusResponse): string[] {
  const { coordinator, isLeader, sites, groups, operations, planningTroubles, receivers, heartbeats } = status;
  const worst = [...groups].sort((one, other) => rank(other.protection) - rank(one.protection));
  return [
    isLeader
      ? `coordinator ${coordinator} leads${isDegraded(status) ? '; something needs a look' : '; all is well'}`
      : `coordinator ${coordinator} does not lead; its view of sites can be out of date`,
    ...planningTroubles.map(({ group, errorCode }) => `planning of ${group || 'all groups'}: ${errorCode}`),
    ...worst.map(
      ({ spec, protection, activeSite, epoch }) =>
        `group ${spec?.name ?? ''} ${protection}, active at ${activeSite || 'no site'} in epoch ${epoch}`,
    ),
    ...sites.map(({ site, state }) => `site ${site} ${state}`),
    ...operations
      .filter(({ status: state }) => state === 'open' || state === 'parked')
      .map(
        ({ id, kind, group, phase, status: state }) =>
          `operation ${id.slice(0, 8)} ${kind} of ${group}: ${state === 'parked' ? 'waits for a person' : phase}`,
      ),
    ...receivers.filter(({ trouble }) => trouble !== '').map(({ name }) => `receiver ${name} accepts nothing`),
    ...heartbeats.filter(({ trouble }) => trouble !== '').map(({ name }) => `heartbeat ${name} does not go out`),
  ];
}

const rank = (protection: string): number => (PROTECTION_STATES as readonly string[]).indexOf(protection);
