/**
 * The client side of every service: one connection to one expected peer, promises and async iterables, errors of ours.
 * Never repeats a call that may have reached the peer: that is the runner's decision.
 */
import { AntipodeError, type Clock, currentTrace, inSpan, systemClock } from '@antipode/runtime';
import {
  create,
  type DescMessage,
  type DescMethod,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  type DescService,
  type Message,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf';
import {
  type ClientReadableStream,
  connectivityState,
  Client as GrpcClient,
  Metadata,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import { context, SpanStatusCode, trace } from '@opentelemetry/api';
import { CALL_ID, newCallId } from './call-id.ts';
import { type ExpectedPeer, Tls, type TlsFiles } from './certificates/tls.ts';
import { type LinkLimits, linkLimits, ROUND_TRIP_MS_MAX } from './limits/link-limits.ts';
import { RESPONSE_BYTES_MAX } from './limits/message-limits.ts';
import { decodeResponse, isServerStream, methodName, serviceDefinition } from './service-definition.ts';
import { fromStatus, isUnreachable } from './status.ts';

export interface CallOptions {
  /** Cancels the call; it then throws SITE_UNREACHABLE, since its outcome is unknown. */
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
}

type Call<Method> =
  Method extends DescMethodUnary<infer Input, infer Output>
    ? (request: MessageInitShape<Input>, options?: CallOptions) => Promise<MessageShape<Output>>
    : Method extends DescMethodServerStreaming<infer Input, infer Output>
      ? (request: MessageInitShape<Input>, options?: CallOptions) => AsyncIterable<MessageShape<Output>>
      : never;

/**
 * One method for each of the service. Calls throw the peer's own error if it sent one, and SITE_UNREACHABLE or
 * TIMED_OUT if the outcome is unknown. They throw PEER_REFUSED or CERTIFICATE_INVALID (`connection: true` in the
 * details) if no connection was made for that reason. `isUnreachable` tells those from an answer of the peer itself. A
 * stream starts when it is iterated and is cancelled when its consumer stops.
 */
export type Client<Service extends DescService> = {
  [Name in keyof Service['method']]: Call<Service['method'][Name]>;
} & {
  /** Cancels what is under way. Idempotent. */
  close(): void;
  /**
   * Called when the peer was heard by another way after a silence: an attempt to connect that is under way is replaced
   * by a new one. Its packets were lost, and the kernel sends the next one seconds later. Absent where no network is.
   */
  reconnect?(): void;
};

export interface ClientOptions {
  /** host:port */
  readonly address: string;
  readonly tls: Tls | TlsFiles;
  /** Whose certificate must be there: the host name proves nothing here. */
  readonly expected: ExpectedPeer;
  /** Of a unary call. Default 10 s. */
  readonly defaultTimeoutMs?: number;
  /** Of a whole stream. Default 10 min. */
  readonly streamTimeoutMs?: number;
  /** Asked each time that a connection is made. Default: what the longest link needs. */
  readonly link?: () => LinkLimits;
  /** In place of what the link needs. */
  readonly keepalive?: LinkLimits['keepalive'];
  /** How many bytes may be under way to us. Default 8 MiB. */
  readonly flowControlWindowBytes?: number;
  readonly clock?: Clock;
  /** Gives each call an id, which is in its error (`callId` in the details) if the peer has logged it: for commands. */
  readonly hasCallIds?: boolean;
  /** Calls a revoked peer too: only for the list of revoked certificates, which an honest one must learn of. */
  readonly evenRevoked?: boolean;
}

const TIMEOUT_MS = 10_000;
/**
 * A deadline of more than 2^31 ms ends a call at once: grpc-js counts in 32 bits. A call that takes days is repeated.
 */
const CALL_MS_MAX = 24 * 3_600_000;
const STREAM_TIMEOUT_MS = 10 * 60_000;
const LONGEST_LINK = linkLimits(ROUND_TRIP_MS_MAX);
/** Without it a bulk stream runs at one 64 KiB window a round trip: 0.7 MB/s at 50 ms (facts: control-plane, C). */
const FLOW_CONTROL_WINDOW_BYTES = 8 * 1024 * 1024;
export function createClient<Service extends DescService>(service: Service, options: ClientOptions): Client<Service> {
  const { defaultTimeoutMs = TIMEOUT_MS, streamTimeoutMs = STREAM_TIMEOUT_MS } = options;
  const connection = new Connection(options);
  const definitions = serviceDefinition(service);
  const peer = connection.peer;

  /** The call's parts. A request that cannot be encoded is the caller's fault, and has not left. */
  const prepare = (method: DescMethod, request: MessageInitShape<DescMessage>) => {
    const { path, requestSerialize } = definitions[method.localName]!;
    const metadata = new Metadata();
    for (const [name, value] of Object.entries(currentTrace())) metadata.set(name, value);
    const callId = options.hasCallIds === true ? newCallId() : undefined;
    if (callId !== undefined) metadata.set(CALL_ID, callId);
    try {
      return {
        path,
        bytes: requestSerialize(create(method.input, request)),
        metadata,
        callId,
      };
    } catch (cause) {
      throw new AntipodeError('REQUEST_INVALID', `${methodName(method)}: the request cannot be encoded`, {
        details: { method: methodName(method) },
        cause,
      });
    }
  };

  const unary =
    (method: DescMethod) =>
    (request: MessageInitShape<DescMessage>, { signal, timeoutMs }: CallOptions = {}) =>
      inSpan(`${methodName(method)} call`, { 'rpc.system': 'grpc', 'antipode.peer': peer }, async () => {
        const { path, bytes, metadata, callId } = prepare(method, request);
        const answer = await new Promise<Buffer>((resolve, reject) => {
          const { client, leave, failed } = connection.enter();
          const call = client.makeUnaryRequest(
            path,
            asIs,
            asIs,
            bytes,
            metadata,
            connection.deadline(timeoutMs ?? defaultTimeoutMs),
            (error, response) => {
              connected();
              leave();
              signal?.removeEventListener('abort', cancel);
              if (error !== null) return reject(failed(error, callId));
              connection.heard();
              resolve(response!);
            },
          );
          const cancel = (): void => call.cancel();
          const connected = connection.giveUpUnconnected(cancel);
          signal?.addEventListener('abort', cancel);
          if (signal?.aborted) cancel();
        });
        return decodeResponse(method, answer, peer);
      });

  async function* stream(
    method: DescMethod,
    request: MessageInitShape<DescMessage>,
    { signal, timeoutMs }: CallOptions = {},
  ): AsyncGenerator<Message> {
    const span = trace
      .getTracer('antipode')
      .startSpan(`${methodName(method)} call`, { attributes: { 'rpc.system': 'grpc', 'antipode.peer': peer } });
    let call: ClientReadableStream<Buffer> | undefined;
    const cancel = (): void => call?.cancel();
    let connected = (): void => {};
    const { client, leave, failed } = connection.enter();
    let callId: string | undefined;
    try {
      const prepared = context.with(trace.setSpan(context.active(), span), () => prepare(method, request));
      const { path, bytes, metadata } = prepared;
      callId = prepared.callId;
      call = client.makeServerStreamRequest(
        path,
        asIs,
        asIs,
        bytes,
        metadata,
        connection.deadline(timeoutMs ?? streamTimeoutMs),
      );
      // A status may still arrive after the consumer has stopped; nobody is left to hear it.
      call.on('error', () => {});
      signal?.addEventListener('abort', cancel);
      if (signal?.aborted) cancel();
      connected = connection.giveUpUnconnected(cancel);
      for await (const message of call) {
        connected();
        connection.heard();
        yield decodeResponse(method, message as Buffer, peer);
      }
    } catch (thrown) {
      const error = isServiceError(thrown) ? failed(thrown, callId) : AntipodeError.from(thrown);
      span.setAttribute('antipode.error.code', error.code);
      span.setStatus({ code: SpanStatusCode.ERROR, message: error.code });
      throw error;
    } finally {
      connected();
      signal?.removeEventListener('abort', cancel);
      cancel();
      leave();
      span.end();
    }
  }

  const calls = service.methods.map((method) => [
    method.localName,
    isServerStream(method)
      ? (request: MessageInitShape<DescMessage>, callOptions?: CallOptions) => stream(method, request, callOptions)
      : unary(method),
  ]);
  const ends = { close: () => connection.close(), reconnect: () => connection.reconnect() };
  return { ...Object.fromEntries(calls), ...ends } as Client<Service>;
}

interface Began {
  readonly startedMs: number;
  /** There was a connection to begin with. */
  readonly isConnected: boolean;
  readonly callId: string | undefined;
}

/** The channel to one peer, what is known of its last attempt to connect, and a new channel where the old one is stuck. */
class Connection {
  readonly peer: string;
  readonly #options: ClientOptions;
  readonly #tls: Tls;
  readonly #clock: Clock;
  readonly #link: () => LinkLimits;
  #client: GrpcClient;
  /** Calls under way, by the client that they are on: one that was renewed is closed when its last call has ended. */
  readonly #calls = new Map<GrpcClient, number>();
  #failure: AntipodeError | undefined;
  #earlierFailure: AntipodeError | undefined;
  #attemptedMs = 0;
  #heardMs = Number.NEGATIVE_INFINITY;
  #isClosed = false;

  constructor(options: ClientOptions) {
    const { kind, name } = options.expected;
    this.peer = `${kind} ${name ?? options.address}`;
    this.#options = options;
    this.#tls = Tls.of(options.tls);
    this.#clock = options.clock ?? systemClock;
    this.#link = options.link ?? (() => LONGEST_LINK);
    this.#client = this.#open();
  }

  /**
   * For one call. `leave` when it has ended; `failed` gives the meaning of its failure, and checks whether the
   * connection is still usable. A client whose peer has moved to another address reaches nobody. @throws
   * SITE_UNREACHABLE
   */
  enter(): { client: GrpcClient; leave: () => void; failed: (error: ServiceError, callId?: string) => AntipodeError } {
    if (this.#isClosed)
      throw new AntipodeError('SITE_UNREACHABLE', `the connection to ${this.peer} is closed`, {
        details: { peer: this.peer },
      });
    const client = this.#client;
    this.#calls.set(client, (this.#calls.get(client) ?? 0) + 1);
    const isConnected = this.#state() === connectivityState.READY;
    const startedMs = this.#clock.monotonicMs();
    return {
      client,
      failed: (error, callId) => this.#failed(error, { isConnected, startedMs, callId }),
      leave: () => {
        const left = (this.#calls.get(client) ?? 1) - 1;
        if (left > 0) this.#calls.set(client, left);
        else this.#calls.delete(client);
        if (left === 0 && client !== this.#client) client.close();
      },
    };
  }

  deadline(timeoutMs: number): { deadline: number } {
    return { deadline: this.#clock.wallMs() + Math.min(timeoutMs, CALL_MS_MAX) };
  }

  /** Whatever the peer answers shows that the connection works. */
  heard(): void {
    this.#heardMs = this.#clock.monotonicMs();
  }

  /**
   * Ends a call that finds no connection in the time that one may take, whatever its own deadline is. Returns what is to be
   * called when the call has ended, or has heard of the peer.
   */
  giveUpUnconnected(cancel: () => void): () => void {
    if (this.#state() === connectivityState.READY) return () => {};
    const over = new AbortController();
    void this.#clock.sleep(this.#link().connectMs, over.signal).then(() => {
      if (!over.signal.aborted && this.#state() !== connectivityState.READY) cancel();
    });
    return () => over.abort();
  }

  #failed(error: ServiceError, began: Began): AntipodeError {
    const translated = fromStatus(error, {
      peer: this.peer,
      connection: this.#failure,
      earlier: this.#earlierFailure,
      // A call that has found no connection is in nobody's log.
      callId:
        began.isConnected || this.#state() === connectivityState.READY || answered(error) ? began.callId : undefined,
    });
    if (!isUnreachable(translated)) this.heard();
    else if (this.#isStuck() || this.#isSilent(error, began)) this.#renew();
    return translated;
  }

  reconnect(): void {
    const state = this.#state();
    if (state === connectivityState.CONNECTING || state === connectivityState.TRANSIENT_FAILURE) this.#renew();
  }

  close(): void {
    this.#isClosed = true;
    for (const client of new Set([this.#client, ...this.#calls.keys()])) client.close();
  }

  #state(): connectivityState {
    return this.#client.getChannel().getConnectivityState(false);
  }

  /** While attempts fail they follow each other within seconds, so a long silence is an attempt that will not end. */
  #isStuck(): boolean {
    const { CONNECTING, TRANSIENT_FAILURE } = connectivityState;
    const state = this.#state();
    return (
      (state === CONNECTING || state === TRANSIENT_FAILURE) &&
      this.#clock.monotonicMs() - this.#attemptedMs >= this.#link().connectMs
    );
  }

  /**
   * A connection on which a whole call has heard nothing, of this or of any other call: the next call gets another one.
   * A call that had to wait for the connection proves nothing: on a long link, connecting takes most of the time of a
   * short call.
   */
  #isSilent({ code }: ServiceError, { isConnected, startedMs }: Began): boolean {
    const isReady = this.#state() === connectivityState.READY;
    return code === status.DEADLINE_EXCEEDED && isConnected && isReady && this.#heardMs < startedMs;
  }

  /** Calls that are under way on the old connection go on there, each within its own limit. */
  #renew(): void {
    if (this.#isClosed) return;
    const before = this.#client;
    this.#client = this.#open();
    if (!this.#calls.has(before)) before.close();
  }

  #open(): GrpcClient {
    this.#attemptedMs = this.#clock.monotonicMs();
    const { address, expected, flowControlWindowBytes = FLOW_CONTROL_WINDOW_BYTES } = this.#options;
    const { connectMs, keepalive: ofLink } = this.#link();
    const { keepalive = ofLink } = this.#options;
    const report = (failure: AntipodeError | undefined): void => {
      this.#earlierFailure = this.#failure ?? this.#earlierFailure;
      this.#failure = failure;
      this.#attemptedMs = this.#clock.monotonicMs();
    };
    const { evenRevoked = false } = this.#options;
    const credentials = this.#tls.clientCredentials(expected, { report, handshakeMs: connectMs, evenRevoked });
    // A name for the handshake, which must not be an IP address (RFC 6066, section 3). The certificate shows the
    // identity.
    const name = `${expected.name ?? 'any'}.${expected.kind}.antipode.internal`;
    return new GrpcClient(address, credentials, {
      'grpc.ssl_target_name_override': name,
      'grpc.default_authority': name,
      'grpc.max_receive_message_length': RESPONSE_BYTES_MAX,
      'grpc.keepalive_time_ms': keepalive.timeMs,
      'grpc.keepalive_timeout_ms': keepalive.timeoutMs,
      'grpc.keepalive_permit_without_calls': 1,
      // A site that comes back, or moves to another address, is to be seen at once, not after minutes of back-off.
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 1_000,
      'grpc.dns_min_time_between_resolutions_ms': 1_000,
      'grpc-node.flow_control_window': flowControlWindowBytes,
      // Two clients with different expectations must not share a connection.
      'grpc.use_local_subchannel_pool': 1,
      // Proxies set in the environment are for browsers, not for sites. Neither must DNS decide how to call.
      'grpc.enable_http_proxy': 0,
      'grpc.service_config_disable_resolution': 1,
    });
  }
}

const asIs = (bytes: Buffer): Buffer => bytes;

/** Whether the peer has sent something of ours. The connection may have ended right behind it. */
const answered = ({ metadata }: ServiceError): boolean => metadata.get(CALL_ID).length > 0;

function isServiceError(thrown: unknown): thrown is ServiceError {
  return thrown instanceof Error && 'code' in thrown && 'metadata' in thrown;
}
