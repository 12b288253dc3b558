/** Data on standard output, everything else on standard error. Tables for people, JSON for programs. */
import type { AntipodeError } from '@antipode/runtime';
import Table from 'cli-table3';

export interface Output {
  readonly isJson: boolean;
  /** The answer: `json` for programs, `text` for people. */
  data(json: unknown, text: () => string): void;
  /** What happens meanwhile; not part of the answer. */
  note(text: string): void;
}

export function output({ json }: { json?: boolean | undefined }): Output {
  return {
    isJson: json === true,
    data: (value, text) => process.stdout.write(`${json === true ? JSON.stringify(value, plain, 2) : text()}\n`),
    note: (text) => process.stderr.write(`${text}\n`),
  };
}

/** Rows in columns without frames: readable, and easy on grep. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const made = new Table({
    head: [...head],
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 2 },
    chars: {
      top: '',
      'top-mid': '',
      'top-left': '',
      'top-right': '',
      bottom: '',
      'bottom-mid': '',
      'bottom-left': '',
      'bottom-right': '',
      left: '',
      'left-mid': '',
      mid: '',
      'mid-mid': '',
      right: '',
      'right-mid': '',
      middle: '',
    },
  });
  made.push(...rows.map((row) => [...row]));
  return made
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

export function printError(error: AntipodeError, { json }: { json: boolean }): void {
  if (json) {
    process.stderr.write(
      `${JSON.stringify({ error: { code: error.code, message: error.message.replace(`[${error.code}] `, ''), hint: error.hint, details: error.details } }, plain)}\n`,
    );
    return;
  }
  process.stderr.write(`${error.message}\n  ${error.hint}\n`);
}

/** `2 min`, `4.2 s`, `just now`. */
export function duration(ms: number | bigint | undefined): string {
  if (ms === undefined) return '-';
  const value = Number(ms);
  if (value < 1_000) return `${Math.round(value)} ms`;
  if (value < 120_000) return `${(value / 1_000).toFixed(1)} s`;
  if (value < 7_200_000) return `${Math.round(value / 60_000)} min`;
  return `${Math.round(value / 3_600_000)} h`;
}

export function plain(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (_key === '$typeName' || _key === '$unknown') return undefined;
  return value;
}
