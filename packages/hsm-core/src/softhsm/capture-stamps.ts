/**
 * Stamps in the folder of a SoftHSM token (provider/store-stamps.ts), a file for each group. SoftHSM looks only at files
 * with suffixes of its own. The agent keeps the same stamps in its state, and writes each of them there last. So a stamp
 * in the folder is older than its record, or missing, only if somebody has changed the folder.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { AntipodeError, hasCode, hex, sha256, writeFileDurably } from '@antipode/runtime';
import { fileNameOf } from '../pkcs11/session/login-guard.ts';
import type { CaptureStamp } from '../provider/store-stamps.ts';
import { type ObjectStore, PREFIX } from './object-store.ts';
import type { TokenFolder } from './token-folder.ts';

type Place = Pick<CaptureStamp, 'epoch' | 'number'>;

/** As JSON has no bigint. */
interface Written {
  readonly epoch: string;
  readonly generation: string;
}

const NAME_BYTES = 8;
const STAMP_BYTES_MAX = 256;

const STAMP_PREFIX = `${PREFIX}captured-`;

const nameOf = (group: string): string => `${STAMP_PREFIX}${hex(sha256(Buffer.from(group)).subarray(0, NAME_BYTES))}`;

/** A folder that takes the place of another is as new as that one. */
export function copyStamps(from: ObjectStore, to: ObjectStore): void {
  for (const name of from.allNames()) {
    const stamp = name.startsWith(STAMP_PREFIX) ? from.readBeside(name, STAMP_BYTES_MAX) : undefined;
    if (stamp !== undefined) to.writeBeside(name, stamp);
  }
}

export class CaptureStamps {
  readonly #folder: TokenFolder;
  readonly #store: ObjectStore;
  readonly #recordPath: string;

  constructor({
    folder,
    store,
    serial,
    stateFolder,
  }: {
    folder: TokenFolder;
    store: ObjectStore;
    serial: string;
    stateFolder: string;
  }) {
    this.#folder = folder;
    this.#store = store;
    this.#recordPath = join(stateFolder, `store-${fileNameOf(serial)}.json`);
  }

  /** Groups whose stamp in the folder is older than the last one that was put there. @throws FILE_UNWRITABLE */
  older(): string[] {
    return [...this.#records()].flatMap(([group, record]) => (this.#isOlder(group, record) ? group : []));
  }

  /** @throws FILE_UNWRITABLE where the record of this agent cannot be kept */
  put({ group, epoch, number, replacesOlder }: CaptureStamp): boolean {
    const records = this.#records();
    const record = records.get(group);
    if (this.#isOlder(group, record) && !replacesOlder) return false;
    const stamp = { epoch, number };
    if (!isSame(this.#inFolder(group), stamp) && !this.#write(group, stamp)) return false;
    if (!isSame(record, stamp)) this.#record(records.set(group, stamp));
    return true;
  }

  #isOlder(group: string, record: Place | undefined): boolean {
    if (record === undefined) return false;
    const stamp = this.#inFolder(group);
    if (stamp === undefined) return true;
    return stamp.epoch < record.epoch || (stamp.epoch === record.epoch && stamp.number < record.number);
  }

  /** Whatever else lies under its name counts as no stamp, and holds up nothing. */
  #inFolder(group: string): Place | undefined {
    const text = this.#store.readBeside(nameOf(group), STAMP_BYTES_MAX)?.toString('utf8');
    return text === undefined ? undefined : parsed(text, placeOf);
  }

  /** A store that takes no file has no stamp, and goes on being captured. */
  #write(group: string, stamp: Place): boolean {
    try {
      const path = join(this.#folder.path, nameOf(group));
      writeFileDurably(path, `${JSON.stringify(written(stamp))}\n`, { mode: this.#folder.fileMode });
      return true;
    } catch (thrown) {
      if (hasCode(thrown, 'FILE_UNWRITABLE')) return false;
      throw thrown;
    }
  }

  #records(): Map<string, Place> {
    const text = textIn(this.#recordPath);
    const entries = text === undefined ? undefined : parsed(text, placesIn);
    return new Map(entries);
  }

  #record(records: ReadonlyMap<string, Place>): void {
    const json = Object.fromEntries([...records].map(([group, place]) => [group, written(place)]));
    writeFileDurably(this.#recordPath, `${JSON.stringify(json)}\n`);
  }
}

const isSame = (one: Place | undefined, other: Place): boolean =>
  one?.epoch === other.epoch && one.number === other.number;

const written = ({ epoch, number }: Place): Written => ({ epoch: `${epoch}`, generation: `${number}` });

/** Throws on anything else. */
function placeOf(json: unknown): Place {
  const { epoch, generation } = json as Written;
  return { epoch: BigInt(epoch), number: BigInt(generation) };
}

const placesIn = (json: unknown): [string, Place][] =>
  Object.entries(json as object).map(([group, one]) => [group, placeOf(one)]);

function textIn(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new AntipodeError('FILE_UNWRITABLE', `cannot read ${path}`, { details: { path }, cause });
  }
}

/** Undefined where something else is in it. */
function parsed<T>(text: string, parse: (json: unknown) => T): T | undefined {
  try {
    return parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
