/** Folders of the Debian package, and how commands are typed at a machine that has it. */
import { existsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { AntipodeError } from '@antipode/runtime';

/** Each is owned by the user of its service. */
export const PACKAGED = { site: '/var/lib/antipode/site', witness: '/var/lib/antipode/witness' } as const;

/** Runs a command as the agent, with its folder and its PINs. */
const AT_SITE = '/usr/bin/antipode-site';

/** The command by which this site is reached from its own shell, such as `antipode-site`. */
export const commandAt = (config: string): string =>
  dirname(resolve(config)) === PACKAGED.site ? 'antipode-site' : 'antipode';

/** Commands of a site look for `agent.yaml` where they run, and with the package that is never the folder of a shell. */
export function withHintOfPackage(error: AntipodeError, { exists = existsSync }: { exists?: typeof existsSync } = {}) {
  const isMissing = error.code === 'CONFIG_INVALID' && (error.cause as NodeJS.ErrnoException)?.code === 'ENOENT';
  if (!isMissing || error.details['path'] !== 'agent.yaml' || !exists(AT_SITE)) return error;
  const { message, details, cause } = error;
  return new AntipodeError('CONFIG_INVALID', message.replace(/^\[CONFIG_INVALID\] /, ''), {
    details,
    cause,
    hint: 'Run the same command with `antipode-site` in place of `antipode`: it runs as the agent, in its folder.',
  });
}
