/** For the doctor: the hooks of a configuration, as far as they can be checked without a message to anybody. */
import { accessSync, constants } from 'node:fs';
import { connect as connectPlainly, isIP } from 'node:net';
import { type ConnectionOptions, connect as connectOverTls } from 'node:tls';
import { AntipodeError, systemClock, within } from '@antipode/runtime';
import type { HooksConfig } from '../config.ts';
import { EXTERNAL_TLS } from '../external-url.ts';
import { openHooks } from './open-hooks.ts';

/** A receiver on another continent answers sooner, and so does one that is busy. */
const CONNECT_MS = 5_000;

/**
 * Also connects to each web address, and checks its certificate. Nothing is sent there.
 * @returns their names. @throws CONFIG_INVALID, HOOK_FAILED
 */
export async function checkHooks(config: HooksConfig, { tls = {} }: { tls?: ConnectionOptions } = {}): Promise<string> {
  openHooks(config, { clock: systemClock });
  const hooks = [...config.roleChange, ...config.veto];
  for (const hook of hooks) {
    const failed = (what: string, cause: unknown): AntipodeError =>
      new AntipodeError('HOOK_FAILED', `hook ${hook.name}: ${what}`, { details: { hook: hook.name }, cause });
    if ('command' in hook) {
      try {
        accessSync(hook.command[0], constants.X_OK);
      } catch (cause) {
        throw failed(`this user cannot run ${hook.command[0]}`, cause);
      }
      continue;
    }
    try {
      await reach(new URL(hook.url), { ...EXTERNAL_TLS, ...tls });
    } catch (cause) {
      const { code, message } = cause as NodeJS.ErrnoException;
      throw failed(`cannot connect to ${hook.url} (${code ?? message})`, cause);
    }
  }
  return hooks.map(({ name }) => name).join(', ');
}

function reach({ protocol, hostname, port }: URL, tls: ConnectionOptions): Promise<void> {
  const isSecure = protocol === 'https:';
  const host = hostname.replace(/^\[|\]$/g, '');
  const at = { host, port: Number(port) || (isSecure ? 443 : 80) };
  return within({ clock: systemClock, timeoutMs: CONNECT_MS, what: 'the connection' }, (signal) => {
    const socket = isSecure
      ? connectOverTls({ ...tls, ...at, ...(isIP(host) === 0 ? { servername: host } : {}) })
      : connectPlainly(at);
    return new Promise<void>((resolve, reject) => {
      signal.addEventListener('abort', () => socket.destroy());
      socket.once(isSecure ? 'secureConnect' : 'connect', () => resolve());
      socket.once('error', reject);
    }).finally(() => socket.destroy());
  });
}
