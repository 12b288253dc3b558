/**
 * A hook that is a web address: a POST of the message as JSON, signed by the scheme of Standard Webhooks
 * (standardwebhooks.com: `webhook-id`, `webhook-timestamp`, and in `webhook-signature` a Base64 HMAC-SHA256 over
 * `id.timestamp.body`). Status 2xx accepts. 403 and 409 refuse, and the first line of the answer says why. With any other
 * status the hook has not answered. Redirects are not followed, since the message is for that address only.
 *
 * The receiver is a server of somebody else. TLS between sites is pinned for the whole process, and such a server may
 * support neither TLS 1.3 nor the post-quantum key agreement. So these calls have TLS options of their own.
 */
import { createHmac } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { ConnectionOptions } from 'node:tls';
import { type Clock, type Secret, within } from '@antipode/runtime';
import { EXTERNAL_TLS } from '../external-url.ts';
import { firstLine } from './executable-hook.ts';
import { type Answer, bodyOf, type Caller, type Hook, type HookMessage, hookFailed, messageId } from './hook.ts';

const REASON_BYTES_MAX = 1_024;
/** The status is the answer. A receiver that holds its body back would otherwise get the message again for ever. */
const REASON_MS_MAX = 1_000;
const REFUSALS: readonly number[] = [403, 409];

export interface WebHookOptions {
  readonly name: string;
  readonly url: string;
  /** The key of the signature. */
  readonly secret: Secret;
  readonly timeoutMs: number;
  readonly caller?: Caller;
}

/** `tls` adds to the options of these connections, such as an authority of one's own in a test. */
export function webHook(
  { name, url, secret, timeoutMs, caller }: WebHookOptions,
  { clock, tls = {} }: { clock: Clock; tls?: ConnectionOptions },
): Hook {
  return {
    name,
    call: (message) =>
      callUrl(
        { name, url, shownUrl: url, method: 'POST', timeoutMs, caller },
        { clock, tls, request: () => signedRequest(message, { secret, clock }) },
      ),
  };
}

export interface Address {
  readonly name: string;
  readonly url: string;
  /** The part of the address that messages and logs may name: the rest can be a secret. */
  readonly shownUrl: string;
  readonly method: 'GET' | 'POST';
  readonly timeoutMs: number;
  readonly caller?: Caller | undefined;
}

/** @throws HOOK_FAILED, NOTICE_UNDELIVERED */
export async function callUrl(
  address: Address,
  { clock, tls = {}, request }: { clock: Clock; tls?: ConnectionOptions; request: () => Request },
): Promise<Answer> {
  const { name, shownUrl, timeoutMs, caller = 'hook' } = address;
  try {
    return await within({ clock, timeoutMs, what: `${caller} ${name}` }, (signal) =>
      send(address, request(), { clock, signal, tls: { ...EXTERNAL_TLS, ...tls } }),
    );
  } catch (thrown) {
    throw thrown instanceof Error && 'code' in thrown && thrown.code === 'TIMED_OUT'
      ? hookFailed(name, `${shownUrl} did not answer within ${timeoutMs} ms`, caller)
      : thrown;
  }
}

export interface Request {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export function signedRequest(
  message: HookMessage,
  { secret, clock }: { secret: Secret; clock: Pick<Clock, 'wallMs'> },
): Request {
  const body = bodyOf(message);
  const id = messageId(message);
  const timestamp = Math.floor(clock.wallMs() / 1_000);
  const tag = secret.expose((key) => createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64'));
  return {
    headers: {
      'content-type': 'application/json',
      'webhook-id': id,
      'webhook-timestamp': String(timestamp),
      'webhook-signature': `v1,${tag}`,
    },
    body,
  };
}

async function send(
  { name, url, shownUrl, method, caller }: Address,
  { headers, body }: Request,
  { clock, signal, tls }: { clock: Clock; signal: AbortSignal; tls: ConnectionOptions },
): Promise<Answer> {
  let response: IncomingMessage;
  try {
    response = await new Promise<IncomingMessage>((resolve, reject) => {
      const request = callerOf(url)(url, { method, headers, signal, ...tls }, resolve);
      request.once('error', reject);
      request.end(body);
    });
  } catch (thrown) {
    throw hookFailed(name, `${shownUrl} cannot be reached (${reasonOf(thrown)})`, caller);
  }
  const { statusCode: status = 0 } = response;
  const reason = await firstBytes(response, clock);
  if (status >= 200 && status < 300) return { isAccepted: true, reason };
  if (REFUSALS.includes(status)) return { isAccepted: false, reason };
  throw hookFailed(name, `${shownUrl} answered with status ${status}${reason && `, ${reason}`}`, caller);
}

/** `http` is for this machine only (config.ts). An import of it loads more than is used: see health.ts. */
const callerOf = (url: string): typeof httpsRequest =>
  url.startsWith('https:') ? httpsRequest : process.getBuiltinModule('node:http').request;

/** The first line of the answer, however long the answer is, as far as it comes in time. */
async function firstBytes(response: IncomingMessage, clock: Clock): Promise<string> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  const heard = new AbortController();
  void clock.sleep(REASON_MS_MAX, heard.signal).then(() => heard.signal.aborted || response.destroy());
  try {
    for await (const part of response) {
      parts.push(part);
      bytes += part.length;
      if (bytes >= REASON_BYTES_MAX) break;
    }
  } catch {
    // The status is the answer.
  } finally {
    heard.abort();
  }
  return firstLine(Buffer.concat(parts).subarray(0, REASON_BYTES_MAX));
}

const reasonOf = (thrown: unknown): string => {
  const { message, code } = thrown as NodeJS.ErrnoException;
  return code ?? message;
};
