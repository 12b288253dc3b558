/**
 * The request that operators sign: one action, at these partitions of one group, in these epochs, with these limits,
 * and once. The signed bytes are JSON in the canonical form of RFC 8785, so people can read the very text that they
 * sign. An agent refuses every other form of the same value. This module knows the form. It does not decide whether an
 * approval covers an order.
 */
import { AntipodeError, canonicalJson, sha256Hex } from '@antipode/runtime';
import { isName, isSerial } from '../convert/names.ts';
import { isReason, isTime, signedFields } from './signed-fields.ts';

export const APPROVAL_FORMAT = 'antipode approval v1';

/**
 * - `enrol`: these partitions may hold the group's domain key, be seated in the group, and be a source of generations.
 * - `release`: the members at these partitions give up their seats.
 * - `failover`: one of these partitions may become active although that loses generations, or may lose some.
 * - `reseat`: these partitions take the seats that an operator's reseat gives them.
 * - `restore`: these objects are put back into this production partition.
 * - `restore-backup`: all of a backup comes back into this production partition. The object names its generation.
 * - `prepare-vault`: this site takes a Backup HSM out of its factory state. The object names the device and its label.
 * - `break-glass`: any of the others, for one operation. It needs more signatures.
 */
export const GUARDED_ACTIONS = [
  'enrol',
  'release',
  'failover',
  'reseat',
  'restore',
  'restore-backup',
  'prepare-vault',
  'break-glass',
] as const;
export type GuardedAction = (typeof GUARDED_ACTIONS)[number];

/** Their `objects` name what is restored or prepared. */
const OF_OBJECTS: ReadonlySet<GuardedAction> = new Set(['restore', 'restore-backup', 'prepare-vault']);

const PARTITION_ROLES = ['member', 'scratch', 'distributor'] as const;

export interface ApprovedPartition {
  readonly site: string;
  readonly serial: string;
  readonly role: (typeof PARTITION_ROLES)[number];
  /** SHA-256 of its identity, hexadecimal. Only for an enrolment; empty otherwise. */
  readonly identity: string;
}

export interface ApprovalRequest {
  readonly format: typeof APPROVAL_FORMAT;
  readonly action: GuardedAction;
  readonly group: string;
  /** The partitions that may act. Several are alternatives for a failover, and one set for an enrolment. */
  readonly partitions: readonly ApprovedPartition[];
  /** The order must have an epoch in this range, both ends included. */
  readonly epochs: { readonly from: number; readonly to: number };
  /** Of a failover; of any other action 0, 0 and nothing. */
  readonly limits: {
    /** Generations that may be lost at most, counted by their numbers. */
    readonly losesAtMost: number;
    /** The new active member holds this generation or a later one. */
    readonly keepsGeneration: number;
    /** Sites that may be silent. Generations that they alone hold may be lost too: nobody can know. */
    readonly withoutHearing: readonly string[];
  };
  /** Hexadecimal: ids of objects for a restore, and one digest for `restore-backup` and `prepare-vault`. */
  readonly objects: readonly string[];
  /** Signatures that the requester asks for. An agent demands its own number if that is larger. */
  readonly required: number;
  /** The operator who asks. This operator signs too, and does not count. */
  readonly requestedBy: string;
  /** For the people who sign. */
  readonly reason: string;
  /** 16 random bytes, hexadecimal: the approval is used once. */
  readonly nonce: string;
  /** ISO 8601 in UTC with milliseconds. */
  readonly notBefore: string;
  readonly expires: string;
}

const PARTITIONS_MAX = 64;
const OBJECTS_MAX = 1_000;
/** A request with every list full. */
export const REQUEST_BYTES_MAX_OF_APPROVAL = 128 * 1024;
/** The largest epoch that a request can name. It stands for no limit. */
export const EPOCH_UNLIMITED = Number.MAX_SAFE_INTEGER;

const { recordOf, listOf, text, integer, oneOf } = signedFields(invalid);

const DOMAIN = Buffer.from('antipode approval v1\0');

/** The canonical text of a request, as bytes. */
export const approvalBytes = (request: ApprovalRequest): Uint8Array =>
  new Uint8Array(Buffer.from(canonicalJson(request)));

/** The signed bytes: the canonical text after a prefix, so that the signature can stand for nothing else. */
export const signedBytesOf = (canonical: Uint8Array): Uint8Array => new Uint8Array(Buffer.concat([DOMAIN, canonical]));

/** Names a request. People compare its first digits. */
export const approvalDigest = (canonical: Uint8Array): string => sha256Hex(signedBytesOf(canonical));

