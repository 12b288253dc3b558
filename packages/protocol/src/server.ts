/**
 * The server side of every service: authorises before a message is read, validates what all requests must keep,
 * continues the caller's trace, and turns what a handler throws into a status. Knows no service in particular.
 */
import { X509Certificate } from 'node:crypto';
import {
  AntipodeError,
  type Clock,
  continuedTrace,
  hasCode,
  inSpan,
  invariant,
  type Log,
  systemClock,
} from '@antipode/runtime';
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
  type handleServerStreamingCall,
  type handleUnaryCall,
  logVerbosity,
  Server,
  type ServerUnaryCall,
  type ServerWritableStream,
  setLogVerbosity,
} from '@grpc/grpc-js';
import { asCallId, CALL_ID, CallLines } from './call-id.ts';
import { authorise, type Identity, identityOf, identityUri } from './certificates/identity.ts';
import { Tls, type TlsFiles } from './certificates/tls.ts';
import { OperatorService } from './gen/antipode/v1/operator_pb.ts';
import { CALL_LIMITS, CallAdmission, type CallLimits, type Revocations } from './limits/call-admission.ts';
import {
  CONNECTION_LIMITS,
  type ConnectionLimits,
  http2ServersOf,
  limitConnections,
  limitHandshakes,
} from './limits/connection-limits.ts';
import { REQUEST_BYTES_MAX } from './limits/message-limits.ts';
import { logRefusedCallers } from './limits/refused-callers.ts';
import { decodeRequest, isServerStream, methodName, servedDefinition } from './service-definition.ts';
import { toStatus } from './status.ts';
import { requireKnownFields, validateRequest } from './validate.ts';

// Every fault reaches us as an error and is logged once, with a code. The library's own lines would bypass our log.
if (process.env['GRPC_VERBOSITY'] === undefined) setLogVerbosity(logVerbosity.NONE);

/** The context of a call, for its handler. */
export interface CallContext {
  /** Who calls; authorised for the method. */
  readonly identity: Identity;
  /** Aborted when the caller gives up, its deadline passes, its link is lost, or the server closes. */
  readonly signal: AbortSignal;
  /** Address and port that the connection comes from, for people; absent where no network is (tests). */
  readonly peer?: string;
  /** The certificate that the caller has shown; undefined where no network is. */
  readonly certificate?: () => X509Certificate | undefined;
}

type Handler<Method> =
  Method extends DescMethodUnary<infer Input, infer Output>
    ? (request: MessageShape<Input>, context: CallContext) => Promise<MessageInitShape<Output>>
    : Method extends DescMethodServerStreaming<infer Input, infer Output>
      ? (request: MessageShape<Input>, context: CallContext) => AsyncIterable<MessageInitShape<Output>>
      : never;

/**
 * One handler for each method of a service. A stream is asked for its next message only when the one before has left; a
 * handler that waits for something else meanwhile looks at the signal.
 */
export type Handlers<Service extends DescService> = {
  [Name in keyof Service['method']]: Handler<Service['method'][Name]>;
};

/** After this long a connection is renewed, so that a certificate that was taken away stops working. */
const CONNECTION_AGE_MS_MAX = 10 * 60_000;
/** A stream that is under way then may still end: a full re-seal over a thin link. */
const CONNECTION_AGE_GRACE_MS = 10 * 60_000;
/** A caller that vanished without a word would hold its handlers until their deadlines. */
const KEEPALIVE_MS = 10_000;
const KEEPALIVE_TIMEOUT_MS = 5_000;
/** How long calls under way may take to end by themselves on `close`. */
const CLOSE_GRACE_MS = 2_000;

export interface RpcServerOptions {
  readonly tls: Tls | TlsFiles;
  readonly log: Log;
  readonly clock?: Clock;
  /** Only tests choose others. */
  readonly connectionAgeMsMax?: number;
  readonly limits?: Partial<CallLimits & ConnectionLimits>;
}

export class RpcServer {
  readonly #server: Server;
  readonly #tls: Tls;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #limits: CallLimits & ConnectionLimits;
  readonly #admission: CallAdmission;
  readonly #lines: CallLines;
  readonly #running = new Map<AbortController, Promise<void>>();
  #closed: Promise<void> | undefined;

