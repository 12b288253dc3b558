/**
 * Takes serial numbers, labels and identifiers out of a transcript. One value has one mask in all transcripts of a
 * capture, as long as itself, so that columns and equalities stay to be seen.
 */

import { cleanLine, withoutPrompts } from '../parse/clean-text.ts';

/** Fields whose values name something of the site. */
const FIELD =
  /^\s*(?:(?:Partition|HSM|HA Group|Member)? ?(?:Label|Serial Number|Number|Part Number|Members)|Name|Partition OUID|SMK-\S+|VirtualToken\S*)\s*(?:->|:)\s*(\S.*?)\s*$/i;

/** Shorter values are masked where they are listed, and not wherever they occur: they are in other words too. */
const EVERYWHERE_MIN = 4;

/** Texts of the tool that stand where a value would. */
const NOT_VALUES = new Set(['not initialized', 'not supported', 'none', '<none>']);

export class Mask {
  readonly #masks = new Map<string, string>();

  /** The same text with masks; it learns the values of its fields first. */
  apply(text: string): string {
    const lines = text.split('\n');
    for (const line of lines) this.learn(valueIn(line));
    // A serial number has no field of its own in a table of members.
    for (const [serial] of text.matchAll(/\b\d{5,}\b/g)) if (this.#isPart(serial)) this.learn(serial);
    const wide = [...this.#masks].filter(([value]) => value.length >= EVERYWHERE_MIN);
    wide.sort(([a], [b]) => b.length - a.length);
    return lines
      .map((line) => {
        const masked = wide.reduce((shown, [value, mask]) => shown.replaceAll(value, mask), line);
        const value = valueIn(line);
        const mask = value === undefined ? undefined : this.#masks.get(value);
        // Of a short value: the last place of it in its line.
        if (value === undefined || mask === undefined || value.length >= EVERYWHERE_MIN) return masked;
        const at = masked.lastIndexOf(value);
        return `${masked.slice(0, at)}${mask}${masked.slice(at + value.length)}`;
      })
      .join('\n');
  }

  /** A number that contains a serial number, as that of a group does. */
  #isPart(number: string): boolean {
    return [...this.#masks.keys()].some(
      (value) => value !== number && /^\d{5,}$/.test(value) && number.includes(value),
    );
  }

  learn(value: string | undefined): void {
    if (value === undefined || value === '' || NOT_VALUES.has(value.toLowerCase()) || this.#masks.has(value)) return;
    const isNumber = /^\d+$/.test(value);
    const isHex = !isNumber && /^[0-9a-f]{8,}$/i.test(value);
    const count = `${this.#masks.size + 1}`;
    const start = isNumber ? '9' : isHex ? 'f' : 'x';
    const mask =
      count.length >= value.length ? start.repeat(value.length) : start.repeat(value.length - count.length) + count;
    this.#masks.set(value, mask);
  }
}

const valueIn = (line: string): string | undefined => FIELD.exec(withoutPrompts(cleanLine(line)))?.[1];
