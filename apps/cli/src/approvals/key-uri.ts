/** PKCS#11 URIs (RFC 7512) that name an operator's key. A PIN is never in one. */
import { AntipodeError } from '@antipode/runtime';

export interface KeyUri {
  readonly module: string;
  readonly tokenLabel: string;
  readonly serial?: string;
  readonly label?: string;
  readonly id?: Uint8Array;
}

export const isKeyUri = (text: string): boolean => text.startsWith('pkcs11:');

/** @throws USAGE */
export function parseKeyUri(uri: string): KeyUri {
  const [path = '', query = ''] = uri.slice('pkcs11:'.length).split('?');
  const of = (text: string, separator: string): Map<string, Buffer> =>
    new Map(
      text
        .split(separator)
        .filter((part) => part !== '')
        .map((part) => {
          const [name = '', value = ''] = [part.slice(0, part.indexOf('=')), part.slice(part.indexOf('=') + 1)];
          return [name, bytesOf(value)];
        }),
    );
  const [named, asked] = [of(path, ';'), of(query, '&')];
  if (asked.has('pin-value') || asked.has('pin-source'))
    throw refused('must not have a PIN or a place of one', 'Give the PIN with --pin-file.');
  const [token, module] = [named.get('token'), asked.get('module-path')];
  if (token === undefined || module === undefined) throw refused('needs token= and module-path=');
  const [serial, label, id] = [named.get('serial'), named.get('object'), named.get('id')];
  if (label === undefined && id === undefined) throw refused('needs object= or id=');
  return {
    module: module.toString(),
    tokenLabel: token.toString(),
    ...(serial === undefined ? {} : { serial: serial.toString() }),
    ...(label === undefined ? {} : { label: label.toString() }),
    ...(id === undefined ? {} : { id: new Uint8Array(id) }),
  };
}

/** Percent-encoded bytes: an id need not be text. */
function bytesOf(value: string): Buffer {
  const parts = value.match(/%[0-9a-fA-F]{2}|[^%]+|%/g) ?? [];
  return Buffer.concat(
    parts.map((part) =>
      /^%[0-9a-fA-F]{2}$/.test(part) ? Buffer.from(part.slice(1), 'hex') : Buffer.from(part, 'utf8'),
    ),
  );
}

const refused = (why: string, hint?: string): AntipodeError =>
  new AntipodeError('USAGE', `a PKCS#11 URI of a key ${why}`, {
    details: { field: 'key' },
    hint: hint ?? 'Write it like pkcs11:token=LABEL;object=KEY?module-path=/path/to/module.so',
  });
