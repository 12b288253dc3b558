/** For the doctor: the hooks of a configuration, as far as they can be checked without a message to anybody. */
import { accessSync, constants } from 'node:fs';
import type { ConnectionOptions } from 'node:tls';
import { AntipodeError, systemClock } from '@antipode/runtime';
import type { HooksConfig } from '../config.ts';
import { EXTERNAL_TLS } from '../external-url.ts';
import { openHooks } from './open-hooks.ts';
import { reach } from './reach.ts';

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
