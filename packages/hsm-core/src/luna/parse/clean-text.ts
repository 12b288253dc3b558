/**
 * Text of a terminal without what only a terminal needs: carriage returns, colours, movements of the cursor, and
 * characters that were taken back.
 */

// CSI and OSC sequences, and the two-byte escapes, of ECMA-48.
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the control characters to remove.
const ESCAPES = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-Z\\-_])/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: a character that a backspace takes back.
const TAKEN_BACK = /[^\b]\u0008/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: tabs stay, since they separate columns.
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f]/g;

/** One line, or the beginning of one, without its line feed. */
export function cleanLine(line: string): string {
  let text = line.replaceAll(ESCAPES, '');
  while (TAKEN_BACK.test(text)) text = text.replace(TAKEN_BACK, '');
  return text.replaceAll(CONTROLS, '');
}

const PROMPTS = /^(?:\s*lunacm:>)+[ \t]?/i;

/** Without prompts at its beginning: they have no line of their own where no terminal echoes what was typed. */
export function withoutPrompts(line: string): string {
  return line.replace(PROMPTS, '');
}
