/**
 * The sentences in a source that people read: messages, comments, test titles and documents. Code and tables are left
 * out.
 */
import { SyntaxKind } from 'typescript/unstable/ast';
import { tokensOf } from './tokens.ts';
import type { SourceFile } from './tree.ts';

export type ProseKind = 'message' | 'comment' | 'title' | 'document';

export interface Prose {
  readonly path: string;
  readonly line: number;
  readonly kind: ProseKind;
  readonly text: string;
}

const isTest = (path: string): boolean => path.startsWith('test/') || path.endsWith('.test.ts');

/** A call whose first argument, or the table behind it, names a test. */
const TITLED = new Set(['it', 'test', 'describe']);

export function proseOf({ path, source }: SourceFile): Prose[] {
  if (path.endsWith('.md')) return documentOf(path, source);
  return [...stringsOf(path, source), ...commentsOf(path, source)];
}

const STATEMENT = /^\s*(?:ALTER|BEGIN|CREATE|DELETE|DROP|INSERT|PRAGMA|SELECT|UPDATE|VACUUM)\b/;

/** Strings with blanks between words, without statements of SQL. In a test only titles: the rest is data. */
function stringsOf(path: string, source: string): Prose[] {
  const tokens = tokensOf(source);
  const found: Prose[] = [];
  for (const [at, { kind, text, line }] of tokens.entries()) {
    const value = textOf(kind, text);
    if (value === undefined || !/[a-z,;:]\s+[a-z]/i.test(value) || STATEMENT.test(value)) continue;
    if (!isTest(path)) found.push({ path, line, kind: 'message', text: value });
    else if (
      tokens[at - 1]?.text === '(' &&
      isTitle(tokens.slice(Math.max(0, at - 400), at - 1).map((one) => one.text))
    )
      found.push({ path, line, kind: 'title', text: value });
  }
  return found;
}

function textOf(kind: SyntaxKind, text: string): string | undefined {
  switch (kind) {
    case SyntaxKind.StringLiteral:
      return text;
    case SyntaxKind.NoSubstitutionTemplateLiteral:
    case SyntaxKind.TemplateTail:
      return lines(text.slice(1, -1));
    case SyntaxKind.TemplateHead:
    case SyntaxKind.TemplateMiddle:
      return lines(text.slice(1, -2));
    default:
      return undefined;
  }
}

/** Of a template the text is as written. */
const lines = (text: string): string => text.replaceAll('\\n', '\n');

/** `it(`, `it.only(`, `it.each([...])(`: the words before the bracket, over one pair of brackets. */
function isTitle(before: readonly string[]): boolean {
  let at = before.length - 1;
  if (before[at] === ')') {
    for (let depth = 0; at >= 0; at--) {
      if (before[at] === ')') depth++;
      if (before[at] === '(' && --depth === 0) break;
    }
    at--;
  }
  while (at >= 2 && before[at - 1] === '.') at -= 2;
  return TITLED.has(before[at] ?? '');
}

const MARKS = /^\s*(?:\/\*\*?|\*\/|\*|\/\/)\s?|\s*\*\/\s*$/g;

function commentsOf(path: string, source: string): Prose[] {
  return tokensOf(source, { withComments: true })
    .filter(({ kind }) => kind === SyntaxKind.MultiLineCommentTrivia || kind === SyntaxKind.SingleLineCommentTrivia)
    .map(({ text, line }) => ({
      path,
      line,
      kind: 'comment' as const,
      text: text
        .split('\n')
        .map((one) => one.replaceAll(MARKS, ''))
        .join('\n'),
    }));
}

/** One entry a paragraph or list item. Headings, fences, tables and quotations of output are left out. */
function documentOf(path: string, source: string): Prose[] {
  const found: Prose[] = [];
  let block: { line: number; lines: string[] } | undefined;
  const close = (): void => {
    if (block !== undefined) found.push({ path, line: block.line, kind: 'document', text: block.lines.join('\n') });
    block = undefined;
  };
  let isFenced = false;
  for (const [at, text] of source.split('\n').entries()) {
    if (/^\s*(```|~~~)/.test(text)) {
      isFenced = !isFenced;
      close();
    } else if (isFenced || /^\s*(\||#|>|<|\[[^\]]+\]:)/.test(text) || text.trim() === '') close();
    else {
      const item = /^\s*(?:[-*]|\d+\.)\s+/.exec(text);
      if (item !== null) close();
      block ??= { line: at + 1, lines: [] };
      block.lines.push(item === null ? text : text.slice(item[0].length));
    }
  }
  close();
  return found;
}
