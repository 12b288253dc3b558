/** The receivers and heartbeats of a configuration. Their secrets are read once: a missing file shows at the start. */
import type { Clock } from '@antipode/runtime';
import { AntipodeError } from '@antipode/runtime';
import type { NotificationsConfig } from '../config.ts';
import { isPrivateUrl } from '../config.ts';
import { executableHook } from '../hooks/executable-hook.ts';
import type { Hook } from '../hooks/hook.ts';
import { readSecret } from '../hooks/open-hooks.ts';
import { callUrl, webHook } from '../hooks/web-hook.ts';
import type { HeartbeatTarget } from './heartbeat.ts';
import { mailReceiver } from './mail-receiver.ts';
import type { Receiver } from './receivers.ts';

export interface OpenNotifications {
  readonly receivers: readonly Receiver[];
  readonly heartbeats: readonly HeartbeatTarget[];
  /** For all waits. */
  readonly factor: number;
}

/** @throws CONFIG_INVALID */
export function openReceivers(
  { receivers, heartbeats, waitFactor: factor }: NotificationsConfig,
  { id, clock }: { id: string; clock: Clock },
): OpenNotifications {
  return {
    receivers: receivers.map((one) => {
      const { severities, groups, resolved } = one;
      const [way, hook] = openOne(one, clock);
      return { hook, way, severities, groups, resolved };
    }),
    heartbeats: heartbeats.map((one): HeartbeatTarget => {
      const { name, method, everySeconds, timeoutSeconds } = one;
      const url = 'urlFile' in one ? readUrl(one.urlFile) : one.url;
      const address = {
        name,
        url,
        // Such an address is often the only secret of the service.
        shownUrl: new URL(url).origin,
        method,
        timeoutMs: timeoutSeconds * 1_000,
        caller: 'receiver',
      } as const;
      const body = method === 'GET' ? '' : JSON.stringify({ type: 'heartbeat', coordinator: id });
      const headers = method === 'GET' ? {} : { 'content-type': 'application/json' };
      return {
        name,
        everyMs: everySeconds * 1_000,
        beat: () => callUrl(address, { clock, request: () => ({ headers, body }) }),
      };
    }),
    factor,
  };
}

function openOne(one: NotificationsConfig['receivers'][number], clock: Clock): [way: string, hook: Hook] {
  const { name, timeoutSeconds } = one;
  const timeoutMs = timeoutSeconds * 1_000;
  if ('command' in one)
    return ['command', executableHook({ name, command: one.command, timeoutMs, caller: 'receiver' }, { clock })];
  if ('url' in one) {
    const secret = readSecret(one.secretFile, { of: 'receiver' });
    return ['web', webHook({ name, url: one.url, secret, timeoutMs, caller: 'receiver' }, { clock })];
  }
  const { server, from, to, user, passwordFile } = one.mail;
  const password = passwordFile === undefined ? undefined : readSecret(passwordFile, { of: 'mailbox', bytesMin: 1 });
  return ['mail', mailReceiver({ name, server, from, to, user, password, timeoutMs }, { clock })];
}

export function readUrl(path: string): string {
  const url = readSecret(path, { of: 'heartbeat', bytesMin: 1 }).expose((bytes) => bytes.toString('utf8').trim());
  if (URL.canParse(url) && /^https?:/.test(url) && isPrivateUrl(url)) return url;
  throw new AntipodeError(
    'CONFIG_INVALID',
    `${path} does not hold an address, expected https://... (http only to this machine)`,
    { details: { path }, hint: 'Write the address into the file as its only line.' },
  );
}
