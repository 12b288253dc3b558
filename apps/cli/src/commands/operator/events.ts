import type { Event } from '@antipode/protocol';
import { AntipodeError, printable, systemClock } from '@antipode/runtime';
import { type Command, InvalidArgumentError } from 'commander';
import { EXIT } from '../../exit-codes.ts';
import { withOperator } from '../../operator-connection.ts';
import { collect, count, readCommand } from '../../options/options.ts';
import { output, type Structure } from '../../output.ts';
import { type FeedPorts, followEvents, tellEvents } from './event-feed.ts';

const LIMIT = 50;
/** Events above the first new one: a person sees that the command works. */
const BEFORE_FOLLOWING = 10;

interface EventsOptions {
  readonly config?: string;
  readonly json?: Structure;
  readonly timeout: number;
  readonly follow?: true;
  readonly group: string;
  readonly site: string;
  readonly kind: readonly string[];
  readonly since?: number;
  readonly until?: number;
  readonly limit?: number;
}

export function eventsCommand(): Command {
  return readCommand('events', 'show what has happened, and follow what happens', [
    'events',
    'events --follow',
    "events --since 2d --group payments --kind 'failover-*'",
    'events --since 2026-11-01 --until 2026-11-02T12:00Z --json',
  ])
    .option('--follow', 'go on with each new event until Ctrl-C')
    .option('--group <group>', 'only those of this group', '')
    .option('--site <site>', 'only those of this site', '')
    .option('--kind <kind>', 'only those of this kind, or that begin like it: drill-*; repeatable', collect, [])
    .option('--since <time>', 'all since then: 30m, 12h, 2d, or a time as 2026-11-01T12:00Z', moment)
    .option('--until <time>', 'none from then on', moment)
    .option('--limit <count>', `so many of the newest (default: ${LIMIT}, and all with --since)`, count)
    .addHelpText(
      'after',
      `\nWith --json, each event is one line of JSON.\n--follow outlasts coordinators: the next leader goes on where the last one ended.\nA reader that has left (| head) is noticed at the next event.\nOldest events are deleted after some time (docs/architecture.md).`,
    )
    .action(async (options: EventsOptions) => showEvents(options));
}

async function showEvents(options: EventsOptions): Promise<void> {
  const { follow, group, site, kind, since, until, limit } = options;
  if (follow && until !== undefined)
    throw new AntipodeError('USAGE', '--follow has no end, so it cannot be combined with --until', {
      details: { field: 'until' },
    });
  const stop = new AbortController();
  let isInterrupted = false;
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => {
      isInterrupted = true;
      stop.abort();
    });
  // A reader that leaves ends it, as it ends every other command.
  process.stdout.once('error', () => stop.abort());
  const out = output(options);
  const timeoutMs = options.timeout * 1_000;
  const newest = limit ?? (since === undefined ? (follow ? BEFORE_FOLLOWING : LIMIT) : 0);
  const request = {
    ...{ newest, group, site, kinds: [...kind] },
    ...(since === undefined ? {} : { sinceMs: BigInt(since) }),
    ...(until === undefined ? {} : { untilMs: BigInt(until) }),
  };
  await withOperator(options.config, async (operator) => {
    const ports: FeedPorts = {
      list: (page) => operator.listEvents(page, { timeoutMs, signal: stop.signal }),
      clock: systemClock,
      tell: (event) => out.line(eventJson(event), () => eventText(event)),
      note: (text) => out.note(text),
      signal: stop.signal,
    };
    if (follow) return followEvents(request, ports);
    if ((await tellEvents(request, ports)) === 0 && !stop.signal.aborted) out.note('No events.');
  });
  if (isInterrupted) process.exitCode = EXIT.interrupted;
}

export const eventJson = ({ id, atMs, kind, group, site, details }: Event) => ({
  id: Number(id),
  at: new Date(Number(atMs)).toISOString(),
  kind,
  group,
  site,
  details,
});

const KIND_WIDTH = 28;

/** One line: a value must not look like the next event. */
export function eventText({ atMs, kind, group, site, details }: Event): string {
  const where = [group && `group ${group}`, site && `site ${site}`].filter((part) => part !== '').join(', ');
  const told = Object.entries(details)
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([name, value]) => `${name}=${/\s|^$/.test(value) ? `"${printable(value)}"` : printable(value)}`);
  const words = [new Date(Number(atMs)).toISOString(), printable(kind).padEnd(KIND_WIDTH), where, ...told];
  return words.filter(Boolean).join('  ').trimEnd();
}

const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const TIME = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2}))?$/;

/** A length of time before now, or a time. */
export function moment(text: string, _before?: unknown, nowMs = systemClock.wallMs()): number {
  const [, number, unit = ''] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  if (number !== undefined) return Math.max(0, nowMs - Number(number) * UNITS[unit]!);
  const atMs = TIME.test(text) ? Date.parse(text) : Number.NaN;
  if (!(atMs >= 0))
    throw new InvalidArgumentError('It must be like 30m, 12h or 2d, or like 2026-11-01 or 2026-11-01T12:00Z (UTC).');
  return atMs;
}
