/** For the doctor: the receivers and heartbeats of a configuration, as far as they can be checked without a message. */
import { accessSync, constants } from 'node:fs';
import type { ConnectionOptions } from 'node:tls';
import { AntipodeError, systemClock } from '@antipode/runtime';
import type { NotificationsConfig } from '../config.ts';
import { EXTERNAL_TLS } from '../external-url.ts';
import { hookFailed } from '../hooks/hook.ts';
import { reach } from '../hooks/reach.ts';
import { openReceivers, readUrl } from './open-receivers.ts';

/**
 * Reads their secrets, and connects to each address. Checks the certificate where the connection begins with TLS. Nothing
 * is sent there: `antipode notify test` does that.
 * @returns their names. @throws CONFIG_INVALID, NOTICE_UNDELIVERED
 */
export async function checkReceivers(
  config: NotificationsConfig,
  { id, tls = {} }: { id: string; tls?: ConnectionOptions },
): Promise<string> {
  openReceivers(config, { id, clock: systemClock });
  for (const receiver of config.receivers) {
    const { name } = receiver;
    if ('command' in receiver) requireRunnable(name, receiver.command[0]);
    else await connect(name, 'url' in receiver ? receiver.url : receiver.mail.server, tls);
  }
  for (const heartbeat of config.heartbeats)
    await connect(heartbeat.name, 'url' in heartbeat ? heartbeat.url : readUrl(heartbeat.urlFile), tls);
  return [...config.receivers, ...config.heartbeats].map(({ name }) => name).join(', ');
}

function requireRunnable(name: string, program: string): void {
  try {
    accessSync(program, constants.X_OK);
  } catch {
    throw hookFailed(name, `this user cannot run ${program}`, 'receiver');
  }
}

async function connect(name: string, address: string, tls: ConnectionOptions): Promise<void> {
  const url = new URL(address);
  try {
    await reach(url, { ...EXTERNAL_TLS, ...tls });
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException;
    const why = code ?? AntipodeError.from(thrown).message;
    // The path of such an address is often a secret.
    throw hookFailed(name, `cannot connect to ${url.protocol}//${url.host} (${why})`, 'receiver');
  }
}
