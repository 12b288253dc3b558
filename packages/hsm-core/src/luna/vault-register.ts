/**
 * The backups that this driver made in one vault, and what became of them. A name is written down before its backup is
 * begun. So a backup that is not in here was made by somebody else, and nothing here ever deletes it.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { AntipodeError, type Clock, invariant, type Prng, sha256Hex, writeFileDurably } from '@antipode/runtime';
import { type Archive, holdersOf, type Vault } from './parse/archives.ts';

export interface OwnBackup {
  readonly name: string;
  /** By the clock of the host, which can have been wrong. The order of the register says which one is newer. */
  readonly atMs: number;
  /**
   * `begun` until its outcome was read: the run may have ended in between. `spoilt` if it was complete, and a list of the
   * vault does not have it any more as it was made.
   */
  readonly state: 'begun' | 'complete' | 'spoilt';
  /** As many as a complete one had when it was made. */
  readonly objects?: number;
  /** Backups of the same series follow each other. Retention counts and deletes none of another one. */
  readonly series?: string;
  /** A note of its maker, written down before it was begun. */
  readonly about?: string;
}

export class VaultRegister {
  readonly #path: string;
  readonly #clock: Clock;
  readonly #prng: Prng;

  constructor({ folder, serial, clock, prng }: { folder: string; serial: string; clock: Clock; prng: Prng }) {
    this.#path = join(folder, `vault-${sha256Hex(serial).slice(0, 32)}.json`);
    this.#clock = clock;
    this.#prng = prng;
  }

