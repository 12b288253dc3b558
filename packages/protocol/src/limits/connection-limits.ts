/**
 * How many connections a server holds, before and after it knows whose they are. A connection that has not ended its TLS
 * handshake has a short life and a small share; one that has counts for its peer.
 *
 * grpc-js has no limit of its own for this. The HTTP/2 server inside it is private, as are the options of its credentials;
 * what is lost if they went away is tried by the tests.
 */
import type { Http2SecureServer, ServerHttp2Session } from 'node:http2';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { type Clock, invariant, type Log } from '@antipode/runtime';
import type { Server, ServerCredentials } from '@grpc/grpc-js';
import { identityFromNames, identityUri } from '../certificates/identity.ts';

export interface ConnectionLimits {
  readonly connectionsMax: number;
  /** Of one certificate's identity: a process needs one for each of its clients, and for a while the one before. */
  readonly connectionsPerPeerMax: number;
  /** Not yet past their handshake. */
  readonly handshakesMax: number;
  readonly handshakesPerAddressMax: number;
  /** Four round trips of the longest link. */
  readonly handshakeMsMax: number;
  /** The streams that a client may have open at once on one connection; more wait on its side. */
  readonly streamsMax: number;
  /** Of all headers of a stream, as HTTP/2 counts them. */
  readonly headerBytesMax: number;
}

export const CONNECTION_LIMITS: ConnectionLimits = {
  connectionsMax: 512,
  connectionsPerPeerMax: 16,
  handshakesMax: 256,
  handshakesPerAddressMax: 64,
  handshakeMsMax: 15_000,
  streamsMax: 128,
  headerBytesMax: 16 * 1024,
};

/** Names and values of one stream's headers; ours have some fifteen, a trace included. */
const HEADER_PAIRS_MAX = 64;
const LOG_MS = 60_000;

/** Gives the HTTP/2 server inside grpc-js the limits that only its constructor takes. */
export function limitHandshakes(credentials: ServerCredentials, limits: ConnectionLimits): ServerCredentials {
  const given = credentials._getConstructorOptions.bind(credentials);
  credentials._getConstructorOptions = () => ({
    ...given(),
    handshakeTimeout: limits.handshakeMsMax,
    maxHeaderListPairs: HEADER_PAIRS_MAX,
    settings: { maxConcurrentStreams: limits.streamsMax, maxHeaderListSize: limits.headerBytesMax },
  });
  return credentials;
}

/** The HTTP/2 servers inside a server that listens. */
export function http2ServersOf(server: Server): Http2SecureServer[] {
  const kept: unknown = Reflect.get(server, 'http2Servers');
  const found = kept instanceof Map ? [...(kept as Map<Http2SecureServer, unknown>).keys()] : [];
  invariant(found.length > 0, 'grpc-js does not keep its HTTP/2 servers in the known place');
  return found;
}

/** Counts connections, and ends those that are too many. */
export function limitConnections(
  servers: readonly Http2SecureServer[],
  options: { clock: Clock; log: Log; limits: ConnectionLimits },
): void {
  const counted = new ConnectionCount(options);
  for (const listening of servers) {
    listening.prependListener('connection', (socket: Socket) => counted.accepted(socket));
    listening.prependListener('secureConnection', (socket: TLSSocket) => counted.secured(socket));
    listening.prependListener('session', (session: ServerHttp2Session) => counted.identified(session));
  }
}

class ConnectionCount {
  readonly #limits: ConnectionLimits;
  readonly #clock: Clock;
  readonly #log: Log;
  #all = 0;
  /** By what a connection is called at both layers; its value is the address that it comes from. */
  readonly #handshakes = new Map<string, string>();
  readonly #byPeer = new Map<string, number>();
  #toldMs = Number.NEGATIVE_INFINITY;

  constructor({ clock, log, limits }: { clock: Clock; log: Log; limits: ConnectionLimits }) {
    this.#clock = clock;
    this.#log = log;
    this.#limits = limits;
  }

  accepted(socket: Socket): void {
    const { connectionsMax, handshakesMax, handshakesPerAddressMax } = this.#limits;
    const [key, address] = [keyOf(socket), socket.remoteAddress ?? ''];
    const ofAddress = [...this.#handshakes.values()].filter((one) => one === address).length;
    if (this.#all >= connectionsMax || this.#handshakes.size >= handshakesMax || ofAddress >= handshakesPerAddressMax) {
      socket.destroy();
      this.#tell({ connections: this.#all, handshakes: this.#handshakes.size });
      return;
    }
    this.#all += 1;
    this.#handshakes.set(key, address);
    socket.once('close', () => {
      this.#all -= 1;
      this.#handshakes.delete(key);
    });
  }

  secured(socket: TLSSocket): void {
    this.#handshakes.delete(keyOf(socket));
  }

  identified(session: ServerHttp2Session): void {
    const identity = identityFromNames((session.socket as TLSSocket).getPeerCertificate().subjectaltname);
    const peer = identity === undefined ? '' : identityUri(identity);
    const count = (this.#byPeer.get(peer) ?? 0) + 1;
    this.#byPeer.set(peer, count);
    session.once('close', () => {
      const left = (this.#byPeer.get(peer) ?? 1) - 1;
      if (left === 0) this.#byPeer.delete(peer);
      else this.#byPeer.set(peer, left);
    });
    if (count <= this.#limits.connectionsPerPeerMax) return;
    session.destroy();
    this.#tell({ peer, connections: count });
  }

  /** A flood is one line. */
  #tell(details: Record<string, string | number>): void {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#toldMs < LOG_MS) return;
    this.#toldMs = nowMs;
    this.#log.warn('connection refused: too many', details);
  }
}

const keyOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress} ${remotePort}`;
