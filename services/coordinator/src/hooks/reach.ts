/** Whether somebody answers at the address of a receiver, for the doctor. */
import { connect as connectPlainly, isIP } from 'node:net';
import { type ConnectionOptions, connect as connectOverTls } from 'node:tls';
import { systemClock, within } from '@antipode/runtime';

/** A receiver on another continent answers sooner, and so does one that is busy. */
const CONNECT_MS = 5_000;

const PORTS: Readonly<Record<string, number>> = { 'https:': 443, 'smtps:': 465, 'smtp:': 587 };

/**
 * Connects, and checks the certificate where the connection begins with TLS. Nothing is sent. @throws the error of the
 * socket, TIMED_OUT
 */
export function reach({ protocol, hostname, port }: URL, tls: ConnectionOptions): Promise<void> {
  const isSecure = protocol === 'https:' || protocol === 'smtps:';
  const host = hostname.replace(/^\[|\]$/g, '');
  const at = { host, port: port === '' ? (PORTS[protocol] ?? 80) : Number(port) };
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
