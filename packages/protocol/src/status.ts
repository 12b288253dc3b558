/**
 * Errors on the wire: the code, message and details of the catalogue in trailing metadata, never the cause. One of the
 * three places where errors are translated.
 */
import { AntipodeError, type Disposition, type ErrorCode, type ErrorDetails, isErrorCode } from '@antipode/runtime';
import { Metadata, type ServiceError, status } from '@grpc/grpc-js';

const KEY = 'antipode-error-bin';
const MESSAGE_MAX = 2_000;

const STATUS: Record<Disposition, status> = {
  retry: status.UNAVAILABLE,
  'stand-down': status.ABORTED,
  operator: status.FAILED_PRECONDITION,
  defect: status.INTERNAL,
};

export function toStatus(error: AntipodeError): { code: status; details: string; metadata: Metadata } {
  const metadata = new Metadata();
  const details = Object.fromEntries(Object.entries(error.details).map(([name, value]) => [name, typeof value === 'bigint' ? value.toString() : value]));
  const isDefect = error.disposition === 'defect';
  const message = isDefect ? 'a defect; see the log of the peer' : error.message.replace(`[${error.code}] `, '').slice(0, MESSAGE_MAX);
  metadata.set(KEY, Buffer.from(JSON.stringify({ code: error.code, message, details: isDefect ? {} : details })));
  return { code: STATUS[error.disposition], details: message, metadata };
}

/** What a failed call means here. A peer's defect is not ours: the call may be repeated, its log tells the rest. */
export function fromStatus(error: ServiceError, peer: string): AntipodeError {
  const details = { peer, grpcStatus: status[error.code] ?? String(error.code) };
  const [sent] = error.metadata?.get(KEY) ?? [];
  if (sent !== undefined) {
    const parsed = parse(sent);
    if (parsed !== undefined && parsed.code !== 'INVARIANT_BROKEN') return new AntipodeError(parsed.code, parsed.message, { details: { ...parsed.details, peer } });
    return new AntipodeError('SITE_UNREACHABLE', `${peer} failed with a defect of its own`, { details, cause: error });
  }
  switch (error.code) {
    case status.DEADLINE_EXCEEDED:
      return new AntipodeError('TIMED_OUT', `no answer from ${peer} in time`, { details, cause: error });
    case status.UNIMPLEMENTED:
    case status.RESOURCE_EXHAUSTED:
    case status.INVALID_ARGUMENT:
      return new AntipodeError('REQUEST_INVALID', `${peer} does not accept the call: ${error.details}`, { details, cause: error });
    default:
      return new AntipodeError('SITE_UNREACHABLE', `${peer} cannot be reached: ${error.details}`, { details, cause: error });
  }
}

function parse(sent: string | Buffer): { code: ErrorCode; message: string; details: ErrorDetails } | undefined {
  try {
    const { code, message, details } = JSON.parse(sent.toString()) as { code: unknown; message: unknown; details: unknown };
    if (typeof code !== 'string' || !isErrorCode(code) || typeof message !== 'string') return undefined;
    return { code, message: message.slice(0, MESSAGE_MAX), details: typeof details === 'object' && details !== null ? (details as ErrorDetails) : {} };
  } catch {
    return undefined;
  }
}
