/**
 * Decides who may call which method, when a stream starts and before a byte of its message is read. Also limits what
 * one caller can make this process hold: calls under way, bytes of requests, and the time that a request may take to
 * arrive.
 *
 * A call that has no room for its request yet is not read: HTTP/2 holds the request back at its sender. The number of
 * connections is limited before there is any call (connection-limits.ts).
 *
 * The HTTP/2 server inside grpc-js and the stream of a call are private to grpc-js. The invariants below and the tests
 * fail if a new version removes them.
 */
import type {
  Http2SecureServer,
  Http2Session,
  IncomingHttpHeaders,
  OutgoingHttpHeaders,
  ServerHttp2Stream,
} from 'node:http2';
import type { TLSSocket } from 'node:tls';
import { AntipodeError, type Clock, invariant, type Log } from '@antipode/runtime';
import type { DescService } from '@bufbuild/protobuf';
import { ServerInterceptingCall, type ServerInterceptor, status } from '@grpc/grpc-js';
import { asCallId, CALL_ID, type CallLines } from '../call-id.ts';
import { authorise, type Identity, identityFromNames, identityUri } from '../certificates/identity.ts';
import { methodName } from '../service-definition.ts';
import { toStatus } from '../status.ts';
import { ByteBudget, type Holding } from './byte-budget.ts';
import { requestBytesMax } from './message-limits.ts';

export interface CallLimits {
  /** Of one caller, over all of its connections. A coordinator waits for one order of each kind and group at an agent. */
  readonly callsPerPeerMax: number;
  /** A connection whose calls are refused again and again is ended. */
  readonly refusalsPerConnectionMax: number;
  /** Of requests that have arrived, or may be read now, while their calls last. */
  readonly requestBytesPerPeerMax: number;
  readonly requestBytesTotalMax: number;
  /** From the start of a stream until its request is here: 1 MiB over a thin and long link. */
  readonly requestMsMax: number;
}

export const CALL_LIMITS: CallLimits = {
  callsPerPeerMax: 256,
  refusalsPerConnectionMax: 50,
  requestBytesPerPeerMax: 4 * 1024 * 1024,
  requestBytesTotalMax: 16 * 1024 * 1024,
  requestMsMax: 20_000,
};

/** A flood of refusals is one line. */
const REFUSAL_LOG_MS = 60_000;
const REMEMBERED_MAX = 256;

interface Peer {
  readonly name: string;
  readonly budget: ByteBudget;
  calls: number;
}

/** The state of a connection, from its first stream on. */
interface Connection {
  readonly identity: Identity | undefined;
  readonly name: string;
  /** The certificate of the peer, as Node shows it. */
  readonly shown: Shown;
  /** Why its certificate does not count; undefined where it does. */
  revoked: AntipodeError | undefined;
  refused: number;
  /** Answers by path: a flood of refused calls must cost next to nothing. */
  readonly refusals: Map<string, OutgoingHttpHeaders>;
}

interface Shown {
  readonly raw?: Buffer;
  readonly subjectaltname?: string;
}

/** Whether a certificate is revoked, and when that may have changed. */
export interface Revocations {
  readonly revoked: (certificate: Shown) => AntipodeError | undefined;
  readonly onChange: (listener: () => void) => () => void;
}

type StreamListener = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, ...rest: unknown[]) => void;

interface CallAdmissionOptions {
  readonly trustDomain: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly lines: CallLines;
  /** Absent where no list is known. */
  readonly revocations?: Revocations | undefined;
}

export class CallAdmission {
  readonly #options: CallAdmissionOptions;
  readonly #limits: CallLimits;
  readonly #methods = new Map<string, string>();
  readonly #peers = new Map<string, Peer>();
  readonly #connections = new Map<Http2Session, Connection>();
  readonly #admitted = new WeakMap<ServerHttp2Stream, Peer>();
  readonly #total: ByteBudget;
  readonly #toldMs = new Map<string, number>();

  /** Calls that were refused since the certificate of their caller is revoked. */
  revokedCalls = 0;
  readonly #unheard: () => void;

  constructor(options: CallAdmissionOptions & { limits: CallLimits }) {
    this.#options = options;
    this.#unheard = options.revocations?.onChange(() => this.#cutRevoked()) ?? (() => {});
    this.#limits = options.limits;
    this.#total = new ByteBudget(options.limits.requestBytesTotalMax);
  }

