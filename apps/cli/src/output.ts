/**
 * Data on standard output, everything else on standard error. Tables for people, JSON and YAML for programs. All of them
 * can hold words of another site, so a terminal must not obey them. In JSON and YAML an escape means the same character.
 */
import { enumWord } from '@antipode/protocol';
import { AntipodeError, printableLines } from '@antipode/runtime';
import { Document, visit } from 'yaml';
import { coloured, isColoured } from './colours.ts';
import { exitCodeOf } from './exit-codes.ts';

export { duration } from '@antipode/operator';
export { table } from './table.ts';

export interface Output {
  readonly isJson: boolean;
  /** The answer: `json` for programs, `text` for people, unless it is `forShell`: a shell must read what was meant. */
  data(json: unknown, text: () => string, options?: { readonly forShell?: boolean }): void;
  /** One of many: JSON has a line for each, and YAML a document. */
  line(json: unknown, text: () => string): void;
  /** Progress, which is not part of the answer. */
  note(text: string): void;
}

/** As `--json` or `--output` asks; `main` makes one of the other. */
export type Structure = boolean | 'yaml' | undefined;

export function output({ json }: { json?: Structure }): Output {
  return {
    isJson: Boolean(json),
    data: (value, text, { forShell = false } = {}) => {
      const shown = json ? structured(value, json) : forShell ? text() : painted(printableLines(text()));
      process.stdout.write(`${shown}\n`);
    },
    line: (value, text) => {
      const yaml = (): string => `---\n${structured(value, 'yaml')}`;
      const shown = json === 'yaml' ? yaml() : json ? JSON.stringify(value, plain) : painted(printableLines(text()));
      process.stdout.write(`${shown}\n`);
    },
    note: (text) => process.stderr.write(`${printableLines(text)}\n`),
  };
}

/** JSON that a terminal shows as it is: `JSON.stringify` leaves some control characters in strings. */
export const jsonText = (value: unknown, indent?: number): string =>
  printableLines(JSON.stringify(value, plain, indent));

function structured(value: unknown, how: true | 'yaml'): string {
  const json = jsonText(value, 2);
  return how === 'yaml' ? yamlText(JSON.parse(json) as unknown) : json;
}

/** For readers of YAML 1.1 too, to whom a group of the name `no` would be false. */
function yamlText(value: unknown): string {
  const document = new Document(value, { compat: 'yaml-1.1' });
  visit(document, {
    Scalar: (_key, scalar) => {
      if (typeof scalar.value === 'string' && printableLines(scalar.value) !== scalar.value)
        scalar.type = 'QUOTE_DOUBLE';
    },
  });
  return printableLines(document.toString()).trimEnd();
}

/** On standard error, in front of the answer. */
export const warn = (text: string): void => void process.stderr.write(`${printableLines(`Warning: ${text}`)}\n`);

const painted = (text: string): string => (isColoured(process.stdout) ? coloured(text) : text);

/** Whether a program reads the answer: then an error is one line of JSON, whatever the form of the answer. */
export function isStructured(argv: readonly string[]): boolean {
  return argv.some((word, at) => {
    const format = word === '--output' ? argv[at + 1] : /^--output=(.*)$/.exec(word)?.[1];
    return word === '--json' || format === 'json' || format === 'yaml';
  });
}

export function printError(error: AntipodeError, { json }: { json: boolean }): void {
  const failed = failedCall(error);
  if (json) {
    const details = failed === undefined ? error.details : { ...error.details, callId: failed.callId };
    const message = error.message.replace(`[${error.code}] `, '');
    process.stderr.write(`${jsonText({ error: { code: error.code, message, hint: error.hint, details } })}\n`);
    return;
  }
  const call = failed === undefined ? '' : `  Call ${failed.callId}: search the log of ${failed.peer} for it.\n`;
  process.stderr.write(printableLines(`${error.message}\n  ${error.hint}\n${call}`));
}

/** Longer chains of causes than this are not made. */
const CAUSES_MAX = 8;

/** The call that a command failed with, if the log of its server has it: in the error, or in what caused it. */
function failedCall(error: AntipodeError): { callId: string; peer: string } | undefined {
  let at: unknown = error;
  for (let depth = 0; at instanceof AntipodeError && depth < CAUSES_MAX; depth += 1, at = at.cause) {
    const { callId, answeredBy, peer = 'the server' } = at.details;
    if (callId !== undefined) return { callId: String(callId), peer: String(answeredBy ?? peer) };
  }
  return undefined;
}

/**
 * A replacer for `JSON.stringify`: bytes in hexadecimal, large integers as strings of their digits, enums as words, and no
 * fields that only the wire needs. It reads the value from the holder, because a Buffer has already turned itself into an
 * object (`toJSON`) when the replacer sees it.
 */
export function plain(this: unknown, key: string, value: unknown): unknown {
  const holder = this as Readonly<Record<string, unknown>> | undefined;
  const raw = holder?.[key] ?? value;
  const word = typeof raw === 'number' ? enumWord(String(holder?.['$typeName']), key, raw) : undefined;
  if (word !== undefined) return word;
  if (typeof raw === 'bigint') return Number.isSafeInteger(Number(raw)) ? Number(raw) : raw.toString();
  if (raw instanceof Uint8Array) return Buffer.from(raw).toString('hex');
  if (key === '$typeName' || key === '$unknown') return undefined;
  return value;
}

/**
 * A reader can leave (`antipode status | head -1`, a closed terminal). Later output is dropped, and the work continues. An
 * answer that cannot be written, as on a full disk, is an error. A log that cannot be written does not stop an agent.
 */
export function guardOutput({
  stdout = process.stdout,
  stderr = process.stderr,
  fail = (error: AntipodeError): void => {
    printError(error, { json: isStructured(process.argv) });
    process.exit(exitCodeOf(error));
  },
}: {
  stdout?: NodeJS.WritableStream;
  stderr?: NodeJS.WritableStream;
  fail?: (error: AntipodeError) => void;
} = {}): void {
  stdout.on('error', (cause: NodeJS.ErrnoException) => {
    if (isUnread(cause)) return;
    const hint =
      'Free space for the output. Repeat the command if it only reads. If it gave an order, the order stands: do not give it again.';
    const details = { path: '/dev/stdout' };
    fail(
      new AntipodeError('FILE_UNWRITABLE', `cannot write to standard output: ${cause.message}`, {
        details,
        cause,
        hint,
      }),
    );
  });
  stderr.on('error', () => {});
}

/** Resolves when all that was said has been taken. Then the process may end, whatever it still has open. */
export async function flushOutput(): Promise<void> {
  for (const stream of [process.stdout, process.stderr])
    if (!stream.destroyed) await new Promise<void>((resolve) => void stream.write('', () => resolve()));
}

/** EPIPE: the other end of a pipe is closed. EIO: the terminal is gone. */
export function isUnread(error: unknown): boolean {
  return ['EPIPE', 'EIO'].includes((error as NodeJS.ErrnoException | undefined)?.code ?? '');
}
