/**
 * Labels of objects are data from a token, and anybody can have chosen them. This makes them safe to print: a terminal
 * obeys control characters, and some other characters are invisible, turn the direction of the text around, or pile up.
 */

/** Control, format, unassigned and invisible characters, blanks other than the space, and the escape character itself. */
const UNSAFE = /[\p{C}\p{Default_Ignorable_Code_Point}\p{Me}\u2800\\]|(?! )\p{Z}/gu;
/** Marks without a letter, and more than two on one letter. */
const STRAY_MARKS = /^\p{M}+|(?<=\p{M}{2})\p{M}+/gu;
/** A space that nobody sees, at either end. */
const OUTER_SPACES = /^ +| +$/g;

/** Control characters other than the end of a line and the tab, and what turns the direction of a text around. */
const OBEYED = /(?![\n\t])\p{Cc}|[\p{Bidi_Control}\u2028\u2029]/gu;

const escaped = (text: string): string =>
  [...text]
    .map((character) => {
      const digits = character.codePointAt(0)!.toString(16);
      return digits.length > 4 ? `\\u{${digits}}` : `\\u${digits.padStart(4, '0')}`;
    })
    .join('');

/** The text with an escape for every character that people could not see, or that a terminal would obey. */
export function printable(text: string): string {
  return text.replace(UNSAFE, escaped).replace(STRAY_MARKS, escaped).replace(OUTER_SPACES, escaped);
}

/** The same for a text of several lines whose blanks count, such as a table: only what a terminal would obey. */
export const printableLines = (text: string): string => text.replace(OBEYED, escaped);

/** As {@link printable}, for bytes. Bytes that are not UTF-8 are shown one by one. */
export function printableBytes(bytes: Uint8Array): string {
  try {
    return printable(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    const shown = (byte: number): string =>
      byte < 0x80 ? printable(String.fromCharCode(byte)) : `\\x${byte.toString(16)}`;
    return [...bytes].map(shown).join('');
  }
}