  /** In the order in which they were begun. @throws FILE_UNWRITABLE */
  read(): OwnBackup[] {
    if (!existsSync(this.#path)) return [];
    try {
      return JSON.parse(readFileSync(this.#path, 'utf8')) as OwnBackup[];
    } catch (cause) {
      throw new AntipodeError('FILE_UNWRITABLE', `cannot read ${this.#path}`, { details: { path: this.#path }, cause });
    }
  }

  /** A name that nothing else has, durable before it is returned. @throws FILE_UNWRITABLE */
  begin({ about, series }: Pick<OwnBackup, 'about' | 'series'> = {}): string {
    const atMs = this.#clock.wallMs();
    const at = new Date(atMs).toISOString().replaceAll(/[-:]/g, '').slice(0, 13);
    const name = `antipode-${at}-${Buffer.from(this.#prng.bytes(4)).toString('hex')}`;
    const rest = { ...(series === undefined ? {} : { series }), ...(about === undefined ? {} : { about }) };
    this.#write([...this.read(), { name, atMs, state: 'begun', ...rest }]);
    return name;
  }

  completed(name: string, objects: number): void {
    this.#write(this.read().map((one) => (one.name === name ? { ...one, state: 'complete' as const, objects } : one)));
  }

  /** Writes down which complete ones a list of the vault has shown, and which it has not. @throws FILE_UNWRITABLE */
  seen({ complete, changed, lost }: VaultReview): void {
    const whole = new Set(complete.map(({ name }) => name));
    const spoilt = new Set([...changed.map(({ name }) => name), ...lost]);
    const before = this.read();
    const after = before.map((one): OwnBackup => {
      const state = whole.has(one.name) ? 'complete' : spoilt.has(one.name) ? 'spoilt' : one.state;
      return state === one.state ? one : { ...one, state };
    });
    if (after.some((one, at) => one !== before[at])) this.#write(after);
  }

  forget(names: readonly string[]): void {
    this.#write(this.read().filter(({ name }) => !names.includes(name)));
  }

  #write(backups: readonly OwnBackup[]): void {
    writeFileDurably(this.#path, `${JSON.stringify(backups, null, 1)}\n`);
  }
}

/** A backup of our own, with its place in the register: a newer one has a higher place. */
export type OwnArchive = Archive & { readonly place: number; readonly series: string | undefined };

/** The backups of a vault, by their maker. Own ones come with the newest first. */
export interface VaultReview {
  /** Own, complete, and as they were made. */
  readonly complete: readonly OwnArchive[];
  /** Own, and never seen complete: the run ended in between, or objects are missing. */
  readonly cutShort: readonly OwnArchive[];
  /** Own, and with another number of objects than when they were made. Somebody changed them. */
  readonly changed: readonly OwnArchive[];
  /** Own and complete when they were made, and gone now. */
  readonly lost: readonly string[];
  /** Begun, and never seen in the vault. */
  readonly neverMade: readonly string[];
  readonly foreign: readonly Archive[];
  /** Backups without an object that others left behind. */
  readonly orphans: readonly string[];
  /** Those that hold space which they do not use; the largest share first. */
  readonly holders: readonly string[];
  readonly freeBytes: number | undefined;
}

export function reviewOf(vault: Vault, own: readonly OwnBackup[]): VaultReview {
  const found = new Map(vault.archives.map((archive) => [archive.name, archive]));
  const names = new Set(own.map(({ name }) => name));
  const newestFirst = own.map((one, place) => ({ ...one, place })).reverse();
  const present = newestFirst.flatMap((one) => {
    const archive = found.get(one.name);
    return archive === undefined ? [] : [{ one, archive: { ...archive, place: one.place, series: one.series } }];
  });
  const absent = newestFirst.filter(({ name }) => !found.has(name));
  const namesOf = (isIt: (one: OwnBackup) => boolean): string[] => absent.filter(isIt).map(({ name }) => name);
  const wasComplete = ({ state }: OwnBackup): boolean => state !== 'begun';
  const archivesOf = (isIt: (one: OwnBackup, archive: Archive) => boolean): OwnArchive[] =>
    present.filter(({ one, archive }) => isIt(one, archive)).map(({ archive }) => archive);
  const foreign = vault.archives.filter(({ name }) => !names.has(name));
  return {
    complete: archivesOf((one, { objectCount }) => wasComplete(one) && one.objects === objectCount),
    changed: archivesOf((one, { objectCount }) => wasComplete(one) && one.objects !== objectCount),
    cutShort: archivesOf((one) => !wasComplete(one)),
    lost: namesOf(wasComplete),
    neverMade: namesOf((one) => !wasComplete(one)),
    foreign,
    orphans: foreign.filter(({ objectCount }) => objectCount === 0).map(({ name }) => name),
    holders: holdersOf(vault).map(({ name }) => name),
    freeBytes: vault.freeBytes,
  };
}

type Incomplete = Pick<VaultReview, 'complete' | 'cutShort'>;

/** The backups of one series alone. */
const ofSeries = ({ complete, cutShort }: Incomplete, series: string | undefined): Incomplete => ({
  complete: complete.filter((one) => one.series === series),
  cutShort: cutShort.filter((one) => one.series === series),
});

/** The own backups of a series that retention does not keep: complete ones beyond the newest, and {@link futileIn}. */
export function expiredIn(review: Incomplete, keep: number, series?: string): string[] {
  const complete = ofSeries(review, series).complete.slice(keep);
  return [...futileIn(review, keep, series), ...complete.map(({ name }) => name)];
}

/**
 * Incomplete ones of a series that a complete one has followed. Of those without a successor, as many are kept as of
 * complete ones. They can have the only copy of a new key.
 */
export function futileIn(review: Incomplete, keep: number, series?: string): string[] {
  invariant(Number.isInteger(keep) && keep >= 1, 'retention keeps at least one complete backup');
  const { complete, cutShort } = ofSeries(review, series);
  const kept = new Set(cutShort.filter(({ place }) => isAfter(place, complete)).slice(0, keep));
  return cutShort.filter((one) => !kept.has(one)).map(({ name }) => name);
}

/**
 * Names that have to go before a new backup: incomplete ones of its series that are of no use, and one of whatever series
 * that holds all the space. No other backup could be made then.
 */
export function inTheWay(review: VaultReview, series?: string): string[] {
  const { holders, freeBytes } = review;
  const { complete } = ofSeries(review, series);
  return review.cutShort
    .filter(
      ({ name, objectCount, place, ...one }) =>
        (freeBytes === 0 && holders[0] === name) ||
        (one.series === series && (objectCount === 0 || !isAfter(place, complete))),
    )
    .map(({ name }) => name);
}

const isAfter = (place: number, [newest]: readonly OwnArchive[]): boolean =>
  newest === undefined || place > newest.place;
