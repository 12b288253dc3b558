/** A call under way, as its caller sees it: it ends by itself, by its caller, or because its connection breaks. */
import type { CallOptions } from '@antipode/protocol';
import type { Party } from '@antipode/protocol/testing';
import { AntipodeError, type ErrorCode } from '@antipode/runtime';

/** The reason of every signal here. To make one for each call costs more than the call. */
export const ABORTED = new DOMException('This operation was aborted', 'AbortError');

export interface OpenCall {
  readonly from: string;
  readonly to: string;
  break(why: string, code?: ErrorCode): void;
}

export const addressOf = ({ kind, name }: Party): string => (kind === 'operator' ? `operator ${name}` : name);

/** @param calls where it is kept until it ends */
export function openCall(
  { caller, callee }: { caller: Party; callee: Party },
  options: CallOptions,
  calls: Set<OpenCall>,
) {
  const [from, to] = [addressOf(caller), addressOf(callee)];
  const broken = Promise.withResolvers<never>();
  broken.promise.catch(() => {});
  const stop = new AbortController();
  const abort = (): void => stop.abort(ABORTED);
  options.signal?.addEventListener('abort', abort, { once: true });
  if (options.signal?.aborted === true) abort();
  const call: OpenCall = {
    from,
    to,
    break: (why, code = 'SITE_UNREACHABLE') => {
      if (!calls.delete(call)) return;
      broken.reject(
        new AntipodeError(code, `no answer from ${callee.kind} ${callee.name}: ${why}`, {
          details: { peer: callee.name },
        }),
      );
      stop.abort(ABORTED);
    },
  };
  calls.add(call);
  return {
    call,
    options: { ...options, signal: stop.signal },
    broken: broken.promise,
    /** The work has ended by itself, or by `break`. */
    close: () => {
      calls.delete(call);
      options.signal?.removeEventListener('abort', abort);
    },
    /** Whatever it still does. */
    end: () => stop.abort(ABORTED),
  };
}
