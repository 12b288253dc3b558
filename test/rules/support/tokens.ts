/** Source code as its tokens: comments, strings and regular expressions cannot be mistaken for code. */
import { SyntaxKind } from 'typescript/unstable/ast';
import { createScanner } from 'typescript/unstable/ast/scanner';

export interface Token {
  readonly kind: SyntaxKind;
  /** As written; of a string literal, its value. */
  readonly text: string;
  readonly line: number;
}

const COMMENTS: ReadonlySet<SyntaxKind> = new Set([
  SyntaxKind.SingleLineCommentTrivia,
  SyntaxKind.MultiLineCommentTrivia,
]);

/** After these a slash divides; after anything else it opens a regular expression. */
const ENDS_A_VALUE: ReadonlySet<SyntaxKind> = new Set([
  SyntaxKind.Identifier,
  SyntaxKind.NumericLiteral,
  SyntaxKind.BigIntLiteral,
  SyntaxKind.StringLiteral,
  SyntaxKind.NoSubstitutionTemplateLiteral,
  SyntaxKind.TemplateTail,
  SyntaxKind.RegularExpressionLiteral,
  SyntaxKind.CloseParenToken,
  SyntaxKind.CloseBracketToken,
  SyntaxKind.CloseBraceToken,
  SyntaxKind.ThisKeyword,
  SyntaxKind.SuperKeyword,
  SyntaxKind.TrueKeyword,
  SyntaxKind.FalseKeyword,
  SyntaxKind.NullKeyword,
]);

/** With comments they are tokens among the others; blanks never are. */
export function tokensOf(source: string, { withComments = false } = {}): Token[] {
  const scanner = createScanner(!withComments, undefined, source);
  const tokens: Token[] = [];
  /** One entry for each open brace: whether it was opened by `${`. */
  const braces: boolean[] = [];
  let [line, counted] = [1, 0];
  for (let kind = scanner.scan(); kind !== SyntaxKind.EndOfFile; kind = scanner.scan()) {
    if (kind === SyntaxKind.WhitespaceTrivia || kind === SyntaxKind.NewLineTrivia) continue;
    const before = tokens.findLast((token) => !COMMENTS.has(token.kind))?.kind;
    const isSlash = kind === SyntaxKind.SlashToken || kind === SyntaxKind.SlashEqualsToken;
    if (isSlash && (before === undefined || !ENDS_A_VALUE.has(before))) kind = scanner.reScanSlashToken();
    if (kind === SyntaxKind.TemplateHead) braces.push(true);
    if (kind === SyntaxKind.OpenBraceToken) braces.push(false);
    if (kind === SyntaxKind.CloseBraceToken && braces.pop() === true) {
      kind = scanner.reScanTemplateToken(false);
      if (kind === SyntaxKind.TemplateMiddle) braces.push(true);
    }
    for (; counted < scanner.getTokenStart(); counted++) if (source[counted] === '\n') line++;
    const text = kind === SyntaxKind.StringLiteral ? scanner.getTokenValue() : scanner.getTokenText();
    tokens.push({ kind, text, line });
  }
  return tokens;
}

export interface Import {
  readonly from: string;
  readonly line: number;
}

/** Every module that a source names: imports, re-exports, dynamic imports, require, and import types. */
export function importsOf(tokens: readonly Token[]): Import[] {
  return tokens.flatMap((token, at) => {
    if (!isText(token)) return [];
    const [before, beforeThat] = [tokens[at - 1]?.text, tokens[at - 2]?.text];
    const isImport =
      before === 'from' ||
      before === 'import' ||
      (before === '(' && (beforeThat === 'import' || beforeThat === 'require'));
    return isImport ? [{ from: textOf(token), line: token.line }] : [];
  });
}

/** Every string in a source, without its quotes. */
export function stringsOf(tokens: readonly Token[]): string[] {
  return tokens.filter(isText).map(textOf);
}

export function isText({ kind }: Token): boolean {
  return kind === SyntaxKind.StringLiteral || kind === SyntaxKind.NoSubstitutionTemplateLiteral;
}

const textOf = ({ text }: Token): string => text.replace(/^`|`$/g, '');
