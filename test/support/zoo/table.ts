/** The table of docs/devices/softhsm2.md, made from what became of each specimen. */
import type { Finding } from './visit.ts';

const BEGIN = '<!-- Made by test/integration/tokens/key-zoo.int.test.ts. KEY_TABLE=write makes it again. -->';
const END = '<!-- End of what is made. -->';

/** The page with the table of these findings in the place of the one that it has. */
export const pageWith = (page: string, findings: readonly Finding[]): string =>
  pageBetween(page, BEGIN, sectionOf(findings));

/** The page with this text in the place of what follows a line of it, up to the end of what is made. */
export function pageBetween(page: string, begin: string, text: string): string {
  const [before, rest] = page.split(begin);
  const end = rest?.indexOf(END) ?? -1;
  if (before === undefined || rest === undefined || end === -1) throw new Error('the page has no place for the table');
  return `${before}${begin}\n\n${text}\n${rest.slice(end)}`;
}

function sectionOf(findings: readonly Finding[]): string {
  const made = findings.filter(({ refusedByToken }) => refusedByToken === undefined);
  const whole = made.filter(isWhole);
  const rows = made.map((one) => [one.kind, capturedText(one), restoredText(one), usedText(one), reasonText(one)]);
  const none = findings.filter(({ refusedByToken }) => refusedByToken !== undefined);
  return [
    `Of ${made.length} kinds that an application can make, ${whole.length} are captured whole:`,
    '',
    tableOf(['kind', 'captured', 'restored', 'used by', 'what is not captured, and why'], rows),
    '',
    'SoftHSM makes none of these:',
    '',
    ...none.map(({ kind, refusedByToken }) => `- ${kind} (\`${refusedByToken}\`)`),
    '',
  ].join('\n');
}

export const isWhole = ({ captured, uncaptured }: Finding): boolean => captured > 0 && uncaptured.length === 0;

const capturedText = (one: Finding): string => (isWhole(one) ? 'yes' : one.captured > 0 ? 'in part' : 'no');

function restoredText({ captured, narrowed, lost }: Finding): string {
  if (captured === 0) return '';
  const less = [
    ...narrowed.map((name) => `${name === 'sensitive' ? 'SENSITIVE' : name} narrowed`),
    ...(lost.length > 2 ? [`${lost.length} attributes lost`] : lost.map((name) => `${name.replace('CKA_', '')} lost`)),
  ];
  return ['equal', ...less].join('; ');
}

const usedText = (one: Finding): string => (isWhole(one) ? (one.usedBy ?? '') : '');

function reasonText({ uncaptured }: Finding): string {
  const byReason = Map.groupBy(uncaptured, ({ reason }) => reason);
  return [...byReason]
    .map(([reason, some]) => `\`${reason}\`: ${[...new Set(some.map(({ kind }) => kind))].sort().join(', ')}`)
    .join('; ');
}

export function tableOf(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => widthOf(row[column]!))));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => cell + ' '.repeat(widths[column]! - widthOf(cell))).join(' | ')} |`;
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n');
}

const widthOf = (text: string): number => [...text].length;
