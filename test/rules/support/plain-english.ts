/** Forms that a reader has to read twice (CONTRIBUTING.md, "Plain English"), and what to write instead. */
import type { Prose } from './prose.ts';

interface Form {
  readonly pattern: RegExp;
  readonly instead: string;
}

/** A clause as the subject, as in "What it ordered was ordered." A question can begin like this. */
const CLAUSE_SUBJECT =
  /(?<=^|[.!:] |\n\n)(?:What|Who|Whoever|Whom|That) (?!is why\b|means\b|makes\b|said\b)(?:[a-z']+ )+?[^.?!]*(?=[.!]|$)(?!\?)/m;

export const FORMS: Readonly<Record<string, Form>> = {
  'has not the': { pattern: /\b(?:has|have|had) not (?:the|a|an|any|its|their)\b/i, instead: 'does not have' },
  'has none': { pattern: /\b(?:has|have|had) none\b/i, instead: 'has no ..., naming it' },
  'is no': {
    pattern: /(?<!\bthere )\b(?:is|are|was|were) no (?!longer\b|more\b|other\b|older\b|newer\b)[a-z]/i,
    instead: 'is not a',
  },
  anew: { pattern: /\banew\b/i, instead: 'again' },
  'also where': { pattern: /\balso where\b/i, instead: 'even if' },
  'is told': { pattern: /\b(?:is|are|was|were) told\b/i, instead: 'receives, is reported' },
  'stands in': { pattern: /\bstands? in\b/i, instead: 'is in' },
  'who lacks': { pattern: /\bwho(?:ever)? lacks?\b/i, instead: 'a member without' },
  'may not': { pattern: /\bmay not\b/i, instead: 'must not, or cannot' },
  'goes only with': { pattern: /\bgoes only with\b/i, instead: 'needs' },
  'clause as subject': { pattern: CLAUSE_SUBJECT, instead: 'a noun as the subject' },
};

const WORDS_MAX = 35;
const COLUMNS_MAX = 120;

export interface Finding extends Omit<Prose, 'text'> {
  readonly rule: string;
  readonly text: string;
}

export function findingsIn(prose: Prose): Finding[] {
  const { path, line, kind } = prose;
  // Text between backquotes is code, not a sentence.
  const text = prose.text.replaceAll(/`[^`\n]*`/g, '`x`');
  const found: Finding[] = [];
  for (const [rule, { pattern }] of Object.entries(FORMS)) {
    const match = pattern.exec(text);
    if (match !== null) found.push({ path, line, kind, rule, text: match[0] });
  }
  for (const sentence of sentencesOf(text)) {
    const words = sentence.split(/\s+/).filter((word) => /[a-z0-9]/i.test(word)).length;
    if (words > WORDS_MAX) found.push({ path, line, kind, rule: `${words} words in a sentence`, text: sentence });
  }
  if (
    (kind === 'comment' || prose.text.includes('\n')) &&
    kind !== 'document' &&
    prose.text.split('\n').some((one) => one.length > COLUMNS_MAX)
  )
    found.push({ path, line, kind, rule: 'longer than 120 columns', text: '' });
  return found;
}

function sentencesOf(text: string): string[] {
  return text
    .split(/\n\s*\n|\n(?=\s*[-@*])/)
    .flatMap((paragraph) => paragraph.replaceAll(/\s+/g, ' ').split(/(?<=[.!?])\s+(?=[A-Z`(*])/));
}
