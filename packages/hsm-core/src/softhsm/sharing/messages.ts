/**
 * The two messages by which one SoftHSM token comes to share the token key of another (ADR 0056). Operators carry them as
 * files between the sites, and each confirms the identity of the other partition, as with a pin.
 *
 * The **request** of the taking partition names itself, the partition that is asked, and a point. The private half of the
 * point lies in its token, made for this one request. The **grant** has the token key, encrypted in the giving token under
 * a key that the two points agree on. Both are signed by identity keys, in the tokens.
 */
import { AntipodeError, fromHex, hex, sha256 } from '@antipode/runtime';
import { isSignedBy } from '../../model/manifest/signed-manifest.ts';
import { fingerprint } from '../../model/public-half.ts';

/** One partition, as the operator of the other site confirms it. */
export interface ConfirmedPartition {
  readonly serial: string;
  /** Fingerprint of its identity, in hexadecimal. */
  readonly identitySha256: string;
}

export interface Request {
  readonly serial: string;
  /** Public half of the identity key, as pins name it. */
  readonly identity: Uint8Array;
  readonly giver: ConfirmedPartition;
  readonly nonce: Uint8Array;
  /** Of P-256, uncompressed. */
  readonly point: Uint8Array;
}

export interface Grant {
  readonly serial: string;
  readonly identity: Uint8Array;
  /** Digest of the request that it answers. */
  readonly request: Uint8Array;
  readonly point: Uint8Array;
  /** The token key by AES-GCM: initial vector, ciphertext, tag. */
  readonly sealed: Uint8Array;
}

export type Signed<T> = T & { readonly signature: Uint8Array };

export const NONCE_BYTES = 32;
const POINT_BYTES = 65;
const [REQUEST, GRANT] = ['antipode token key request v1', 'antipode token key grant v1'];

export const requestBytes = ({ serial, identity, giver, nonce, point }: Request): Uint8Array =>
  framed(REQUEST, [
    Buffer.from(serial),
    identity,
    Buffer.from(giver.serial),
    fromHex(giver.identitySha256),
    nonce,
    point,
  ]);

/** Everything of a grant but the sealed key, which is bound to it. */
export const grantHead = ({ serial, identity, request, point }: Omit<Grant, 'sealed'>): Uint8Array =>
  framed(GRANT, [Buffer.from(serial), identity, request, point]);

export const grantBytes = (grant: Grant): Uint8Array => framed(GRANT, [grantHead(grant), grant.sealed]);

export const requestDigest = (request: Signed<Request>): Uint8Array =>
  sha256(framed(REQUEST, [requestBytes(request), request.signature]));

/** @throws TOKEN_KEY_REFUSED unless it is whole, signed, from the confirmed partition, and for this one */
export function checkRequest(
  request: Signed<Request>,
  { taker, giver }: { readonly taker: ConfirmedPartition; readonly giver: ConfirmedPartition },
): void {
  checkIdentity(request, taker);
  if (request.giver.serial !== giver.serial || request.giver.identitySha256 !== giver.identitySha256)
    refuse(`the request is for partition ${request.giver.serial}, expected ${giver.serial}`);
  if (request.nonce.length !== NONCE_BYTES || request.point.length !== POINT_BYTES) refuse('the request is malformed');
  if (!isSignedBy(request.identity, requestBytes(request), request.signature))
    refuse('the request is not signed by its identity');
}

/** @throws TOKEN_KEY_REFUSED */
export function checkGrant(
  grant: Signed<Grant>,
  { giver, request }: { readonly giver: ConfirmedPartition; readonly request: Signed<Request> },
): void {
  checkIdentity(grant, giver);
  if (!Buffer.from(grant.request).equals(requestDigest(request))) refuse('the grant answers another request');
  if (grant.point.length !== POINT_BYTES) refuse('the grant is malformed');
  if (!isSignedBy(grant.identity, grantBytes(grant), grant.signature))
    refuse('the grant is not signed by its identity');
}

function checkIdentity(
  { serial, identity }: { readonly serial: string; readonly identity: Uint8Array },
  confirmed: ConfirmedPartition,
): void {
  const found = fingerprint(identity);
  if (serial === confirmed.serial && found === confirmed.identitySha256) return;
  throw new AntipodeError(
    'PEER_NOT_PINNED',
    `partition ${serial} shows identity ${found}, expected partition ${confirmed.serial} with ${confirmed.identitySha256}`,
    { details: { serial, identity: found } },
  );
}

export function refuse(why: string): never {
  throw new AntipodeError('TOKEN_KEY_REFUSED', `the token key is not shared: ${why}`);
}

function framed(prefix: string, parts: readonly Uint8Array[]): Uint8Array {
  const pieces = parts.flatMap((part) => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(part.length);
    return [length, part];
  });
  return Buffer.concat([Buffer.from(`${prefix}\0`), ...pieces]);
}

/** A message as the text of a file. */
export function textOf(message: Signed<Request> | Signed<Grant>): string {
  const fields = Object.entries(message).map(([name, value]: [string, unknown]): [string, unknown] => [
    name,
    value instanceof Uint8Array ? hex(value) : value,
  ]);
  const kind = 'sealed' in message ? GRANT : REQUEST;
  return `${JSON.stringify({ antipode: kind, ...Object.fromEntries(fields) }, undefined, 2)}\n`;
}

/** @throws TOKEN_KEY_REFUSED */
export function requestFrom(text: string): Signed<Request> {
  const { giver, ...fields } = parsed(text, REQUEST);
  const named = (giver ?? {}) as Record<string, unknown>;
  return {
    serial: textIn(fields['serial']),
    identity: bytesIn(fields['identity']),
    giver: { serial: textIn(named['serial']), identitySha256: hex(bytesIn(named['identitySha256'])) },
    nonce: bytesIn(fields['nonce']),
    point: bytesIn(fields['point']),
    signature: bytesIn(fields['signature']),
  };
}

/** @throws TOKEN_KEY_REFUSED */
export function grantFrom(text: string): Signed<Grant> {
  const fields = parsed(text, GRANT);
  return {
    serial: textIn(fields['serial']),
    identity: bytesIn(fields['identity']),
    request: bytesIn(fields['request']),
    point: bytesIn(fields['point']),
    sealed: bytesIn(fields['sealed']),
    signature: bytesIn(fields['signature']),
  };
}

function parsed(text: string, kind: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    refuse(`the file is not JSON, expected "${kind}"`);
  }
  const fields = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  if (fields['antipode'] !== kind) refuse(`the file is not "${kind}"`);
  return fields;
}

const textIn = (value: unknown): string =>
  typeof value === 'string' ? value : refuse('a field of the file is missing');

const bytesIn = (value: unknown): Uint8Array =>
  typeof value === 'string' && /^([0-9a-f]{2})+$/.test(value)
    ? fromHex(value)
    : refuse('a field of the file is missing');
