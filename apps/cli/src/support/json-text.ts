/**
 * JSON without secrets. Everything else stays as it was written, down to spaces and long numbers. It reads one token
 * after the other, so that no JSON is too deep for it.
 */

export interface Rules {
  /** Of a string, a number, or a name. */
  readonly clean: (text: string) => string;
  /** Whether the whole value under this name is taken out. */
  readonly hides: (name: string) => boolean;
  /** In place of such a value. */
  readonly instead: string;
}

/** @returns undefined if the text is not JSON, or a number or a word only */
export function cleanJson(text: string, { clean, hides, instead }: Rules): string | undefined {
  if (!/^\s*[[{"]/.test(text) || !isJson(text)) return undefined;
  const cleanToken = (token: string): string => {
    const plain = token.startsWith('"') ? (JSON.parse(token) as string) : token;
    const cleaned = clean(plain);
    return cleaned === plain ? token : JSON.stringify(cleaned);
  };
  const parts: string[] = [];
  let depth = 0;
  let isHidden = false;
  /** The depth of a list or an object that is taken out. */
  let hiddenAt: number | undefined;
  for (const { token, isName } of tokensOf(text)) {
    const opens = token === '{' || token === '[';
    if (token === '}' || token === ']') {
      depth -= 1;
      if (hiddenAt === undefined) parts.push(token);
      else if (depth === hiddenAt) hiddenAt = undefined;
    } else if (hiddenAt !== undefined) {
      // A part of what is taken out.
    } else if (isName) {
      isHidden = hides(JSON.parse(token) as string);
      parts.push(cleanToken(token));
    } else if (/^[\s:,]/.test(token)) {
      parts.push(token);
    } else {
      parts.push(isHidden ? JSON.stringify(instead) : opens ? token : cleanToken(token));
      if (isHidden && opens) hiddenAt = depth;
      isHidden = false;
    }
    if (opens) depth += 1;
  }
  return parts.join('');
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** Of text that is known to be JSON. */
function* tokensOf(text: string): Generator<{ token: string; isName: boolean }> {
  const word = /[^\s[\]{}:,"]+|\s+|./y;
  for (let at = 0; at < text.length; ) {
    word.lastIndex = at;
    const end = text[at] === '"' ? endOfString(text, at) : at + (word.exec(text)?.[0].length ?? 1);
    yield { token: text.slice(at, end), isName: text[at] === '"' && isNameUntil(text, end) };
    at = end;
  }
}

function endOfString(text: string, at: number): number {
  let end = at + 1;
  while (text[end] !== '"') end += text[end] === '\\' ? 2 : 1;
  return end + 1;
}

function isNameUntil(text: string, end: number): boolean {
  let at = end;
  while (/\s/.test(text[at] ?? '')) at += 1;
  return text[at] === ':';
}
