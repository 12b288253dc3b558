/** The hooks of a configuration. Their secrets are read once, so that a file that is missing shows at the start. */
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import { AntipodeError, type Clock, Secret } from '@antipode/runtime';
import type { HooksConfig } from '../config.ts';
import { executableHook } from './executable-hook.ts';
import type { Hook, Veto } from './hook.ts';
import { webHook } from './web-hook.ts';

/** Standard Webhooks: such a secret is Base64 behind its prefix. Any other counts byte by byte. */
const BASE64_PREFIX = 'whsec_';
const SECRET_BYTES_MIN = 24;

/** @throws CONFIG_INVALID */
export function openHooks(
  { roleChange, veto }: HooksConfig,
  ports: { clock: Clock },
): { roleChange: readonly Hook[]; veto: readonly Veto[] } {
  const open = (one: HooksConfig['roleChange'][number]): Hook => {
    const { name, timeoutSeconds } = one;
    const timeoutMs = timeoutSeconds * 1_000;
    return 'url' in one
      ? webHook({ name, url: one.url, secret: readSecret(one.secretFile), timeoutMs }, ports)
      : executableHook({ name, command: one.command, timeoutMs }, ports);
  };
  return {
    roleChange: roleChange.map(open),
    veto: veto.map((one) => ({ hook: open(one), ifUnanswered: one.ifUnanswered })),
  };
}

/**
 * The first line of a file that only this user can read.
 * @throws CONFIG_INVALID
 */
export function readSecret(
  path: string,
  { of = 'hook', bytesMin = SECRET_BYTES_MIN }: { of?: string; bytesMin?: number } = {},
): Secret {
  const refuse = (why: string, cause?: unknown): never => {
    throw new AntipodeError('CONFIG_INVALID', `the secret of a ${of}, ${path}, ${why}`, {
      details: { path },
      cause,
      hint: 'Write the secret into the file as its only line, and give it to the user of the coordinator with mode 0600. `openssl rand -base64 32` makes one.',
    });
  };
  let descriptor: number;
  try {
    // A pipe would block the start for ever.
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (cause) {
    return refuse(`cannot be read (${(cause as NodeJS.ErrnoException).code})`, cause);
  }
  try {
    const stat = fstatSync(descriptor);
    if (!stat.isFile()) refuse('is not a regular file');
    if ((stat.mode & 0o077) !== 0) refuse(`has mode ${(stat.mode & 0o777).toString(8)}, expected 600 or 400`);
    const line = readFileSync(descriptor, 'latin1').split(/\r?\n/, 1)[0]!;
    const bytes = line.startsWith(BASE64_PREFIX)
      ? Buffer.from(line.slice(BASE64_PREFIX.length), 'base64')
      : Buffer.from(line, 'latin1');
    if (bytes.length < bytesMin) refuse(`has ${bytes.length} bytes, expected at least ${bytesMin} in the first line`);
    return new Secret(bytes);
  } finally {
    closeSync(descriptor);
  }
}
