/**
 * Rows in columns without frames: readable, and easy on grep. At a terminal a table is not wider than the terminal: the
 * widest columns give way, and their cells have several lines. In a pipe each row is one line, however long.
 */
import Table from 'cli-table3';

const GAP = 2;
/** A column that gives way keeps so many. */
const NARROWEST = 4;

const NO_FRAME = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '',
};

export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  { columns = columnsOf(process.stdout) }: { columns?: number | undefined } = {},
): string {
  const all = fitted([head, ...rows], columns);
  const made = new Table({
    head: all[0]!,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': GAP },
    chars: NO_FRAME,
  });
  made.push(...all.slice(1));
  return made
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

/** Undefined where nobody has said how wide the reader's page is. */
export function columnsOf({ isTTY, columns }: { isTTY?: boolean; columns?: number }): number | undefined {
  const said = Number(process.env['COLUMNS']);
  if (isTTY === true && columns !== undefined && columns > 0) return columns;
  return Number.isInteger(said) && said > 0 ? said : undefined;
}

const widthOf = (cell: string): number => Math.max(...cell.split('\n').map((line) => line.length));

function fitted(all: readonly (readonly string[])[], columns: number | undefined): string[][] {
  if (columns === undefined) return all.map((row) => [...row]);
  const widths = all[0]!.map((_, at) => Math.max(...all.map((row) => widthOf(row[at] ?? ''))));
  const room = columns - GAP * (widths.length - 1);
  let excess = widths.reduce((sum, width) => sum + width, 0) - room;
  while (excess > 0) {
    const widest = widths.indexOf(Math.max(...widths));
    if (widths[widest]! <= NARROWEST) break;
    widths[widest]! -= 1;
    excess -= 1;
  }
  return all.map((row) => row.map((cell, at) => wrapped(cell, widths[at]!)));
}

/** By words. A word that is longer than a line goes on in the next one. */
function wrapped(cell: string, width: number): string {
  return cell
    .split('\n')
    .flatMap((line) => {
      const lines: string[] = [];
      let current = '';
      for (const word of line.split(' ')) {
        const next = current === '' ? word : `${current} ${word}`;
        if (next.length <= width) {
          current = next;
          continue;
        }
        if (current !== '') lines.push(current);
        current = word;
        while (current.length > width) {
          lines.push(current.slice(0, width));
          current = current.slice(width);
        }
      }
      return [...lines, current];
    })
    .join('\n');
}
