/**
 * Takes secrets out of texts. No source of a bundle should have one: logs, errors and metrics never do. This is for what
 * others have written there, such as a hook that prints its environment. It knows the secrets of the configuration by
 * their values, and others by their forms.
 */
import { cleanJson } from './json-text.ts';

const REDACTED = '(redacted)';
/** A shorter one is found as a word only: as a part of numbers it would be everywhere, and its places would tell it. */
const LENGTH_ANYWHERE = 8;
const LENGTH_MIN = 3;

/** Each form is bounded: a log may hold anything. */
const PRIVATE_KEY = /-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|$)/g;
/** The whole match is taken out, except for a first group. */
const FORMS: readonly RegExp[] = [
  /antipode-site-\d+\.[^\s"'<>]+/g,
  /([a-z][a-z0-9+.-]{0,20}:\/\/)[^\s/@"']{0,200}:[^\s/"']{0,2000}(?=@)/gi,
  /(\bbearer\s+)[A-Za-z0-9._~+/-]{8,}=*/gi,
];
const SECRET_NAME = '(?:pin|password|passwd|passphrase|pwd|secret|credentials?|authorization|api[-_]?key)';
/** A name, the quote behind it, and the value: in quotes, in quotes that are escaped, cut off in quotes, or bare. */
const NAMED_SECRET = new RegExp(
  `(${SECRET_NAME}(\\\\{0,7}["'])?\\s{0,4}[=:]\\s{0,4})(?:${[
    `(?<quote>["'])(?:(?!\\k<quote>)[^\\\\]|\\\\.){0,4000}\\k<quote>`,
    `(?<escaped>\\\\{1,7}["'])[^\\n]{0,4000}?(?<!\\\\)\\k<escaped>`,
    `(?<cut>\\\\{0,7}["'])[^\\n]{0,4000}`,
    `(?:(?:bearer|basic)\\s{1,4})?[^\\s,;&"'}\\]]+`,
  ].join('|')})`,
  'gi',
);
const IS_SECRET_NAME = new RegExp(`${SECRET_NAME}$`, 'i');

export class Scrubber {
  readonly #known: readonly RegExp[];

  /** @param secrets their values, as they are in their files */
  constructor(secrets: Iterable<string>) {
    const all = [...new Set([...secrets].map((secret) => secret.trim()))].filter(({ length }) => length >= LENGTH_MIN);
    // The longest first: one may be a part of another.
    this.#known = [...new Set(all.flatMap(spellings))].sort((one, other) => other.length - one.length).map(pattern);
  }

  /** The text without them, and how many places were taken out. A line of JSON stays one, and so does a document. */
  scrub(text: string): { text: string; count: number } {
    const document = this.#json(text);
    if (document !== undefined) return document;
    let count = 0;
    const whole = new Set<string>();
    const lines = text.split('\n').map((line) => {
      const json = this.#json(line);
      if (json === undefined) return line;
      count += json.count;
      whole.add(json.text);
      return json.text;
    });
    // A private key can go on behind lines of JSON. Other secrets of more than one line are looked for between them.
    const rest = counted(lines.join('\n'), PRIVATE_KEY, () => REDACTED, count);
    count = rest.count;
    const parts: string[] = [];
    let words: string[] = [];
    const endOfWords = (): void => {
      if (words.length === 0) return;
      const clean = this.#words(words.join('\n'));
      count += clean.count;
      parts.push(clean.text);
      words = [];
    };
    for (const line of rest.text.split('\n')) {
      if (!whole.has(line)) words.push(line);
      else {
        endOfWords();
        parts.push(line);
      }
    }
    endOfWords();
    return { text: parts.join('\n'), count };
  }

  /** Undefined if it is not JSON. */
  #json(text: string): { text: string; count: number } | undefined {
    let count = 0;
    const clean = (one: string): string => {
      const cleaned = this.#all(one);
      count += cleaned.count;
      return cleaned.text;
    };
    const hides = (name: string): boolean => {
      const isSecret = IS_SECRET_NAME.test(name);
      if (isSecret) count += 1;
      return isSecret;
    };
    const json = cleanJson(text, { clean, hides, instead: REDACTED });
    return json === undefined ? undefined : { text: json, count };
  }

  #all(text: string): { text: string; count: number } {
    const { text: rest, count: keys } = counted(text, PRIVATE_KEY, () => REDACTED);
    const { text: clean, count } = this.#words(rest);
    return { text: clean, count: keys + count };
  }

  #words(text: string): { text: string; count: number } {
    let clean = { text, count: 0 };
    for (const known of this.#known) clean = counted(clean.text, known, () => REDACTED, clean.count);
    clean = counted(clean.text, NAMED_SECRET, redactedValue, clean.count);
    for (const form of FORMS)
      clean = counted(clean.text, form, (_whole, kept = '') => `${kept}${REDACTED}`, clean.count);
    return clean;
  }
}

/** The text with each match replaced, and how many there were before and now. */
function counted(
  text: string,
  pattern: RegExp,
  replaced: (...match: (string | undefined)[]) => string,
  before = 0,
): { text: string; count: number } {
  let count = before;
  const clean = text.replace(pattern, (...match: unknown[]) => {
    count += 1;
    return replaced(...match.map((one) => (typeof one === 'string' ? one : undefined)));
  });
  return { text: clean, count };
}

/** In the quotes of the value, or those of the name: what was JSON, or YAML, should stay so. */
function redactedValue(...[, kept = '', ofName, quote, escaped, cut]: (string | undefined)[]): string {
  const around = quote ?? escaped ?? cut ?? ofName ?? '';
  return `${kept}${around}${REDACTED}${around}`;
}

/** Its forms in JSON, in an address, and in dumps of bytes. */
function spellings(secret: string): string[] {
  const plain = [secret, JSON.stringify(secret).slice(1, -1), encodeURIComponent(secret)];
  if (secret.length < LENGTH_ANYWHERE) return plain;
  const bytes = Buffer.from(secret);
  return [
    ...plain,
    bytes.toString('hex'),
    bytes.toString('hex').toUpperCase(),
    bytes.toString('base64').replace(/=+$/, ''),
  ];
}

function pattern(secret: string): RegExp {
  const literal = secret.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  return secret.length >= LENGTH_ANYWHERE
    ? new RegExp(literal, 'g')
    : new RegExp(`(?<![\\p{L}\\p{N}])${literal}(?![\\p{L}\\p{N}])`, 'gu');
}
