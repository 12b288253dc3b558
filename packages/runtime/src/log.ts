/**
 * Structured logs: one JSON object a line for programs, one readable line for a terminal or a journal. Field values are
 * ids, digests and numbers; errors are written with code, message, details and the chain of causes.
 */

import { fstatSync } from 'node:fs';
import { AntipodeError } from './errors.ts';
import { printableLines } from './printable.ts';
import type { Clock } from './time/clock.ts';
import { systemClock } from './time/clock.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
export type LogFields = Readonly<Record<string, unknown>>;

const SEVERITY: Record<LogLevel, number> = { debug: 10, info: 20, warn: 30, error: 40 };
/** Priorities of sd-daemon(3), by which `journalctl -p` selects. */
const PRIORITY: Record<LogLevel, number> = { debug: 7, info: 6, warn: 4, error: 3 };
const FORMATS = ['json', 'text', 'journal'] as const;

export class Log {
  readonly #write: (line: string) => void;
  readonly #options: LogOptions;

  constructor(options: LogOptions) {
    this.#options = options;
    this.#write = options.write ?? ((line) => process.stderr.write(`${line}\n`));
  }

  /** A log that adds `fields` to every line. */
  with(fields: LogFields): Log {
    return new Log({ ...this.#options, fields: { ...this.#options.fields, ...fields } });
  }

  debug(message: string, fields?: LogFields): void {
    this.at('debug', message, fields);
  }

  info(message: string, fields?: LogFields): void {
    this.at('info', message, fields);
  }

  warn(message: string, fields?: LogFields): void {
    this.at('warn', message, fields);
  }

  error(message: string, fields?: LogFields): void {
    this.at('error', message, fields);
  }

  /** Whether lines of this level are written. */
  writes(level: LogLevel): boolean {
    return SEVERITY[level] >= SEVERITY[this.#options.level];
  }

  at(level: LogLevel, message: string, fields: LogFields = {}): void {
    if (!this.writes(level)) return;
    const clock = this.#options.clock ?? systemClock;
    const time = new Date(clock.wallMs()).toISOString();
    const all = { ...this.#options.fields, ...fields };
    const lines = {
      json: () => JSON.stringify({ time, level, message, ...all }, serialise),
      text: () => `${time.slice(11, 23)} ${level.padEnd(5)} ${oneLine(`${message}${pretty(all)}`)}`,
      // The journal keeps time and level by itself.
      journal: () => `<${PRIORITY[level]}>${oneLine(`${message}${pretty(all)}`)}`,
    };
    // Fields can hold words of another site. An escape in JSON means the same character.
    this.#write(printableLines(lines[this.#options.format]()));
  }
}

export interface LogOptions {
  readonly level: LogLevel;
  readonly format: (typeof FORMATS)[number];
  readonly fields?: LogFields;
  readonly clock?: Clock;
  readonly write?: (line: string) => void;
}

/**
 * A log for standard error: JSON unless it is a terminal or the journal. `ANTIPODE_LOG_LEVEL` and `ANTIPODE_LOG_FORMAT`
 * override.
 */
export function processLog(fields: LogFields = {}): Log {
  const level = process.env['ANTIPODE_LOG_LEVEL'] ?? 'info';
  const asked = process.env['ANTIPODE_LOG_FORMAT'];
  const format =
    FORMATS.find((one) => one === asked) ?? (process.stderr.isTTY ? 'text' : isJournal(2) ? 'journal' : 'json');
  return new Log({
    level: Object.hasOwn(SEVERITY, level) ? (level as LogLevel) : 'info',
    format,
    fields,
  });
}

/** Whether a descriptor leads to the journal: systemd names the device and inode of the stream that it has made. */
export function isJournal(descriptor: number, stream = process.env['JOURNAL_STREAM']): boolean {
  if (stream === undefined) return false;
  try {
    const { dev, ino } = fstatSync(descriptor);
    return stream === `${dev}:${ino}`;
  } catch {
    return false;
  }
}

/** A log that says nothing: for tests, which are silent when green. */
export const silentLog = new Log({ level: 'error', format: 'json', write: () => {} });

/**
 * For JSON.stringify. Bytes are read from their holder: as a value, a Buffer has already turned itself into an object.
 */
function serialise(this: Readonly<Record<string, unknown>>, key: string, value: unknown): unknown {
  const raw = this[key];
  if (raw instanceof Uint8Array) return Buffer.from(raw).toString('hex');
  if (typeof value === 'bigint') return value.toString();
  if (value instanceof Error) return describe(value);
  return value;
}

function describe(error: Error): object {
  const cause = error.cause instanceof Error ? { cause: describe(error.cause) } : {};
  if (error instanceof AntipodeError) {
    return { code: error.code, message: error.message, details: error.details, hint: error.hint, ...cause };
  }
  return { message: error.message, stack: error.stack, ...cause };
}

/** A second line would look like an entry of its own. */
const oneLine = (text: string): string => text.replace(/\s*\n\s*/g, ' | ');

function pretty(fields: LogFields): string {
  return Object.entries(fields)
    .map(
      ([name, value]) =>
        ` ${name}=${value instanceof Error ? value.message : (JSON.stringify(value, serialise) ?? '-').replace(/^"(.*)"$/s, '$1')}`,
    )
    .join('');
}