/** Reads the signed bytes. @throws APPROVAL_INVALID unless they are the canonical form of a request */
export function parseApprovalBytes(bytes: Uint8Array): ApprovalRequest {
  if (bytes.length > REQUEST_BYTES_MAX_OF_APPROVAL) throw invalid('request', `has more than 128 KiB`);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    throw invalid('request', 'is not JSON');
  }
  const request = approvalRequestFrom(value);
  if (!Buffer.from(bytes).equals(approvalBytes(request))) throw invalid('request', 'is not in its canonical form');
  return request;
}

/** Checks a value field by field. @throws APPROVAL_INVALID, naming the first field that is not valid */
export function approvalRequestFrom(value: unknown): ApprovalRequest {
  const request = recordOf(value, 'request', FIELDS);
  const action = oneOf(request['action'], 'action', GUARDED_ACTIONS);
  const read: ApprovalRequest = {
    format: oneOf(request['format'], 'format', [APPROVAL_FORMAT]),
    action,
    group: text(request['group'], 'group', isName),
    partitions: listOf(request['partitions'], 'partitions', { min: 1, max: PARTITIONS_MAX }, (one) =>
      partitionFrom(one, action),
    ),
    epochs: epochsFrom(request['epochs']),
    limits: limitsFrom(request['limits']),
    objects: listOf(request['objects'], 'objects', { min: 0, max: OBJECTS_MAX }, (one) =>
      text(one, 'objects', (id) => /^[0-9a-f]{2,64}$/.test(id)),
    ),
    required: integer(request['required'], 'required'),
    requestedBy: text(request['requestedBy'], 'requestedBy', isName),
    reason: text(request['reason'], 'reason', isReason),
    nonce: text(request['nonce'], 'nonce', (nonce) => /^[0-9a-f]{32}$/.test(nonce)),
    notBefore: text(request['notBefore'], 'notBefore', isTime),
    expires: text(request['expires'], 'expires', isTime),
  };
  const { losesAtMost, keepsGeneration, withoutHearing } = read.limits;
  const isLimited = losesAtMost > 0 || keepsGeneration > 0 || withoutHearing.length > 0;
  if (action !== 'failover' && isLimited) throw invalid('limits', 'belongs to a failover only');
  const isOfObjects = OF_OBJECTS.has(action);
  if (!isOfObjects && read.objects.length > 0)
    throw invalid('objects', 'belongs to a restore or to the preparation of a vault only');
  if (isOfObjects && read.objects.length === 0) throw invalid('objects', 'names no object');
  if (isOfObjects && action !== 'restore' && read.objects.length > 1) throw invalid('objects', 'names more than one');
  if (read.required < 1) throw invalid('required', 'must be at least 1');
  if (read.notBefore >= read.expires) throw invalid('expires', 'is not after notBefore');
  return read;
}

const FIELDS = [
  'action',
  'epochs',
  'expires',
  'format',
  'group',
  'limits',
  'nonce',
  'notBefore',
  'objects',
  'partitions',
  'reason',
  'requestedBy',
  'required',
] as const;

function partitionFrom(value: unknown, action: GuardedAction): ApprovedPartition {
  const partition = recordOf(value, 'partitions', ['identity', 'role', 'serial', 'site']);
  const isExpected = (identity: string): boolean =>
    action === 'enrol' ? /^[0-9a-f]{64}$/.test(identity) : identity === '';
  return {
    site: text(partition['site'], 'partitions.site', isName),
    serial: text(partition['serial'], 'partitions.serial', isSerial),
    role: oneOf(partition['role'], 'partitions.role', PARTITION_ROLES),
    identity: text(partition['identity'], 'partitions.identity', isExpected),
  };
}

function epochsFrom(value: unknown): ApprovalRequest['epochs'] {
  const epochs = recordOf(value, 'epochs', ['from', 'to']);
  const [from, to] = [integer(epochs['from'], 'epochs.from'), integer(epochs['to'], 'epochs.to')];
  if (from > to) throw invalid('epochs', 'ends before it begins');
  return { from, to };
}

function limitsFrom(value: unknown): ApprovalRequest['limits'] {
  const limits = recordOf(value, 'limits', ['keepsGeneration', 'losesAtMost', 'withoutHearing']);
  return {
    losesAtMost: integer(limits['losesAtMost'], 'limits.losesAtMost'),
    keepsGeneration: integer(limits['keepsGeneration'], 'limits.keepsGeneration'),
    withoutHearing: listOf(limits['withoutHearing'], 'limits.withoutHearing', { min: 0, max: PARTITIONS_MAX }, (one) =>
      text(one, 'limits.withoutHearing', isName),
    ),
  };
}

export function invalid(field: string, why: string): AntipodeError {
  return new AntipodeError('APPROVAL_INVALID', `the approval is not valid: ${field} ${why}`, { details: { field } });
}
