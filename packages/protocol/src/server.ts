/**
 * The server side of every service: authorises before a handler sees the call, validates what all requests must keep,
 * continues the caller's trace, and turns what a handler throws into a status. Knows no service in particular.
 */
import { AntipodeError, inSpan, type Log, continuedTrace } from '@antipode/runtime';
import { create, type DescMessage, type DescMethod, type DescMethodServerStreaming, type DescMethodUnary, type DescService, type Message, type MessageInitShape, type MessageShape } from '@bufbuild/protobuf';
import { type handleServerStreamingCall, type handleUnaryCall, Server, type ServerUnaryCall, type ServerWritableStream } from '@grpc/grpc-js';
import { authorise, type Identity, identityFromNames } from './identity.ts';
import { isServerStream, methodName, serviceDefinition } from './service-definition.ts';
import { toStatus } from './status.ts';
import type { Tls } from './tls.ts';
import { validateRequest } from './validate.ts';

export interface CallContext {
  /** Who calls; authorised for the method. */
  readonly identity: Identity;
  /** Aborted when the caller gives up or its deadline passes. */
  readonly signal: AbortSignal;
}

type Handler<Method> = Method extends DescMethodUnary<infer Input, infer Output>
  ? (request: MessageShape<Input>, context: CallContext) => Promise<MessageInitShape<Output>>
  : Method extends DescMethodServerStreaming<infer Input, infer Output>
    ? (request: MessageShape<Input>, context: CallContext) => AsyncIterable<MessageInitShape<Output>>
    : never;

export type Handlers<Service extends DescService> = { [Name in keyof Service['method']]: Handler<Service['method'][Name]> };

/** Large enough for 10,000 digests or a data object of 4 MiB. */
export const MESSAGE_BYTES_MAX = 16 * 1024 * 1024;

/** After this long a connection is renewed, so that a certificate that was taken away stops working. */
const CONNECTION_AGE_MS_MAX = 10 * 60_000;

export class RpcServer {
  readonly #server: Server;
  readonly #tls: Tls;
  readonly #log: Log;
  #closed: Promise<void> | undefined;

  constructor({ tls, log }: { tls: Tls; log: Log }) {
    this.#tls = tls;
    this.#log = log;
    this.#server = new Server({
      'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
      'grpc.max_connection_age_ms': CONNECTION_AGE_MS_MAX,
      'grpc.max_connection_age_grace_ms': CONNECTION_AGE_MS_MAX,
    });
  }

  add<Service extends DescService>(service: Service, handlers: Handlers<Service>): void {
    const byName = handlers as unknown as Record<string, AnyHandler>;
    const implementation = Object.fromEntries(
      service.methods.map((method) => {
        const handler = byName[method.localName]!.bind(handlers);
        return [method.localName, isServerStream(method) ? this.#streaming(method, handler as StreamHandler) : this.#unary(method, handler as UnaryHandler)];
      }),
    );
    this.#server.addService(serviceDefinition(service), implementation);
  }

  /** Listens on `host:port` and returns the port (port 0: any free one). */
  listen(address: string): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.bindAsync(address, this.#tls.serverCredentials(), (error, port) => {
        if (error === null) resolve(port);
        else reject(new AntipodeError('CONFIG_INVALID', `cannot listen on ${address}: ${error.message}`, { details: { address }, cause: error }));
      });
    });
  }

  /** Takes no new calls and ends the running ones. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= new Promise((resolve) => {
      this.#server.tryShutdown(() => resolve());
      // Streams and keepalives would hold a graceful stop up for ever; callers repeat what was cut.
      this.#server.forceShutdown();
    });
    return this.#closed;
  }

  #unary(method: DescMethod, handler: UnaryHandler): handleUnaryCall<Message, Message> {
    return (call, callback) => {
      void this.#serve(method, call, async (context) => {
        callback(null, create(method.output as DescMessage, await handler(call.request, context)));
      }).catch((thrown: unknown) => callback(toStatus(this.#failed(method, thrown))));
    };
  }

  #streaming(method: DescMethod, handler: StreamHandler): handleServerStreamingCall<Message, Message> {
    return (call) => {
      void this.#serve(method, call, async (context) => {
        for await (const message of handler(call.request, context)) {
          if (context.signal.aborted) return;
          if (!call.write(create(method.output as DescMessage, message))) await drained(call, context.signal);
        }
        call.end();
      }).catch((thrown: unknown) => {
        call.destroy(Object.assign(new Error('failed'), toStatus(this.#failed(method, thrown))));
      });
    };
  }

  async #serve(method: DescMethod, call: ServerUnaryCall<Message, Message> | ServerWritableStream<Message, Message>, work: (context: CallContext) => Promise<void>): Promise<void> {
    const name = methodName(method);
    const certificate = call.getAuthContext().sslPeerCertificate;
    const identity = authorise(identityFromNames(certificate?.subjectaltname), { method: name, trustDomain: this.#tls.identity.trustDomain });
    validateRequest(method.input, call.request);
    const cancelled = new AbortController();
    call.on('cancelled', () => cancelled.abort());
    const carrier = Object.fromEntries(Object.entries(call.metadata.getMap()).map(([key, value]) => [key, value.toString()]));
    await inSpan(name, { 'rpc.system': 'grpc', 'antipode.peer': `${identity.kind}/${identity.name}` }, () => work({ identity, signal: cancelled.signal }), continuedTrace(carrier));
  }

  #failed(method: DescMethod, thrown: unknown): AntipodeError {
    const error = AntipodeError.from(thrown);
    this.#log.at(error.disposition === 'defect' ? 'error' : 'debug', 'call failed', { method: methodName(method), error });
    return error;
  }
}

type UnaryHandler = (request: Message, context: CallContext) => Promise<MessageInitShape<DescMessage>>;
type StreamHandler = (request: Message, context: CallContext) => AsyncIterable<MessageInitShape<DescMessage>>;
type AnyHandler = UnaryHandler | StreamHandler;

function drained(call: ServerWritableStream<Message, Message>, signal: AbortSignal): Promise<void> {
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
