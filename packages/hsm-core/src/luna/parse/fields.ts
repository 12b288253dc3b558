/**
 * Lines of the form `Name -> value` and `Name: value`. One output mixes both separators, and a value may hold either: a
 * line is split at the first.
 */

export interface Field {
  readonly name: string;
  readonly value: string;
}

/** Flag `s`: a label may hold U+2028, which a dot takes for the end of a line and `lunacm` does not. */
const FIELD = /^\s*([A-Za-z][^:]*?)\s*(?:->|:)\s*(.*?)\s*$/s;

export function fieldOf(line: string): Field | undefined {
  const [, name, value] = FIELD.exec(line) ?? [];
  return name === undefined || value === undefined ? undefined : { name, value };
}

/** The first field of this name, whatever its case. */
export function fieldValue(lines: readonly string[], name: string | RegExp): string | undefined {
  for (const line of lines) {
    const field = fieldOf(line);
    if (field !== undefined && isNamed(field, name)) return field.value;
  }
  return undefined;
}

/** A number of bytes or objects; undefined if the field is absent or is not a number. */
export function countOf(lines: readonly string[], name: string | RegExp): number | undefined {
  const value = fieldValue(lines, name);
  return value !== undefined && /^\d{1,15}$/.test(value) ? Number(value) : undefined;
}

/** By a name in whatever case, or by a pattern where the name is not confirmed. */
export const isNamed = (field: Field, name: string | RegExp): boolean =>
  typeof name === 'string' ? field.name.toLowerCase() === name.toLowerCase() : name.test(field.name);

/**
 * Records that follow each other, each beginning with a field `first`. Values are free text, made by whoever makes keys.
 * A value with a line feed in it can look like fields, so that every record must have the same names in the same order.
 * @returns the values of `needed` in each record; undefined if the records differ, or one does not have each once
 */
export function recordsOf(
  lines: readonly string[],
  { first, needed }: { first: string | RegExp; needed: readonly (string | RegExp)[] },
): (readonly string[])[] | undefined {
  const records: string[][] = [];
  let names: string | undefined;
  for (const fields of groupsOf(lines, first)) {
    const order = fields.map(({ name }) => name.toLowerCase()).join('\n');
    names ??= order;
    const values = needed.map((name) => fields.filter((field) => isNamed(field, name)));
    if (order !== names || values.some(({ length }) => length !== 1)) return undefined;
    records.push(values.map(([field]) => field!.value));
  }
  return records;
}

function* groupsOf(lines: readonly string[], first: string | RegExp): Generator<Field[]> {
  let group: Field[] | undefined;
  for (const line of lines) {
    // A blank line ends a record, so that what follows the last one is not taken for a part of it.
    if (line.trim() === '') {
      if (group !== undefined) yield group;
      group = undefined;
      continue;
    }
    const field = fieldOf(line);
    if (field === undefined) {
      // Text that is not a field, in the middle of a record: a value with a line feed in it.
      group?.push({ name: '', value: line });
      continue;
    }
    if (isNamed(field, first)) {
      if (group !== undefined) yield group;
      group = [field];
    } else group?.push(field);
  }
  if (group !== undefined) yield group;
}

/** Records whose fields differ from one to the next, as those of slots do. Lines that are not fields are left out. */
export function recordsOfLoose(lines: readonly string[], first: string): string[][] {
  const records: string[][] = [];
  for (const line of lines) {
    const field = fieldOf(line);
    if (field === undefined) continue;
    if (isNamed(field, first)) records.push([line]);
    else records.at(-1)?.push(line);
  }
  return records;
}