  /** @throws CERTIFICATE_INVALID */
  constructor(options: RpcServerOptions) {
    const { tls, log, clock = systemClock, connectionAgeMsMax = CONNECTION_AGE_MS_MAX, limits } = options;
    this.#tls = Tls.of(tls);
    this.#limits = { ...CALL_LIMITS, ...CONNECTION_LIMITS, ...limits };
    const { trustDomain } = this.#tls.identity;
    this.#lines = new CallLines({ log, clock });
    this.#admission = new CallAdmission({
      trustDomain,
      clock,
      log,
      lines: this.#lines,
      limits: this.#limits,
      revocations: this.#revocations(),
    });
    this.#log = log;
    this.#clock = clock;
    this.#server = new Server({
      interceptors: [this.#admission.intercept],
      'grpc.max_receive_message_length': REQUEST_BYTES_MAX,
      'grpc.max_connection_age_ms': connectionAgeMsMax,
      'grpc.max_connection_age_grace_ms': CONNECTION_AGE_GRACE_MS,
      'grpc.keepalive_time_ms': KEEPALIVE_MS,
      'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
    });
  }

  /** Calls that were refused since the certificate of their caller is revoked. */
  get revokedCalls(): number {
    return this.#admission.revokedCalls;
  }

  #revocations(): Revocations | undefined {
    const book = this.#tls.revocations;
    return book && { revoked: (shown) => this.#tls.revoked(shown), onChange: (listener) => book.onChange(listener) };
  }

  /** Serves `service`; before `listen`. Handlers are called as methods of `handlers`. */
  add<Service extends DescService>(service: Service, handlers: Handlers<Service>): void {
    const implementation = Object.fromEntries(
      service.methods.map((method) => {
        const own: AnyHandler | undefined = Reflect.get(handlers, method.localName);
        const handler = own?.bind(handlers);
        invariant(handler !== undefined, `no handler for ${methodName(method)}`);
        return [
          method.localName,
          isServerStream(method)
            ? this.#streaming(method, handler as StreamHandler)
            : this.#unary(method, handler as UnaryHandler),
        ];
      }),
    );
    this.#admission.serve(service);
    this.#server.addService(servedDefinition(service), implementation);
  }

  /**
   * Listens on `host:port` and returns the port (port 0: any free one) when it serves there.
   * @throws ADDRESS_UNAVAILABLE where the address cannot be had
   */
  async listen(address: string): Promise<number> {
    const port = await this.#bind(address);
    logRefusedCallers(this.#server, { log: this.#log, clock: this.#clock });
    const listening = http2ServersOf(this.#server);
    limitConnections(listening, { clock: this.#clock, log: this.#log, limits: this.#limits });
    for (const one of listening) this.#admission.standBefore(one);
    await this.#tls.ready();
    return port;
  }

  #bind(address: string): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.bindAsync(address, limitHandshakes(this.#tls.serverCredentials(), this.#limits), (error, port) => {
        if (error === null) resolve(port);
        else
          reject(
            new AntipodeError('ADDRESS_UNAVAILABLE', `cannot listen on ${address}: ${error.message}`, {
              details: { address },
              cause: error,
            }),
          );
      });
    });
  }

  /**
   * Takes no new calls, gives those under way `graceMs` to end, then aborts them. Resolves when no handler runs any more,
   * or when handlers that ignore their signal have had the same time again. Idempotent.
   */
  close(graceMs = CLOSE_GRACE_MS): Promise<void> {
    this.#closed ??= this.#close(graceMs);
    return this.#closed;
  }

  async #close(graceMs: number): Promise<void> {
    await this.#atMost(graceMs, new Promise<void>((resolve) => this.#server.tryShutdown(() => resolve())));
    for (const running of this.#running.keys()) running.abort();
    this.#server.forceShutdown();
    await this.#atMost(graceMs, Promise.allSettled(this.#running.values()));
    this.#admission.close();
  }

  async #atMost(ms: number, work: Promise<unknown>): Promise<void> {
    const done = new AbortController();
    await Promise.race([work, this.#clock.sleep(ms, done.signal)]);
    done.abort();
  }

  #unary(method: DescMethod, handler: UnaryHandler): handleUnaryCall<Buffer, Message> {
    return (call, callback) => {
      this.#serve(method, call, {
        work: async (request, context) => {
          callback(null, create(method.output as DescMessage, await handler(request, context)));
        },
        fail: (error, callId) => callback(toStatus(error, callId)),
      });
    };
  }

  #streaming(method: DescMethod, handler: StreamHandler): handleServerStreamingCall<Buffer, Message> {
    return (call) => {
      this.#serve(method, call, {
        work: async (request, context) => {
          for await (const message of handler(request, context)) {
            if (context.signal.aborted) return;
            if (!call.write(create(method.output as DescMessage, message))) await drained(call, context.signal);
          }
          call.end();
        },
        // Not destroy(error): on a destroyed stream grpc-js sends no status, and the caller would wait for its deadline.
        fail: (error, callId) => call.emit('error', Object.assign(new Error(error.code), toStatus(error, callId))),
      });
    };
  }

  #serve(
    method: DescMethod,
    call: AnyCall,
    { work, fail }: { work: Work; fail: (error: AntipodeError, callId: string | undefined) => void },
  ): void {
    const controller = new AbortController();
    call.on('cancelled', () => controller.abort());
    const running = this.#admitted(method, call, { signal: controller.signal, work })
      .catch((thrown: unknown) => {
        const error = AntipodeError.from(thrown);
        fail(error, this.#failed(method, call, error));
      })
      .finally(() => this.#running.delete(controller));
    this.#running.set(controller, running);
  }

  /** The one order of things: who, whether they may, whether the request is whole; only then the handler. */
  async #admitted(
    method: DescMethod,
    call: AnyCall,
    { signal, work }: { signal: AbortSignal; work: Work },
  ): Promise<void> {
    const name = methodName(method);
    const caller = identityOf(call);
    const carrier = Object.fromEntries(
      Object.entries(call.metadata.getMap()).map(([key, value]) => [key, value.toString()]),
    );
    const peer = nameOf(caller);
    const startedMs = this.#clock.monotonicMs();
    await inSpan(
      name,
      { 'rpc.system': 'grpc', 'antipode.peer': peer },
      async () => {
        const identity = authorise(caller, { method: name, trustDomain: this.#tls.identity.trustDomain });
        const request = decodeRequest(method, call.request);
        validateRequest(method.input, request);
        if (method.parent.typeName === OperatorService.typeName && !READS.test(method.name))
          requireKnownFields(method.input, request);
        await work(request, { identity, signal, peer: call.getPeer(), certificate: () => certificateOf(call) });
      },
      continuedTrace(carrier),
    );
    const fields = { method: name, peer, tookMs: Math.round(this.#clock.monotonicMs() - startedMs) };
    const id = callIdOf(call);
    // The caller has seen a failure: it waited no longer, or its link broke.
    if (signal.aborted && id !== undefined) this.#lines.write({ id, peer }, 'call given up by its caller', fields);
    else this.#log.debug('call served', id === undefined ? fields : { call: id, ...fields });
  }

  /** The id of the call, if it is in the log. */
  #failed(method: DescMethod, call: AnyCall, error: AntipodeError): string | undefined {
    const level = error.disposition === 'defect' ? 'error' : hasCode(error, 'PEER_REFUSED') ? 'warn' : 'debug';
    const [id, peer] = [callIdOf(call), nameOf(identityOf(call))];
    return this.#lines.write({ id, peer, level }, 'call failed', { method: methodName(method), error });
  }
}

const nameOf = (caller: Identity | undefined): string => (caller === undefined ? 'unknown' : identityUri(caller));

function callIdOf(call: AnyCall): string | undefined {
  const [sent, ...more] = call.metadata.get(CALL_ID);
  return more.length === 0 ? asCallId(sent) : undefined;
}

function certificateOf(call: AnyCall): X509Certificate | undefined {
  const shown = call.getAuthContext().sslPeerCertificate;
  return shown?.raw === undefined ? undefined : new X509Certificate(shown.raw);
}

/** A question of a later release is answered as far as it is understood. A plan is a promise, so it is not among them. */
const READS = /^(Get|List|Resolve)/;

type UnaryHandler = (request: Message, context: CallContext) => Promise<MessageInitShape<DescMessage>>;
type StreamHandler = (request: Message, context: CallContext) => AsyncIterable<MessageInitShape<DescMessage>>;
type AnyHandler = UnaryHandler | StreamHandler;
type Work = (request: Message, context: CallContext) => Promise<void>;
type AnyCall = ServerUnaryCall<Buffer, Message> | ServerWritableStream<Buffer, Message>;

/** Resolves when the stream takes more, or when nobody wants it any more. */
function drained(call: ServerWritableStream<Buffer, Message>, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const go = (): void => {
      call.off('drain', go);
      signal.removeEventListener('abort', go);
      resolve();
    };
    call.once('drain', go);
    signal.addEventListener('abort', go);
  });
}
