/** Breaks a paragraph of a document at blanks. Code in backquotes may break too: Markdown joins the lines again. */
export function wrap(text: string, { columns = 120, indent = '' } = {}): string {
  const lines: string[] = [];
  for (const word of text.split(/\s+/)) {
    const last = lines.at(-1);
    const longer = last === undefined ? word : `${last} ${word}`;
    if (last !== undefined && longer.length <= columns) lines[lines.length - 1] = longer;
    else lines.push(last === undefined ? word : `${indent}${word}`);
  }
  return lines.join('\n');
}
