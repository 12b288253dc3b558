/**
 * The list of revoked certificates that operators sign. Each version is complete and takes the place of the one before.
 * The signed bytes are JSON in the canonical form of RFC 8785, as those of approvals are. This module knows the form
 * and the signatures. It does not know what a process does with a list (revocation-book.ts).
 */
import { createPublicKey, type KeyObject } from 'node:crypto';
import { AntipodeError, canonicalJson, sha256Hex } from '@antipode/runtime';
import { type OperatorSignature, SIGNATURES_MAX, signersOf } from '../approvals/approval.ts';
import type { OperatorKey } from '../approvals/operator-keys.ts';
import { isReason, isTime, signedFields } from '../approvals/signed-fields.ts';
import { parseIdentity } from '../certificates/identity.ts';
import { isName } from '../convert/names.ts';

export const REVOCATION_FORMAT = 'antipode revocations v1';

/**
 * - `certificate`: one certificate, by its SHA-256. It holds for an issuer too: for what is signed with its key, use
 *   `issuer`.
 * - `identity`: every certificate of a process or a person that the authority issued before a moment, whatever role it
 *   has, and every renewal of one of those.
 * - `issuer`: everything that was signed with the key of an issuer.
 */
export const REVOCATION_KINDS = ['certificate', 'identity', 'issuer'] as const;
export type RevocationKind = (typeof REVOCATION_KINDS)[number];

export interface Revocation {
  readonly kind: RevocationKind;
  /** SHA-256 of the certificate, hexadecimal. For an issuer its public key: SubjectPublicKeyInfo in base64. */
  readonly subject: string;
  /** Of an identity: the certificates that the authority issued before this moment. Empty for the other kinds. */
  readonly issuedBefore: string;
  /** The identity without a role; for a certificate or an issuer a name for people, or empty. */
  readonly name: string;
  readonly reason: string;
  /** When it was put on the list. */
  readonly since: string;
  /** When the last certificate that it concerns has ended. The next version can do without it from then on. */
  readonly ends: string;
}

export interface RevocationList {
  readonly format: typeof REVOCATION_FORMAT;
  readonly trustDomain: string;
  /** From 1. A process takes a higher one only. */
  readonly version: number;
  /** Digest of the list that it was made from; empty for the first. */
  readonly previous: string;
  readonly made: string;
  /** The operator who made it. This operator signs too, and does not count. */
  readonly madeBy: string;
  readonly entries: readonly Revocation[];
}

/** As it crosses the wire: the canonical text, and signatures over it. */
export interface SignedRevocations {
  readonly list: Uint8Array;
  readonly signatures: readonly OperatorSignature[];
}

/** The operators whose signatures count, by the configuration of each process. */
export interface RevocationRules {
  /** Distinct operators that must have signed, without the one who made the list. */
  readonly required: number;
  readonly operators: readonly OperatorKey[];
}

/** A list of this size fits into one request, with its signatures. */
export const LIST_BYTES_MAX = 200 * 1024;
export const ENTRIES_MAX = 500;
/** Nobody signs a version each second for a hundred years. A higher one would end the list for ever. */
const VERSION_MAX = 1_000_000_000;

const DOMAIN = Buffer.from('antipode revocations v1\0');

export const revocationBytes = (list: RevocationList): Uint8Array => new Uint8Array(Buffer.from(canonicalJson(list)));

/** The signed bytes: the canonical text after a prefix, so that the signature can stand for nothing else. */
export const signedRevocationBytes = (canonical: Uint8Array): Uint8Array =>
  new Uint8Array(Buffer.concat([DOMAIN, canonical]));

/** Names a list. People compare its first digits. */
export const revocationDigest = (canonical: Uint8Array): string => sha256Hex(signedRevocationBytes(canonical));

const invalid = (field: string, why: string): AntipodeError =>
  new AntipodeError('REVOCATION_LIST_INVALID', `the list of revoked certificates is not valid: ${field} ${why}`, {
    details: { field },
  });
const { recordOf, listOf, text, integer, oneOf } = signedFields(invalid);

/** @throws REVOCATION_LIST_INVALID unless these bytes are the canonical form of a list */
export function parseRevocations(bytes: Uint8Array): RevocationList {
  if (bytes.length > LIST_BYTES_MAX) throw invalid('list', `has more than ${LIST_BYTES_MAX / 1024} KiB`);
  const list = revocationListFrom(jsonOf(new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes)));
  if (!Buffer.from(bytes).equals(revocationBytes(list))) throw invalid('list', 'is not in its canonical form');
  return list;
}

function jsonOf(given: string): unknown {
  try {
    return JSON.parse(given);
  } catch {
    throw invalid('list', 'is not JSON');
  }
}

/** @throws REVOCATION_LIST_INVALID, naming the first field that is not valid */
export function revocationListFrom(value: unknown): RevocationList {
  const list = recordOf(value, 'list', ['entries', 'format', 'made', 'madeBy', 'previous', 'trustDomain', 'version']);
  const trustDomain = text(list['trustDomain'], 'trustDomain', (name) => /^[a-z0-9.-]{1,255}$/.test(name));
  const read: RevocationList = {
    format: oneOf(list['format'], 'format', [REVOCATION_FORMAT]),
    trustDomain,
    version: integer(list['version'], 'version'),
    previous: text(list['previous'], 'previous', (digest) => digest === '' || isDigest(digest)),
    made: text(list['made'], 'made', isTime),
    madeBy: text(list['madeBy'], 'madeBy', isName),
    entries: listOf(list['entries'], 'entries', { min: 0, max: ENTRIES_MAX }, (one) =>
      revocationFrom(one, trustDomain),
    ),
  };
  if (read.version < 1 || read.version > VERSION_MAX) throw invalid('version', `is not from 1 to ${VERSION_MAX}`);
  if ((read.version === 1) !== (read.previous === ''))
    throw invalid('previous', read.version === 1 ? 'is not empty in version 1' : 'is empty');
  return read;
}

