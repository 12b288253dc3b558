/**
 * What a group keeps at its site: objects that never leave, by class, CKA_ID or CKA_LABEL.
 *
 * A rule compares what people see. Tools print a label without its padding and its zero bytes, so a key whose label is
 * `site-key` and a zero byte is `site-key` to everybody who writes rules. Where a doubt remains, the object stays: a key that
 * stays too long can be sent later, a key that has left cannot be called back.
 */
import { hex } from '@antipode/runtime';
import type { ObservedObject } from '../model/object.ts';

/** Objects that never leave: excluded when any rule matches. */
export interface ObjectFilter {
  /** CKA_ID, hexadecimal. An id that is padded with zero bytes, blanks or 0xff is the same id. */
  readonly excludeIds: readonly string[];
  /** CKA_LABEL, shell pattern with `*` and `?`. */
  readonly excludeLabels: readonly string[];
  readonly excludeClasses: readonly string[];
  /** Whether labels are compared without regard to case. */
  readonly ignoreCase?: boolean;
  /** Rules of the site itself, which no coordinator can lift. */
  readonly ofSite?: ObjectFilter;
}

export interface FilterRule {
  readonly kind: 'id' | 'label' | 'class';
  /** As the operator wrote it. */
  readonly value: string;
}

type Seen = Pick<ObservedObject, 'objectClass' | 'attributes'>;
interface CompiledRule extends FilterRule {
  readonly matches: (object: Seen) => boolean;
}

/** By filter: a capture asks once for each of its objects. */
const compiled = new WeakMap<ObjectFilter, readonly CompiledRule[]>();

export const isExcluded = (object: Seen, filter: ObjectFilter): boolean =>
  rulesOf(filter).some(({ matches }) => matches(object));

/** The rules in the order of the declaration, each with the objects that it matches alone. */
export function matchesByRule<One extends Seen>(
  objects: readonly One[],
  filter: ObjectFilter,
): { rule: FilterRule; objects: One[] }[] {
  return rulesOf(filter).map(({ kind, value, matches }) => ({
    rule: { kind, value },
    objects: objects.filter(matches),
  }));
}

function rulesOf(filter: ObjectFilter): readonly CompiledRule[] {
  const known = compiled.get(filter);
  if (known !== undefined) return known;
  const { excludeIds, excludeLabels, excludeClasses, ignoreCase = false, ofSite } = filter;
  const rules: CompiledRule[] = [
    ...excludeIds.map((value) => ({ kind: 'id', value, matches: idRule(value) }) as const),
    ...excludeLabels.map((value) => ({ kind: 'label', value, matches: labelRule(value, ignoreCase) }) as const),
    ...excludeClasses.map(
      (value) => ({ kind: 'class', value, matches: ({ objectClass }: Seen) => objectClass === value }) as const,
    ),
    ...(ofSite === undefined ? [] : rulesOf(ofSite)),
  ];
  compiled.set(filter, rules);
  return rules;
}

function idRule(value: string): CompiledRule['matches'] {
  const wanted = value.toLowerCase();
  const padded = new RegExp(`^${/^[0-9a-f]*$/.test(wanted) ? wanted : '(?!)'}(?:(?:00)*|(?:20)*|(?:ff)*)$`);
  return ({ attributes: { id } }) => id !== undefined && padded.test(hex(id));
}

function labelRule(value: string, ignoreCase: boolean): CompiledRule['matches'] {
  const pattern = seenForm(value, { ignoreCase });
  if (pattern === '') return () => false;
  return ({ attributes: { label } }) =>
    label !== undefined &&
    // Not every program writes UTF-8.
    (['utf8', 'latin1'] as const).some((encoding) =>
      matchesPattern(seenForm(Buffer.from(label).toString(encoding), { ignoreCase }), pattern),
    );
}

/**
 * A label as people see it: Unicode normal form NFKC (a composed and a decomposed umlaut are one, as are wide and ordinary
 * letters), without zero bytes, control characters and invisible ones, white space for one blank, none at either end.
 * Letters of different scripts that look alike stay different.
 */
export function seenForm(text: string, { ignoreCase }: { ignoreCase: boolean }): string {
  const seen = text
    .normalize('NFKC')
    .replace(INVISIBLE, '')
    // What was kept apart by an invisible character may compose now.
    .normalize('NFKC')
    .replace(/\s+/gu, ' ')
    .replace(PADDING, '');
  return ignoreCase ? seen.toUpperCase().toLowerCase() : seen;
}

/** All control and format characters but white space. */
const INVISIBLE = /(?![\t-\r])[\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}]/gu;
/** Blanks, and 0xff as either encoding reads it. */
const PADDING = /^[ ÿ\uFFFD]+|[ ÿ\uFFFD]+$/gu;

/** Shell pattern with `*` and `?`, matched in linear time: the pattern is an operator's, the label anybody's. */
export function matchesPattern(label: string, shellPattern: string): boolean {
  // By characters: an emoji is one.
  const [text, pattern] = [[...label], [...shellPattern]];
  let [at, star, mark, index] = [0, -1, 0, 0];
  while (index < text.length) {
    if (at < pattern.length && (pattern[at] === '?' || pattern[at] === text[index]) && pattern[at] !== '*') {
      at += 1;
      index += 1;
    } else if (pattern[at] === '*') {
      star = at;
      mark = index;
      at += 1;
    } else if (star !== -1) {
      at = star + 1;
      mark += 1;
      index = mark;
    } else return false;
  }
  while (pattern[at] === '*') at += 1;
  return at === pattern.length;
}
