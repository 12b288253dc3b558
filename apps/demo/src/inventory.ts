/**
 * The objects of a token, as pkcs11-tool lists them. A program that is not ours judges whether a key is lost. Objects are
 * compared by class, key type, label and CKA_ID, and public ones by their contents too.
 */
import { createHash } from 'node:crypto';

export interface TokenObject {
  /** As Antipode names it: `private-key/rsa`, `certificate`. */
  readonly kind: string;
  readonly id: string;
  readonly label: string;
  /** SHA-256 of its contents in hexadecimal; empty for what the token does not show. */
  readonly contentSha256: string;
}

const KINDS: readonly (readonly [RegExp, string])[] = [
  [/^Private Key Object; RSA/, 'private-key/rsa'],
  [/^Private Key Object; EC/, 'private-key/ec'],
  [/^Public Key Object; RSA/, 'public-key/rsa'],
  [/^Public Key Object; EC/, 'public-key/ec'],
  [/^Secret Key Object; AES/, 'secret-key/aes'],
  [/^Secret Key Object; Generic/, 'secret-key/generic-secret'],
  [/^Certificate Object/, 'certificate'],
  [/^Data object/i, 'data'],
];

/** What pkcs11-tool calls the kinds whose contents it gives to everybody. */
const READABLE: Readonly<Record<string, string>> = {
  'public-key/rsa': 'pubkey',
  'public-key/ec': 'pubkey',
  certificate: 'cert',
};

/** Reads the list of `pkcs11-tool --list-objects`: a line without indent starts an object, its attributes follow. */
export function parseObjects(list: string): Omit<TokenObject, 'contentSha256'>[] {
  const blocks: { head: string; fields: Map<string, string> }[] = [];
  for (const line of list.split('\n')) {
    const [, name, value] = /^\s+([^:]+):\s*(.*?)\s*$/.exec(line) ?? [];
    if (name !== undefined && value !== undefined) blocks.at(-1)?.fields.set(name, value);
    else if (/\bobject\b/i.test(line)) blocks.push({ head: line, fields: new Map() });
  }
  return blocks.map(({ head, fields }) => ({
    kind: KINDS.find(([pattern]) => pattern.test(head))?.[1] ?? head,
    id: fields.get('ID') ?? '',
    label: (fields.get('label') ?? '').replace(/^'(.*)'$/, '$1'),
  }));
}

/** Everything that the token behind `tool` holds. */
export function inventory(tool: (...args: string[]) => Buffer): TokenObject[] {
  return parseObjects(tool('--list-objects').toString()).map((object) => {
    const type = READABLE[object.kind];
    const content =
      type === undefined || object.id === '' ? undefined : tool('--read-object', '--type', type, '--id', object.id);
    return {
      ...object,
      contentSha256: content === undefined ? '' : createHash('sha256').update(content).digest('hex'),
    };
  });
}

const keyOf = ({ kind, id, label, contentSha256 }: TokenObject): string =>
  JSON.stringify([kind, id, label, contentSha256]);

/** Objects of `left` that `right` does not have. Two of the same count as two. */
export function without(left: readonly TokenObject[], right: readonly TokenObject[]): TokenObject[] {
  const keys = right.map(keyOf);
  return left.filter((object) => {
    const at = keys.indexOf(keyOf(object));
    if (at >= 0) keys.splice(at, 1);
    return at < 0;
  });
}

/**
 * Objects that were made, are not at the new site, and were never reported as not captured: lost. A report tells no label
 * and no CKA_ID, so it excuses one missing object of its kind.
 */
export function lostObjects({
  made,
  found,
  uncapturedKinds,
}: {
  made: readonly TokenObject[];
  found: readonly TokenObject[];
  uncapturedKinds: readonly string[];
}): TokenObject[] {
  const excuses = [...uncapturedKinds];
  return without(made, found).filter(({ kind }) => {
    const at = excuses.indexOf(kind);
    if (at >= 0) excuses.splice(at, 1);
    return at < 0;
  });
}
