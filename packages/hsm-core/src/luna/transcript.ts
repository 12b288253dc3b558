/**
 * Commands and answers of a run, kept beside the evidence of its job. Passwords are taken out before anything
 * is kept. A tool may echo one, and a broken line may show it in part.
 */
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Clock, type Prng, type Secret, systemPrng, writeFileDurably } from '@antipode/runtime';

export interface TranscriptSink {
  /** Called once for each run of the tool, with text that holds no secret. */
  keep(job: string, text: string): void;
}

/** Parts of a password as short as this are taken out too. */
const PART = 6;
const MASK = '********';

export class Transcript {
  readonly #pieces: string[] = [];
  readonly #secrets: Secret[] = [];

  /** From now on this is taken out, wherever it is. */
  protect(secrets: readonly Secret[]): void {
    this.#secrets.push(...secrets);
  }

  typed(shown: string): void {
    this.#pieces.push(`> ${shown}\n`);
  }

  printed(lines: readonly string[]): void {
    for (const line of lines) this.#pieces.push(`${line}\n`);
  }

  noted(event: string): void {
    this.#pieces.push(`# ${event}\n`);
  }

  text(): string {
    return scrubbed(this.#pieces.join(''), this.#secrets);
  }
}

export function scrubbed(text: string, secrets: readonly Secret[]): string {
  // The rest of the line goes: a line that was cut or damaged has no end of the value to find.
  let clean = text.replaceAll(/(-(?:password|domain)\b)[^\r\n]*/gi, `$1 ${MASK}`);
  for (const secret of secrets) {
    // A string of a secret cannot be wiped. The text that it is searched in has come from the tool as a string already.
    for (const part of secret.expose((bytes) => partsOf(bytes.toString('utf8')))) clean = clean.replaceAll(part, MASK);
  }
  return clean;
}

function partsOf(value: string): string[] {
  if (value.length <= PART) return value === '' ? [] : [value];
  const windows = Array.from({ length: value.length - PART + 1 }, (_, at) => value.slice(at, at + PART));
  return [value, ...windows];
}

/** Files that only their owner reads, named by the time and the job. */
export class TranscriptFolder implements TranscriptSink {
  readonly #folder: string;
  readonly #clock: Clock;
  readonly #prng: Prng;
  readonly #filesMax: number;

  /** @param options.filesMax with more of them, the oldest go: for jobs that are repeated as long as they fail */
  constructor({
    folder,
    clock,
    prng = systemPrng,
    filesMax = Number.POSITIVE_INFINITY,
  }: {
    folder: string;
    clock: Clock;
    prng?: Prng;
    filesMax?: number;
  }) {
    this.#filesMax = filesMax;
    this.#folder = folder;
    this.#clock = clock;
    this.#prng = prng;
  }

  /** @throws FILE_UNWRITABLE */
  keep(job: string, text: string): void {
    const at = new Date(this.#clock.wallMs()).toISOString().replaceAll(/[:.]/g, '-');
    const suffix = Buffer.from(this.#prng.bytes(4)).toString('hex');
    writeFileDurably(join(this.#folder, `${at}-${job}-${suffix}.txt`), text);
    if (this.#filesMax === Number.POSITIVE_INFINITY) return;
    // Names begin with the time.
    const names = readdirSync(this.#folder).sort();
    for (const name of names.slice(0, Math.max(0, names.length - this.#filesMax)))
      rmSync(join(this.#folder, name), { force: true });
  }
}