  serve(service: DescService): void {
    for (const method of service.methods) this.#methods.set(`/${service.typeName}/${method.name}`, methodName(method));
  }

  /** Stands before grpc-js, which makes a dozen objects of a stream before anybody could refuse it. */
  standBefore(server: Http2SecureServer): void {
    const listeners = server.listeners('stream') as StreamListener[];
    invariant(listeners.length > 0, 'grpc-js does not listen for streams in the known place');
    server.removeAllListeners('stream');
    const admit: StreamListener = (stream, headers, ...rest) => {
      if (!this.#admits(stream, headers)) return;
      for (const listener of listeners) listener.call(server, stream, headers, ...rest);
    };
    server.on('stream', admit);
  }

  /** Holds back the request of an admitted call until there is room for it, and ends it when it takes too long to arrive. */
  readonly intercept: ServerInterceptor = ({ path }, call) => {
    const method = this.#methods.get(path) ?? path;
    const { stream } = call as { readonly stream?: ServerHttp2Stream };
    const peer = stream && this.#admitted.get(stream);
    invariant(stream !== undefined && peer !== undefined, 'grpc-js serves a stream that was not admitted');
    const { requestMsMax } = this.#limits;
    const over = new AbortController();
    let [place, bytes]: (Holding | undefined)[] = [];
    stream.once('close', () => {
      over.abort();
      bytes?.end();
      place?.end();
      this.#forgetIdle(peer);
    });
    const giveUp = async (): Promise<void> => {
      await this.#options.clock.sleep(requestMsMax, over.signal);
      if (over.signal.aborted) return;
      const why = `the request did not arrive within ${requestMsMax} ms`;
      call.sendStatus(toStatus(new AntipodeError('PEER_BUSY', why, { details: { method } })));
      stream.close();
    };
    return new ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMetadata: (metadata, pass) => {
            void giveUp();
            const wanted = requestBytesMax(method);
            place = peer.budget.take(wanted, () => {
              bytes = this.#total.take(wanted, () => pass(metadata));
            });
          },
          onReceiveMessage: (message: Uint8Array, pass) => {
            over.abort();
            bytes?.shrink(message.length);
            place?.shrink(message.length);
            pass(message);
          },
          onReceiveHalfClose: (pass) => pass(),
          onCancel: () => {},
        }),
    });
  };

  #admits(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): boolean {
    const { session } = stream;
    const path = String(headers[':path']);
    if (session === undefined) return false;
    const connection = this.#connectionOf(session);
    if (connection.revoked !== undefined) return this.#refuseRevoked(stream, connection, headers);
    const refusal = connection.refusals.get(path) ?? this.#refusal(connection, path);
    if (refusal === undefined) {
      const peer = this.#peerOf(connection.name);
      peer.calls += 1;
      this.#admitted.set(stream, peer);
      stream.once('close', () => {
        peer.calls -= 1;
        this.#forgetIdle(peer);
      });
      return true;
    }
    stream.on('error', () => {});
    stream.respond({ ...refusal, ...this.#logged(connection, headers, refusal) }, { endStream: true });
    // The other direction too: a refused caller could go on sending, to be read and thrown away.
    stream.close();
    connection.refused += 1;
    if (connection.refused > this.#limits.refusalsPerConnectionMax) session.destroy();
    return false;
  }

  /** The caller hears why. Its next call makes another connection, with another certificate where it has one by then. */
  #refuseRevoked(stream: ServerHttp2Stream, connection: Connection, headers: IncomingHttpHeaders): false {
    const { name, revoked } = connection;
    const error = revoked!;
    this.revokedCalls += 1;
    this.#tell(`${error.code} ${name}`, error);
    const { metadata, ...outcome } = toStatus(error);
    stream.on('error', () => {});
    const refusal = answer({ ...outcome, headers: metadata.toHttp2Headers() });
    stream.respond({ ...refusal, ...this.#logged(connection, headers, refusal) }, { endStream: true });
    stream.close();
    stream.session?.close();
    return false;
  }

  /** Logs a refusal by the id of its call, beside the line that a flood of them shares. Returns what tells the caller. */
  #logged({ name }: Connection, headers: IncomingHttpHeaders, refusal: OutgoingHttpHeaders): OutgoingHttpHeaders {
    const id = asCallId(headers[CALL_ID]);
    if (id === undefined) return {};
    const path = String(headers[':path']);
    const fields = { method: this.#methods.get(path) ?? 'unknown', reason: decodeURI(String(refusal['grpc-message'])) };
    return this.#options.lines.write({ id, peer: name }, 'call refused', fields) === undefined ? {} : { [CALL_ID]: id };
  }

  /** A list has changed: the calls and streams of those who are revoked by it end here and now. */
  #cutRevoked(): void {
    for (const [session, connection] of this.#connections) {
      connection.revoked = this.#options.revocations?.revoked(connection.shown);
      if (connection.revoked === undefined) continue;
      this.#options.log.warn('a connection was cut: the certificate of the peer is revoked', {
        peer: connection.name,
        error: connection.revoked,
      });
      session.destroy();
    }
  }

  /** Hears of no list any more. */
  close(): void {
    this.#unheard();
  }

  /** The answer to a call that is not admitted. */
  #refusal(connection: Connection, path: string): OutgoingHttpHeaders | undefined {
    const method = this.#methods.get(path);
    const calls = this.#peers.get(connection.name)?.calls ?? 0;
    try {
      if (method === undefined)
        return remembered(connection, path, answer({ code: status.UNIMPLEMENTED, details: '' }));
      authorise(connection.identity, { method, trustDomain: this.#options.trustDomain });
      if (calls < this.#limits.callsPerPeerMax) return undefined;
      throw new AntipodeError('PEER_BUSY', `${connection.name} has ${calls} calls already under way here`, {
        details: { method, calls },
      });
    } catch (thrown) {
      const error = AntipodeError.from(thrown);
      this.#tell(`${error.code} ${connection.name} ${path}`, error);
      const { metadata, ...outcome } = toStatus(error);
      const refusal = answer({ ...outcome, headers: metadata.toHttp2Headers() });
      // Busy passes. A refusal of a certificate stays for the life of its connection.
      return error.code === 'PEER_BUSY' ? refusal : remembered(connection, path, refusal);
    }
  }

  #connectionOf(session: Http2Session): Connection {
    const known = this.#connections.get(session);
    if (known !== undefined) return known;
    const shown: Shown = (session.socket as TLSSocket).getPeerCertificate();
    const identity = identityFromNames(shown.subjectaltname);
    const name = identity === undefined ? 'a certificate without an identity' : identityUri(identity);
    const revoked = this.#options.revocations?.revoked(shown);
    const connection = { identity, name, shown, revoked, refused: 0, refusals: new Map() };
    this.#connections.set(session, connection);
    session.once('close', () => this.#connections.delete(session));
    return connection;
  }

  #peerOf(name: string): Peer {
    const known = this.#peers.get(name);
    if (known !== undefined) return known;
    const peer = { name, budget: new ByteBudget(this.#limits.requestBytesPerPeerMax), calls: 0 };
    this.#peers.set(name, peer);
    return peer;
  }

  #forgetIdle({ name, calls, budget }: Peer): void {
    if (calls === 0 && budget.isIdle) this.#peers.delete(name);
  }

  #tell(what: string, error: AntipodeError): void {
    const { clock, log } = this.#options;
    const nowMs = clock.monotonicMs();
    if (nowMs - (this.#toldMs.get(what) ?? Number.NEGATIVE_INFINITY) < REFUSAL_LOG_MS) return;
    if (this.#toldMs.size >= REMEMBERED_MAX) this.#toldMs.clear();
    this.#toldMs.set(what, nowMs);
    log.warn('call refused', { error });
  }
}

/** An answer of headers alone, as gRPC calls it: trailers only. */
function answer(outcome: { code: status; details: string; headers?: OutgoingHttpHeaders }): OutgoingHttpHeaders {
  return {
    ':status': 200,
    'content-type': 'application/grpc+proto',
    'grpc-status': outcome.code,
    'grpc-message': encodeURI(outcome.details),
    ...outcome.headers,
  };
}

function remembered({ refusals }: Connection, path: string, refusal: OutgoingHttpHeaders): OutgoingHttpHeaders {
  if (refusals.size < REMEMBERED_MAX) refusals.set(path, refusal);
  return refusal;
}
