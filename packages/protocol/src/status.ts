/**
 * Errors on the wire. Trailing metadata carries the code, message and details of the catalogue, and never the cause.
 * This is one of the three places where errors are translated.
 *
 * A defect stays in the process where it happened. Its caller sees SITE_UNREACHABLE (`peerDefect` in the details) and
 * may repeat the call. A peer's broken invariant must not stop this process, and the peer's supervisor restarts the
 * peer.
 */
import {
  AntipodeError,
  type Disposition,
  type ErrorCode,
  type ErrorDetails,
  hasCode,
  isErrorCode,
} from '@antipode/runtime';
import { Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { asCallId, CALL_ID } from './call-id.ts';

const KEY = 'antipode-error-bin';

/** Metadata is in memory before any check: an error must not grow with its subject. */
const TEXT_LENGTH_MAX = 2_000;
const DETAILS_LENGTH_MAX = 8_000;

const STATUS: Record<Disposition, status> = {
  retry: status.UNAVAILABLE,
  'stand-down': status.ABORTED,
  operator: status.FAILED_PRECONDITION,
  defect: status.INTERNAL,
};

/**
 * The answer of a server instead of a response. A defect is sent without its message, which can contain anything.
 * @param callId by which the server has logged it
 */
export function toStatus(error: AntipodeError, callId?: string): { code: status; details: string; metadata: Metadata } {
  const isDefect = error.disposition === 'defect';
  const message = isDefect
    ? 'a defect; see the log of the peer'
    : error.message.replace(`[${error.code}] `, '').slice(0, TEXT_LENGTH_MAX);
  const metadata = new Metadata();
  metadata.set(
    KEY,
    Buffer.from(
      JSON.stringify({
        code: error.code,
        message,
        details: isDefect ? {} : bounded(error.details),
        ...(error.ownHint === undefined ? {} : { hint: error.ownHint.slice(0, TEXT_LENGTH_MAX) }),
      }),
    ),
  );
  if (callId !== undefined) metadata.set(CALL_ID, callId);
  return { code: STATUS[error.disposition], details: message, metadata };
}

/** A failed call; `connection` is the reason why connecting failed, if it is known. */
export interface FailedCall {
  readonly peer: string;
  readonly connection?: AntipodeError | undefined;
  /** The last known reason of an earlier attempt: it is this one's too where the failed call quotes it. */
  readonly earlier?: AntipodeError | undefined;
  /** The id that the call left with. Undefined for a call without one, and for one that has never left. */
  readonly callId?: string | undefined;
}

/**
 * Whether a call failed before the peer could say anything: no answer, no connection, or one that this side ended since
 * the certificate there, or our own, would not do (`connection` in the details). Never true of what a peer answered.
 */
export function isUnreachable(thrown: unknown): thrown is AntipodeError {
  if (!(thrown instanceof AntipodeError) || 'answeredBy' in thrown.details) return false;
  return thrown.details['connection'] === true || hasCode(thrown, 'SITE_UNREACHABLE', 'TIMED_OUT');
}

/** The meaning of a failed call here. */
export function fromStatus(error: ServiceError, { peer, earlier, callId, ...failed }: FailedCall): AntipodeError {
  const connection = failed.connection ?? (isQuoted(earlier, error) ? earlier : undefined);
  const sent = parse(error.metadata?.get(KEY)[0]);
  // A server that has answered says whether the id is in its log. Where no answer came, the id may be there.
  const isNamed = callId !== undefined && asCallId(error.metadata?.get(CALL_ID)[0]) === callId;
  const isAnswered = sent !== undefined || ANSWERS.has(error.code);
  const named = callId !== undefined && (isNamed || !isAnswered) ? { callId } : {};
  if (sent !== undefined) return fromPeer(sent, { error, peer, named });
  const details = { peer, grpcStatus: status[error.code] ?? String(error.code), ...named };
  switch (error.code) {
    case status.UNAVAILABLE:
      if (connection === undefined) break;
      return new AntipodeError(connection.code, `${peer}: ${connection.message.replace(`[${connection.code}] `, '')}`, {
        details: { ...connection.details, peer, connection: true },
        cause: connection,
      });
    case status.DEADLINE_EXCEEDED:
      return new AntipodeError('TIMED_OUT', `no answer from ${peer} in time`, { details, cause: error });
    case status.UNIMPLEMENTED:
    case status.RESOURCE_EXHAUSTED:
    case status.INVALID_ARGUMENT:
      return new AntipodeError('REQUEST_INVALID', `${peer} does not accept the call: ${error.details}`, {
        details: { ...details, answeredBy: peer },
        cause: error,
      });
  }
  return new AntipodeError('SITE_UNREACHABLE', `no answer from ${peer}: ${error.details}`, { details, cause: error });
}

/** Given by the library of the peer, before a handler or behind one. */
const ANSWERS: ReadonlySet<status> = new Set([
  status.UNIMPLEMENTED,
  status.RESOURCE_EXHAUSTED,
  status.INVALID_ARGUMENT,
]);

/** grpc-js ends a call with the text of the last attempt that failed, although the next one may have begun by then. */
function isQuoted(reason: AntipodeError | undefined, { details }: ServiceError): boolean {
  if (reason === undefined) return false;
  const { message, cause } = reason;
  // An empty text is a part of every other.
  return [message, cause instanceof Error ? cause.message : ''].some((text) => text !== '' && details.includes(text));
}

interface Sent {
  readonly code: string;
  readonly message: string;
  readonly details: ErrorDetails;
  readonly hint?: string;
}

/** The substitute for a code that only a newer peer knows. The disposition must survive; the status carries it. */
const STAND_IN: Partial<Record<status, ErrorCode>> = {
  [status.ABORTED]: 'ROLE_REFUSED',
  [status.FAILED_PRECONDITION]: 'REQUEST_INVALID',
};

function fromPeer(
  { code, message, details, hint }: Sent,
  { error, peer, named }: { error: ServiceError; peer: string; named: { callId?: string } },
): AntipodeError {
  if (code === 'INVARIANT_BROKEN') {
    return new AntipodeError('SITE_UNREACHABLE', `${peer} failed with a defect of its own`, {
      details: { peer, peerDefect: true, ...named },
      cause: error,
    });
  }
  // A connection that failed at the peer is not ours: the peer is here and answers. Neither is the id of another call.
  const { connection: _, callId: __, ...rest } = details;
  const ours = { answeredBy: peer, ...named };
  if (isErrorCode(code)) return new AntipodeError(code, message, { details: { ...rest, ...ours }, hint });
  return new AntipodeError(STAND_IN[error.code] ?? 'SITE_UNREACHABLE', message, {
    details: { ...rest, ...ours, peerCode: code },
    hint,
  });
}

/** Reads what a peer sent; it is of our trust domain, but may be of another version. */
function parse(sent: string | Buffer | undefined): Sent | undefined {
  try {
    const { code, message, details, hint } = JSON.parse(String(sent)) as Record<keyof Sent, unknown>;
    if (typeof code !== 'string' || typeof message !== 'string') return undefined;
    return {
      code: code.slice(0, 64),
      message: oneLine(message),
      details: bounded(details),
      ...(typeof hint === 'string' ? { hint: oneLine(hint) } : {}),
    };
  } catch {
    return undefined;
  }
}

/** A second line of a message would look like words of ours. */
const oneLine = (text: string): string => text.slice(0, TEXT_LENGTH_MAX).replace(/\s*[\n\r]\s*/g, ' ');

/** The details that fit, in their order. A bigint crosses as decimal digits. */
function bounded(details: unknown): ErrorDetails {
  if (typeof details !== 'object' || details === null) return {};
  let room = DETAILS_LENGTH_MAX;
  const kept: [string, string | number | boolean][] = [];
  for (const [name, value] of Object.entries(details) as [string, unknown][]) {
    const plain = typeof value === 'bigint' ? value.toString() : value;
    if (typeof plain !== 'string' && typeof plain !== 'number' && typeof plain !== 'boolean') continue;
    const fitting = typeof plain === 'string' ? plain.slice(0, TEXT_LENGTH_MAX) : plain;
    room -= name.length + String(fitting).length;
    if (room < 0) break;
    kept.push([name, fitting]);
  }
  return Object.fromEntries(kept);
}