const ENTRY_FIELDS = ['ends', 'issuedBefore', 'kind', 'name', 'reason', 'since', 'subject'] as const;

function revocationFrom(value: unknown, trustDomain: string): Revocation {
  const entry = recordOf(value, 'entries', ENTRY_FIELDS);
  const kind = oneOf(entry['kind'], 'entries.kind', REVOCATION_KINDS);
  const isSubject = (subject: string): boolean => {
    if (kind === 'certificate') return isDigest(subject);
    if (kind === 'issuer') return issuerKeyFrom(subject) !== undefined;
    return subject === '';
  };
  const isNameOfKind = (name: string): boolean =>
    kind === 'identity'
      ? isIdentityOf(name, trustDomain)
      : name === '' || kind === 'issuer'
        ? name.length <= 300 && !/\p{C}/u.test(name)
        : isIdentityOf(name, trustDomain);
  return {
    kind,
    subject: text(entry['subject'], 'entries.subject', isSubject),
    issuedBefore: text(entry['issuedBefore'], 'entries.issuedBefore', (time) =>
      kind === 'identity' ? isTime(time) : time === '',
    ),
    name: text(entry['name'], 'entries.name', isNameOfKind),
    reason: text(entry['reason'], 'entries.reason', isReason),
    since: text(entry['since'], 'entries.since', isTime),
    ends: text(entry['ends'], 'entries.ends', isTime),
  };
}

const isDigest = (text: string): boolean => /^[0-9a-f]{64}$/.test(text);

/** Without a role: a person who lost a key has lost it for every role. */
function isIdentityOf(uri: string, trustDomain: string): boolean {
  const identity = parseIdentity(uri);
  return identity !== undefined && identity.role === undefined && identity.trustDomain === trustDomain;
}

/** The public key of an issuer, from base64 of its SubjectPublicKeyInfo. */
export function issuerKeyFrom(subject: string): KeyObject | undefined {
  try {
    const der = Buffer.from(subject, 'base64');
    if (subject.length > 2_000 || der.toString('base64') !== subject) return undefined;
    return createPublicKey({ key: der, format: 'der', type: 'spki' });
  } catch {
    return undefined;
  }
}

/**
 * Judges a list by the rules of this process. A signature counts once for each operator and each key.
 * @throws REVOCATION_LIST_INVALID, REVOCATION_LIST_UNSIGNED
 */
export function verifyRevocations(
  { list: bytes, signatures }: SignedRevocations,
  { required, operators }: RevocationRules,
): { list: RevocationList; digest: string; signedBy: readonly string[] } {
  if (signatures.length > SIGNATURES_MAX) throw invalid('signatures', `are more than ${SIGNATURES_MAX}`);
  const list = parseRevocations(bytes);
  const digest = revocationDigest(bytes);
  const { signers, wrong } = signersOf({ bytes: signedRevocationBytes(bytes), signatures }, operators);
  const counted = [...signers].filter((name) => name !== list.madeBy).sort();
  if (signers.has(list.madeBy) && counted.length >= required) return { list, digest, signedBy: [...signers].sort() };
  const details = { digest, version: list.version };
  if (wrong !== undefined)
    throw new AntipodeError('REVOCATION_LIST_INVALID', `the signature of operator ${wrong} does not fit the list`, {
      details: { ...details, operator: wrong },
    });
  const why = signers.has(list.madeBy)
    ? `is signed by ${counted.length} operators who count here, expected ${required} besides ${list.madeBy}, who made it`
    : `was made by operator ${list.madeBy}, whose signature is missing or does not count here`;
  throw new AntipodeError('REVOCATION_LIST_UNSIGNED', `version ${list.version} of the list ${why}`, { details });
}

/** The file that operators pass on, laid out as that of an approval. */
export function revocationFileText({ list, signatures }: SignedRevocations): string {
  const request = JSON.parse(Buffer.from(list).toString()) as unknown;
  const lines = signatures.map(({ operator, signature }) => ({
    operator,
    signature: Buffer.from(signature).toString('base64'),
  }));
  return `${JSON.stringify({ request, signatures: lines }, null, 2)}\n`;
}

/** @throws REVOCATION_LIST_INVALID */
export function revocationsFromFileText(given: string): SignedRevocations & { readonly parsed: RevocationList } {
  const { request, signatures } = recordOf(jsonOf(given), 'file', ['request', 'signatures']);
  const parsed = revocationListFrom(request);
  return {
    parsed,
    list: revocationBytes(parsed),
    signatures: listOf(signatures, 'signatures', { min: 0, max: SIGNATURES_MAX }, (one) => {
      const { operator, signature } = recordOf(one, 'signatures', ['operator', 'signature']);
      return {
        operator: text(operator, 'signatures.operator', isName),
        signature: new Uint8Array(
          Buffer.from(
            text(signature, 'signatures.signature', (it) => it !== ''),
            'base64',
          ),
        ),
      };
    }),
  };
}

/** Whether a file of operators holds a list, and not an approval. */
export function isRevocationFile(given: string): boolean {
  try {
    const { request } = JSON.parse(given) as { request?: { format?: unknown } };
    return request?.format === REVOCATION_FORMAT;
  } catch {
    return false;
  }
}
