/**
 * Takes secrets out of texts. No source of a bundle should have one: logs, errors and metrics never do. This is for what
 * others have written there, such as a hook that prints its environment. It knows the secrets of the configuration by
 * their values, and others by their forms.
 */

const REDACTED = '(redacted)';
/** A shorter one is found as a word only: as a part of numbers it would be everywhere, and its places would tell it. */
const LENGTH_ANYWHERE = 8;
const LENGTH_MIN = 3;

/** The whole match is taken out, but for a first group, which stays. Each is bounded: a log may hold anything. */
const FORMS: readonly RegExp[] = [
  /-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|$)/g,
  /antipode-site-\d+\.[^\s"'<>]+/g,
  /([a-z][a-z0-9+.-]{0,20}:\/\/)[^\s/@"']{0,200}:[^\s/"']{0,2000}(?=@)/gi,
  /((?:pin|password|passwd|passphrase|pwd|secret|credentials?|authorization|api[-_]?key)["']?\s{0,4}[=:]\s{0,4})(?:"(?:[^"\\]|\\.){0,4000}"|'[^']{0,4000}'|(?:(?:bearer|basic)\s{1,4})?[^\s,;&"'}\]]+)/gi,
  /(\bbearer\s+)[A-Za-z0-9._~+/-]{8,}=*/gi,
];

export class Scrubber {
  readonly #known: readonly RegExp[];

  /** @param secrets their values, as they are in their files */
  constructor(secrets: Iterable<string>) {
    const all = [...new Set([...secrets].map((secret) => secret.trim()))].filter(({ length }) => length >= LENGTH_MIN);
    // The longest first: one may be a part of another.
    this.#known = [...new Set(all.flatMap(spellings))].sort((one, other) => other.length - one.length).map(pattern);
  }

  /** The text without them, and how many places were taken out. */
  scrub(text: string): { text: string; count: number } {
    let count = 0;
    const taken = (_whole: string, kept?: unknown): string => {
      count += 1;
      return `${typeof kept === 'string' ? kept : ''}${REDACTED}`;
    };
    let clean = text;
    for (const known of this.#known)
      clean = clean.replace(known, () => {
        count += 1;
        return REDACTED;
      });
    for (const form of FORMS) clean = clean.replace(form, taken);
    return { text: clean, count };
  }
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
