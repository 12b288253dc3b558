/**
 * Judges the promises by the contents of the standby's token. Acknowledged objects are there once and work. Deleted
 * objects are not there. Foreign objects are untouched, and no half key is left. Pure: its inputs are the contents and
 * the knowledge of the test.
 */
import type { Seen } from './token-reader.ts';

export type Harm = 'lost' | 'halfKeys' | 'foreignDestroyed' | 'duplicates' | 'deletedAnswers' | 'stuck';

export interface Violation {
  readonly harm: Harm;
  readonly what: string;
}

/** The objects in the standby's token that are in no generation and stay. */
export interface Permanent {
  readonly seen: Seen;
  readonly isOurs: boolean;
}

export interface Knowledge {
  /** The objects that each generation restores, by its number less one. */
  readonly generations: readonly (readonly Seen[])[];
  readonly permanent: readonly Permanent[];
}

export interface Moment {
  /** Numbers of the generations that the standby has acknowledged, ascending: never empty. */
  readonly acknowledged: readonly number[];
  /** Number of the newest generation that the standby was ever told to apply. */
  readonly newestTried: number;
  /** Whether an apply is under way or was cut short, so that half keys and what is being replaced may be there. */
  readonly isCut: boolean;
}

/** An object that must be there, or may. */
interface Wanted {
  readonly objectClass: number;
  readonly fingerprint: string;
  readonly name: string;
  /** Any of these will do. */
  readonly forms: ReadonlySet<string>;
  readonly mustBe: boolean;
}

export function judge(seen: readonly Seen[], moment: Moment, knowledge: Knowledge): Violation[] {
  const violations: Violation[] = [];
  const report = (harm: Harm, what: string): void => void violations.push({ harm, what });
  const left = [...seen];
  const take = (fits: (one: Seen) => boolean): Seen | undefined => {
    const index = left.findIndex(fits);
    return index === -1 ? undefined : left.splice(index, 1)[0];
  };
  for (const { seen: before, isOurs } of knowledge.permanent) {
    if (take((one) => one.raw === before.raw && one.fingerprint === before.fingerprint) !== undefined) continue;
    const altered = left.filter((one) => one.name === before.name && one.objectClass === before.objectClass);
    report(
      isOurs ? 'lost' : 'foreignDestroyed',
      `${nameOf(before)} is ${altered.length === 0 ? 'gone' : `not what it was: ${altered.map(nameOf).join(', ')}`}`,
    );
  }
  const wanted = wantedAt(moment, knowledge.generations);
  for (const { objectClass, fingerprint, name, forms, mustBe } of wanted) {
    const found = take(
      (one) => one.objectClass === objectClass && one.fingerprint === fingerprint && forms.has(one.form),
    );
    if (found !== undefined || !mustBe) continue;
    const alike = left.filter((one) => one.fingerprint === fingerprint || one.name === name);
    report(
      'lost',
      `class ${objectClass} ${name} (${fingerprint}) is not there${alike.length === 0 ? '' : `, but ${alike.map(nameOf).join(', ')}`}`,
    );
  }
  // Sealed in the store, and not in the token: as soon as the generation that deletes it is acknowledged.
  const live = new Set(wanted.map(({ objectClass, fingerprint }) => `${objectClass} ${fingerprint}`));
  const before = new Set(
    knowledge.generations.flat().map(({ objectClass, fingerprint }) => `${objectClass} ${fingerprint}`),
  );
  for (const one of [...left]) {
    const key = `${one.objectClass} ${one.fingerprint}`;
    if (one.fingerprint === undefined || live.has(key) || !before.has(key)) continue;
    report('deletedAnswers', `${nameOf(one)} was deleted`);
    left.splice(left.indexOf(one), 1);
  }
  if (moment.isCut) return violations;
  for (const one of left)
    report(one.fingerprint === undefined ? 'halfKeys' : 'duplicates', `${nameOf(one)} is left over`);
  return violations;
}

const nameOf = ({ objectClass, keyType, name, fingerprint }: Seen): string =>
  `class ${objectClass}${keyType === undefined ? '' : ` type ${keyType}`} ${name} (${fingerprint ?? 'does not work'})`;

function wantedAt({ acknowledged, newestTried, isCut }: Moment, generations: Knowledge['generations']): Wanted[] {
  const newest = acknowledged.at(-1)!;
  const objects = new Map<string, { first: Seen; forms: Set<string>; mustBe: boolean }>();
  // An apply that is cut short may have come as far as to take out what its generation deletes.
  const isDeletedLater = (key: string): boolean =>
    generations
      .slice(newest, isCut ? newestTried : newest)
      .some((objects) => !objects.some((one) => `${one.objectClass} ${one.fingerprint}` === key));
  const add = (number: number, isAcknowledged: boolean): void => {
    for (const one of generations[number - 1] ?? []) {
      if (one.fingerprint === undefined) throw new Error(`a key of the fixture does not work: ${one.name}`);
      const key = `${one.objectClass} ${one.fingerprint}`;
      const known = objects.get(key);
      if (known === undefined)
        objects.set(key, { first: one, forms: new Set([one.form]), mustBe: isAcknowledged && !isDeletedLater(key) });
      // Its replacement is possibly already there.
      else known.forms.add(one.form);
    }
  };
  add(newest, true);
  for (let number = newest + 1; isCut && number <= newestTried; number += 1) add(number, false);
  return [...objects.values()].map(({ first, forms, mustBe }) => ({
    objectClass: first.objectClass,
    fingerprint: first.fingerprint!,
    name: first.name,
    forms,
    mustBe,
  }));
}
