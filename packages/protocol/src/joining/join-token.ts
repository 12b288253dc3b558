/**
 * The token with which one machine joins as one site: where to ask, how to know the coordinator, and a secret that only
 * the token has. It travels as one line of text, in a file or through a pipe.
 */
import { AntipodeError, bytesEqual, fromHex, hex, isAddress, sha256, sha256Hex } from '@antipode/runtime';
import { isName } from '../convert/names.ts';

/** A coordinator, as the operator knows it. */
export interface JoinPlace {
  readonly id: string;
  /** Where agents connect. */
  readonly address: string;
  /** Where machines join. */
  readonly join: string;
}

export interface JoinToken {
  readonly id: string;
  readonly trustDomain: string;
  readonly site: string;
  /** 32 random bytes. */
  readonly secret: Uint8Array;
  readonly expiresMs: number;
  /** SHA-256 of the certificates of the authorities that count, hexadecimal. */
  readonly authorities: readonly string[];
  readonly coordinators: readonly JoinPlace[];
}

/** Every token of a site begins so, also one that was cut. */
export const SITE_TOKEN_PREFIX = 'antipode-site-1';
export const SECRET_BYTES = 32;
const CHECK_LENGTH = 8;
/** Sixteen coordinators and eight authorities need half of it. */
const TEXT_LENGTH_MAX = 8_192;
const COORDINATORS_MAX = 16;
const AUTHORITIES_MAX = 8;
/** The name of a token at its coordinator. */
export const TOKEN_ID = /^[0-9a-f]{16}$/;
const DIGEST = /^[0-9a-f]{64}$/;

/** The coordinator keeps this of the secret. */
export const secretDigest = (secret: Uint8Array): Uint8Array => sha256(secret);

/** One line. It is as secret as a PIN while it can be used. */
export function siteTokenText({ secret, ...token }: JoinToken): string {
  const body = Buffer.from(JSON.stringify({ ...token, secret: hex(secret) })).toString('base64url');
  return `${SITE_TOKEN_PREFIX}.${body}.${checkOf(body)}`;
}

/** @throws SITE_TOKEN_INVALID; the message has nothing of the text in it */
export function siteTokenFrom(text: string): JoinToken {
  const line = text.trim();
  if (line.length > TEXT_LENGTH_MAX) throw invalid(`the text has ${line.length} characters`);
  const [prefix, body = '', check = '', ...rest] = line.split('.');
  if (prefix !== SITE_TOKEN_PREFIX) throw invalid(`expected a line that begins with ${SITE_TOKEN_PREFIX}.`);
  if (rest.length > 0 || !bytesEqual(Buffer.from(check), Buffer.from(checkOf(body))))
    throw invalid('its check does not fit: it was cut or changed');
  let value: Record<string, unknown>;
  try {
    value = JSON.parse(Buffer.from(body, 'base64url').toString()) as Record<string, unknown>;
  } catch {
    throw invalid('it is not readable');
  }
  const { id, trustDomain, site, secret, expiresMs, authorities, coordinators } = value;
  const isWhole =
    isText(id, TOKEN_ID) &&
    isText(trustDomain, /^[a-z0-9.-]{1,255}$/) &&
    typeof site === 'string' &&
    isName(site) &&
    isText(secret, DIGEST) &&
    Number.isSafeInteger(expiresMs) &&
    isList(authorities, AUTHORITIES_MAX, (one): one is string => isText(one, DIGEST)) &&
    isList(coordinators, COORDINATORS_MAX, isPlace);
  if (!isWhole) throw invalid('a part of it is missing or has another form');
  return {
    id,
    trustDomain,
    site,
    secret: fromHex(secret),
    expiresMs: expiresMs as number,
    authorities,
    coordinators: coordinators.map(({ id, address, join }) => ({ id, address, join })),
  };
}

const checkOf = (body: string): string => sha256Hex(Buffer.from(body)).slice(0, CHECK_LENGTH);

const isText = (value: unknown, form: RegExp): value is string => typeof value === 'string' && form.test(value);

const isList = <T>(value: unknown, lengthMax: number, isOne: (one: unknown) => one is T): value is T[] =>
  Array.isArray(value) && value.length > 0 && value.length <= lengthMax && value.every(isOne);

function isPlace(value: unknown): value is JoinPlace {
  const { id, address, join } = (value ?? {}) as Partial<JoinPlace>;
  return (
    [id, address, join].every((one) => typeof one === 'string') &&
    isName(id!) &&
    isAddress(address!) &&
    isAddress(join!)
  );
}

const invalid = (why: string): AntipodeError =>
  new AntipodeError('SITE_TOKEN_INVALID', `not a token of a site: ${why}`);
