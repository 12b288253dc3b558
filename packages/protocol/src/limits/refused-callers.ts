/**
 * Logs who was refused in the TLS handshake, and why. The caller sees little more than a reset connection: in TLS 1.3
 * the client has finished before the server looks at its certificate. Without this, no log on either side would mention
 * a certificate.
 *
 * `http2Servers` is not a documented member of a grpc-js server (our version of it is exact). If it went away, callers
 * would still be refused, but without a line in the log, and the integration test would fail.
 */
import type { TLSSocket } from 'node:tls';
import type { Clock, Log } from '@antipode/runtime';
import type { Server } from '@grpc/grpc-js';
import { http2ServersOf } from './connection-limits.ts';

/** Agents try again every second: one line an hour for each address and reason is enough. */
const SAID_AGAIN_MS = 3_600_000;
const SAID_MAX = 1_000;

export function logRefusedCallers(server: Server, { log, clock }: { log: Log; clock: Clock }): void {
  const said = new Map<string, number>();
  for (const one of http2ServersOf(server)) {
    // The address is gone by the time that a refused connection is closed.
    const addresses = new WeakMap<object, string>();
    one.on('connection', (socket) => addresses.set(socket, socket.remoteAddress ?? ''));
    one.on('tlsClientError', (error: NodeJS.ErrnoException, socket: TLSSocket) => {
      const reason = reasonOf(error, socket);
      if (reason === undefined) return;
      const parent: unknown = Reflect.get(socket, '_parent');
      const address =
        (typeof parent === 'object' && parent !== null ? addresses.get(parent) : undefined) ??
        socket.remoteAddress ??
        'unknown';
      const key = `${address} ${reason}`;
      const nowMs = clock.monotonicMs();
      const last = said.get(key);
      if (last !== undefined && nowMs - last < SAID_AGAIN_MS) return;
      if (said.size >= SAID_MAX) said.clear();
      said.set(key, nowMs);
      log.warn('a caller was refused: its certificate or TLS settings do not fit', { address, reason });
    });
  }
}

/** OpenSSL's word for it; undefined for a connection that was only closed. */
function reasonOf({ code }: NodeJS.ErrnoException, { authorizationError }: TLSSocket): string | undefined {
  if (authorizationError) return String(authorizationError);
  return code?.startsWith('ERR_SSL_') ? code : undefined;
}
