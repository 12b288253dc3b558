/**
 * Why a connection could not be made, in codes instead of prose. grpc-js flattens every failure to connect into one
 * UNAVAILABLE with a sentence; Node knows a code. So the connector inside the credentials is watched on its way through.
 *
 * `_createSecureConnector` is not a documented interface of grpc-js (it is declared; our version of it is exact). If it
 * went away, failures would fall back to SITE_UNREACHABLE and the integration tests would say so; no check would be lost.
 */
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { AntipodeError, type Clock } from '@antipode/runtime';
import type { ChannelCredentials } from '@grpc/grpc-js';

interface Watch {
  readonly report: (failure: AntipodeError | undefined) => void;
  readonly keyExchange: string;
  readonly ownFault: () => AntipodeError | undefined;
  readonly handshakeMs: number;
  readonly clock: Clock;
  /** Receives each connection that was made. */
  readonly opened: (socket: TLSSocket) => void;
}

/** Reports the outcome of each attempt, and refuses a connection with another key agreement than `keyExchange`. */
export function observeConnections(credentials: ChannelCredentials, watch: Watch): void {
  const { report, keyExchange, ownFault } = watch;
  const createConnector = credentials._createSecureConnector.bind(credentials);
  credentials._createSecureConnector = (...given) => {
    const connector = createConnector(...given);
    return {
      getCallCredentials: () => connector.getCallCredentials(),
      destroy: () => connector.destroy(),
      waitForReady: () => {
        // The start of an attempt. The fault of an earlier one is possibly repaired: better to retry than to park.
        report(undefined);
        return connector.waitForReady();
      },
      connect: async (socket) => {
        try {
          const result = await withinLimit(socket, watch, () => connector.connect(socket));
          const secure = result.socket as TLSSocket;
          // In TLS 1.3 the client is done before the server has looked at its certificate: a refusal comes later.
          secure.on('error', (error) => report(connectionFailure(error) ?? ownFault()));
          secure.once('close', (hadError) => !hadError && report(ownFault()));
          requireKeyExchange(secure, keyExchange);
          watch.opened(secure);
          return result;
        } catch (thrown) {
          report(connectionFailure(thrown) ?? ownFault());
          throw thrown;
        }
      },
    };
  };
}

/** Nobody else ends a handshake: a link that swallows its bytes would hold it for as long as TCP holds the connection. */
async function withinLimit<T>(socket: Socket, { handshakeMs, clock }: Watch, handshake: () => Promise<T>): Promise<T> {
  const done = new AbortController();
  void clock.sleep(handshakeMs, done.signal).then(() => {
    if (done.signal.aborted) return;
    const error = new Error(`the TLS handshake did not end within ${Math.round(handshakeMs)} ms`);
    socket.destroy(error);
    hung.reject(error);
  });
  const hung = Promise.withResolvers<never>();
  try {
    return await Promise.race([handshake(), hung.promise]);
  } finally {
    done.abort();
  }
}

/** The peer offers nothing else either; this catches a process that changed the TLS defaults after they were pinned. */
function requireKeyExchange(socket: TLSSocket, keyExchange: string): void {
  const info = socket.getEphemeralKeyInfo();
  const agreed = info !== null && 'name' in info ? String(info.name) : 'none';
  if (agreed === keyExchange) return;
  socket.destroy();
  throw new AntipodeError('PEER_REFUSED', `the key agreement is ${agreed}, expected ${keyExchange}`, {
    details: { agreed, expected: keyExchange },
  });
}

/** OpenSSL's verification errors and TLS alerts about certificates (RFC 8446, section 6.2), by Node's codes for them. */
const ABOUT_CERTIFICATES =
  /^(CERT_|CRL_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERROR_IN_CERT_|INVALID_CA$|INVALID_PURPOSE$|PATH_LENGTH_EXCEEDED$|HOSTNAME_MISMATCH$|ERR_SSL_.*ALERT_(BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_\w+|UNKNOWN_CA)$)/;

/** The failure as one of ours, where Node's code says enough. */
export function connectionFailure(thrown: unknown): AntipodeError | undefined {
  if (thrown instanceof AntipodeError) return thrown;
  if (
    !(thrown instanceof Error) ||
    !('code' in thrown) ||
    typeof thrown.code !== 'string' ||
    !ABOUT_CERTIFICATES.test(thrown.code)
  )
    return undefined;
  const isOurs = thrown.code.startsWith('ERR_SSL_');
  const what = isOurs ? 'the peer refused our certificate' : 'the certificate of the peer was refused';
  return new AntipodeError('CERTIFICATE_INVALID', `${what}: ${thrown.code}`, {
    details: { reason: thrown.code },
    cause: thrown,
  });
}
