/**
 * Answers of an SQLite database that are given again until somebody writes to the tables that they were read from. The
 * parts of a simulation ask the same again and again. They get what the database would answer.
 */

/** The effect of a statement on tables, by its text alone. */
export type Use =
  /** Words of its text, and among them each table that it reads. */
  | { readonly kind: 'reads'; readonly words: readonly string[] }
  | { readonly kind: 'writes'; readonly table: string }
  /** It begins or commits a transaction, or changes a setting of the connection. */
  | { readonly kind: 'nothing' }
  | { readonly kind: 'anything' };

interface Counter {
  changes: number;
}

/** Functions whose answer depends on more than tables. */
const UNSTEADY = /\b(random|randomblob|changes|total_changes|last_insert_rowid|current_\w+|now)\b/i;
const NOTHING = /^\s*(begin|start transaction|commit|pragma)\b/i;
const WRITE = /^\s*(?:insert(?: or \w+)? into|replace into|update(?: or \w+)?|delete from) "?(\w+)/i;

/** The words of the language are the names of no tables. */
const LANGUAGE =
  /^(select|from|where|and|or|not|in|is|null|as|on|by|order|group|limit|desc|asc|join|inner|left|like|between|exists|case|when|then|else|end|distinct|values|true|false)$/;

const uses = new Map<string, Use>();

export function useOf(text: string): Use {
  const known = uses.get(text);
  if (known !== undefined) return known;
  const use = examined(text);
  uses.set(text, use);
  return use;
}

function examined(text: string): Use {
  if (/^\s*select\b/i.test(text) && !UNSTEADY.test(text))
    return {
      kind: 'reads',
      words: [...new Set(text.toLowerCase().match(/\b[a-z_]\w*/g))].filter((word) => !LANGUAGE.test(word)),
    };
  if (text.split(';').every((part) => NOTHING.test(part))) return { kind: 'nothing' };
  const table = WRITE.exec(text)?.[1];
  return table === undefined ? { kind: 'anything' } : { kind: 'writes', table: table.toLowerCase() };
}

/** Counts the changes of each table of one database. No table may change by itself when another one does. */
export class TableChanges {
  readonly #tables = new Map<string, Counter>();
  readonly #any: Counter = { changes: 0 };
  /** Of all tables together: while it stands still, no other counter has moved. */
  readonly #all: Counter = { changes: 0 };

  /** Before a statement runs. */
  note(use: Use): void {
    if (use.kind === 'writes') {
      this.#of(use.table).changes += 1;
      this.#all.changes += 1;
    } else if (use.kind === 'anything') this.noteAny();
  }

  /** Also when a transaction is rolled back. */
  noteAny(): void {
    this.#any.changes += 1;
    this.#all.changes += 1;
  }

  /** For the answers to one statement that only reads. */
  answersTo({ words }: Use & { kind: 'reads' }): KeptAnswers {
    return new KeptAnswers({ all: this.#all, its: [this.#any, ...words.map((word) => this.#of(word))] });
  }

  #of(word: string): Counter {
    const known = this.#tables.get(word);
    if (known !== undefined) return known;
    const counter = { changes: 0 };
    this.#tables.set(word, counter);
    return counter;
  }
}

const NO_ANSWER = Symbol();

export class KeptAnswers {
  readonly #all: Counter;
  readonly #its: readonly Counter[];
  #allBefore = -1;
  #itsBefore = -1;
  readonly #answers = new Map<string, unknown>();

  /** @param counters of all tables together, and of those that the statement may read */
  constructor({ all, its }: { all: Counter; its: readonly Counter[] }) {
    this.#all = all;
    this.#its = its;
  }

  /** @param values what was given for the parameters */
  of<Value, T>(values: readonly Value[], ask: (values: readonly Value[]) => T): T {
    if (this.#all.changes !== this.#allBefore) this.#forgetChanged();
    const key = keyOf(values);
    const known = this.#answers.get(key);
    if (known !== undefined) return (known === NO_ANSWER ? undefined : known) as T;
    const answer = ask(values);
    this.#answers.set(key, answer === undefined ? NO_ANSWER : answer);
    return answer;
  }

  #forgetChanged(): void {
    this.#allBefore = this.#all.changes;
    let changes = 0;
    for (const counter of this.#its) changes += counter.changes;
    if (changes !== this.#itsBefore) this.#answers.clear();
    this.#itsBefore = changes;
  }
}

/** Names these values, and no others. */
function keyOf(values: readonly unknown[]): string {
  let key = '';
  for (const value of values) {
    const text =
      value instanceof Uint8Array
        ? Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('latin1')
        : String(value);
    key += `${typeof value} ${text.length} ${text}`;
  }
  return key;
}
