/** For the doctor: the hooks of a configuration, as far as they can be checked without a call. */
import { accessSync, constants } from 'node:fs';
import { AntipodeError, systemClock } from '@antipode/runtime';
import type { HooksConfig } from '../config.ts';
import { openHooks } from './open-hooks.ts';

/** @returns their names. @throws CONFIG_INVALID, HOOK_FAILED */
export function checkHooks(config: HooksConfig): string {
  openHooks(config, { clock: systemClock });
  const hooks = [...config.roleChange, ...config.veto];
  for (const hook of hooks) {
    if (!('command' in hook)) continue;
    try {
      accessSync(hook.command[0], constants.X_OK);
    } catch (cause) {
      throw new AntipodeError('HOOK_FAILED', `hook ${hook.name}: this user cannot run ${hook.command[0]}`, { cause });
    }
  }
  return hooks.map(({ name }) => name).join(', ');
}
