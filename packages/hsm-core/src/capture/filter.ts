/**
 * The rules by which objects of a group never leave their site: by class, CKA_ID or CKA_LABEL.
 *
 * A rule compares what people see. Tools print a label without its padding and its zero bytes. So a key whose label is
 * `site-key` and a zero byte is `site-key` to everybody who writes rules.
 *
 * In doubt the object stays. A key that stayed too long can be sent later, and a key that has left cannot be called
 * back.
 */
import { hex } from '@antipode/runtime';
import type { ObservedObject } from '../model/object.ts';

/** An object never leaves if any rule matches it. */
export interface ObjectFilter {
  /** CKA_ID, hexadecimal. Padding with zero bytes, blanks or 0xff makes no other id. */
  readonly excludeIds: readonly string[];
  /** CKA_LABEL, shell pattern with `*` and `?`. */
  readonly excludeLabels: readonly string[];
  readonly excludeClasses: readonly string[];
  /** Whether labels are compared without regard to case. */
  readonly ignoreCase?: boolean;
  /** Rules of the site itself. No coordinator can lift them. */
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

/** Compiled once per filter, since a capture asks for each of its objects. */
const compiled = new WeakMap<ObjectFilter, readonly CompiledRule[]>();

export const isExcluded = (object: Seen, filter: ObjectFilter): boolean =>
  rulesOf(filter).some(({ matches }) => matches(object));

/** The rules in the order of their declaration, each with the objects that it matches. */
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
 * A label as people see it, in Unicode normal form NFKC: a composed and a decomposed umlaut are one, and so are wide
 * and ordinary letters. Zero bytes, control characters and invisible characters are removed. White space becomes one
 * blank, and is removed at both ends. Letters of different scripts that look alike stay different.
 */
export function seenForm(text: string, { ignoreCase }: { ignoreCase: boolean }): string {
  const seen = text
    .normalize('NFKC')
    .replace(INVISIBLE, '')
    // Characters that an invisible one kept apart may compose now.
    .normalize('NFKC')
    .replace(/\s+/gu, ' ')
    .replace(PADDING, '');
  return ignoreCase ? seen.toUpperCase().toLowerCase() : seen;
}

/** All control and format characters except white space. */
const INVISIBLE = /(?![\t-\r])[\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}]/gu;
/** Blanks, and 0xff as both encodings read it. */
const PADDING = /^[ ÿ\uFFFD]+|[ ÿ\uFFFD]+$/gu;

/** Matches a shell pattern with `*` and `?` in linear time: anybody can choose the label. */
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
