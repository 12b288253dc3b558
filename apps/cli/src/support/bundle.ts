/**
 * A bundle: what each source gave, without secrets, and a list of it all. A source that fails or hangs is named in the
 * list, and the others are collected all the same.
 */
import { gzipSync } from 'node:zlib';
import { AntipodeError, type Clock, sha256Hex, VERSION, within } from '@antipode/runtime';
import type { Scrubber } from './scrubber.ts';
import { tarOf } from './tar.ts';

export interface Source {
  /** Of the file in the bundle. */
  readonly name: string;
  /** @throws what keeps it from being collected */
  collect(): Promise<Collected> | Collected;
}

export interface Collected {
  readonly text: string;
  /** The values that the source itself has left out. */
  readonly leftOut?: number;
  /** The kind of thing that it has left out, for people. */
  readonly note?: string;
}

export interface Listed {
  readonly file: string;
  readonly bytes: number;
  readonly sha256: string;
  /** Secrets that were found in it and taken out. */
  readonly redacted: number;
  readonly leftOut: number;
  readonly note: string;
  /** Whether its beginning is missing, since it was too large. */
  readonly isCut: boolean;
}

export interface Missing {
  readonly file: string;
  readonly code: string;
  readonly message: string;
}

export interface Bundle {
  readonly files: readonly Listed[];
  readonly missing: readonly Missing[];
  /** The archive, and the size of the list in it. */
  archive(): Buffer;
}

/** Of one file. A supporter gets it by mail. */
const CHARACTERS_MAX = 8 * 1024 * 1024;
/** The slowest source is a doctor that waits for tokens and servers. */
const SOURCE_MS_MAX = 60_000;
export const LIST = 'MANIFEST.json';

export async function collected(
  sources: readonly Source[],
  { clock, scrubber, folder }: { clock: Clock; scrubber: Scrubber; folder: string },
): Promise<Bundle> {
  const atMs = clock.wallMs();
  const files: Listed[] = [];
  const missing: Missing[] = [];
  const contents: { name: string; contents: Buffer }[] = [];
  for (const source of sources) {
    const file = source.name;
    try {
      const {
        text: whole,
        leftOut = 0,
        note = '',
      } = await within({ clock, timeoutMs: SOURCE_MS_MAX, what: file }, async () => source.collect());
      const isCut = whole.length > CHARACTERS_MAX;
      // Secrets first: a cut in the middle of one would hide it from the scrubber.
      const { text, count: redacted } = scrubber.scrub(whole);
      const bytes = Buffer.from(isCut ? endOf(text) : text);
      contents.push({ name: `${folder}/${file}`, contents: bytes });
      files.push({ file, bytes: bytes.length, sha256: sha256Hex(bytes), redacted, leftOut, note, isCut });
    } catch (thrown) {
      const error = AntipodeError.from(thrown);
      const message = error.message.replace(`[${error.code}] `, '');
      // An error of the system, such as a file that nobody may read, is none of ours.
      const code = thrown instanceof AntipodeError ? error.code : codeOf(thrown);
      missing.push({ file, code, message: scrubber.scrub(message).text });
    }
  }
  const list = { antipode: VERSION, at: new Date(atMs).toISOString(), files, missing };
  const listed = { name: `${folder}/${LIST}`, contents: Buffer.from(`${JSON.stringify(list, null, 2)}\n`) };
  return { files, missing, archive: () => gzipSync(tarOf([listed, ...contents], { atMs })) };
}

/** From the beginning of a line on, if it has one: half a line of JSON is none. */
function endOf(text: string): string {
  const end = text.slice(-CHARACTERS_MAX);
  const line = end.indexOf('\n') + 1;
  return line === 0 || line === end.length ? end : end.slice(line);
}

const codeOf = (thrown: unknown): string =>
  thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string' ? thrown.code : 'UNKNOWN';
