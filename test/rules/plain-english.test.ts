/** Every text that a person reads is in plain English: messages, hints, help, comments, test titles and documents. */
import { describe, expect, it } from 'vitest';
import { type Finding, findingsIn } from './support/plain-english.ts';
import { type Prose, type ProseKind, proseOf } from './support/prose.ts';
import { paths, read } from './support/tree.ts';

const GENERATED = /\/gen\/|^docs\/(?:cli|errors)\.md$/;
const files = paths()
  .filter((path) => /\.(?:ts|js|md)$/.test(path) && !GENERATED.test(path))
  .map(read);
const findings = files.flatMap(proseOf).flatMap(findingsIn);

const textOf = ({ path, line, rule, text }: Finding): string => `${path}:${line} [${rule}] ${text}`;

it.each(['message', 'title', 'comment', 'document'] as const)('every %s is in plain English', (kind) => {
  expect(findings.filter((one) => one.kind === kind).map(textOf)).toEqual([]);
});

const rulesOf = (text: string, kind: ProseKind = 'message'): string[] => {
  const prose: Prose = { path: 'a.ts', line: 1, kind, text };
  return findingsIn(prose).map(({ rule }) => rule.replace(/^\d+/, 'many'));
};

describe('the rule', () => {
  it.each([
    ['the manifest has not the digest that was announced', 'has not the'],
    ['the other site has none', 'has none'],
    ['SoftHSM is no security boundary', 'is no'],
    ['seat the group anew', 'anew'],
    ['ends a seat also where it is ours', 'also where'],
    ['the agent is told', 'is told'],
    ['it stands in the log', 'stands in'],
    ['who lacks one pulls it', 'who lacks'],
    ['a site may not speak for another', 'may not'],
    ['this goes only with --yes', 'goes only with'],
    ['What it ordered was ordered.', 'clause as subject'],
    ['Put it back. Who holds the PIN can do that.', 'clause as subject'],
    [`${'word '.repeat(36)}.`, 'many words in a sentence'],
  ])('finds the fault in "%s"', (text, rule) => {
    expect(rulesOf(text)).toContain(rule);
  });

  it.each([
    'there is no such group',
    'this site is no longer active',
    'What does it cost?',
    'run `seat anew` now',
    `${'word '.repeat(30)}. Then ${'word '.repeat(30)}.`,
  ])('leaves "%s" alone', (text) => {
    expect(rulesOf(text)).toEqual([]);
  });

  it('finds a line of a comment that is too long, and none in a message of one line', () => {
    expect(rulesOf('x'.repeat(121), 'comment')).toEqual(['longer than many columns'.replace('many', '120')]);
    expect(rulesOf('x'.repeat(121))).toEqual([]);
  });

  it('reads messages, comments and titles, but no code and no SQL', () => {
    const source = [
      'const a = "one message here"; // one comment',
      "const b = `SELECT a FROM b WHERE c`; it('does a thing', () => {});",
    ].join('\n');
    const kindsIn = (path: string): string[] => proseOf({ path, source }).map(({ kind, text }) => `${kind}: ${text}`);
    expect(kindsIn('src/a.ts')).toEqual(['message: one message here', 'message: does a thing', 'comment: one comment']);
    expect(kindsIn('src/a.test.ts')).toEqual(['title: does a thing', 'comment: one comment']);
  });

  it('reads paragraphs and items of a document, without fences, tables and headings', () => {
    const source = '# Title here\n\nOne two\nthree.\n\n- an item\n\n```\ncode here\n```\n\n| a b | c d |\n';
    expect(proseOf({ path: 'a.md', source }).map(({ text }) => text)).toEqual(['One two\nthree.', 'an item']);
  });
});
