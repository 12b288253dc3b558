/** The client side of every service: one connection to one expected peer, promises and async iterables, errors of ours. */
import { AntipodeError, currentTrace, inSpan, systemClock } from '@antipode/runtime';
import { create, type DescMessage, type DescMethod, type DescMethodServerStreaming, type DescMethodUnary, type DescService, type Message, type MessageInitShape, type MessageShape } from '@bufbuild/protobuf';
import { Client as GrpcClient, type ClientReadableStream, Metadata, type ServiceError } from '@grpc/grpc-js';
import type { IdentityKind } from './identity.ts';
import { isServerStream, methodName, serviceDefinition } from './service-definition.ts';
import { MESSAGE_BYTES_MAX } from './server.ts';
import { fromStatus } from './status.ts';
import type { Tls } from './tls.ts';

export interface CallOptions {
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
}

type Call<Method> = Method extends DescMethodUnary<infer Input, infer Output>
  ? (request: MessageInitShape<Input>, options?: CallOptions) => Promise<MessageShape<Output>>
  : Method extends DescMethodServerStreaming<infer Input, infer Output>
    ? (request: MessageInitShape<Input>, options?: CallOptions) => AsyncIterable<MessageShape<Output>>
    : never;

/**
 * Calls throw the peer's own error where it sent one, SITE_UNREACHABLE or TIMED_OUT where the outcome is unknown.
 */
export type Client<Service extends DescService> = { [Name in keyof Service['method']]: Call<Service['method'][Name]> } & { close(): void };

export interface ClientOptions {
  /** host:port */
  readonly address: string;
  readonly tls: Tls;
  readonly expected: { readonly kind: IdentityKind; readonly name: string };
  readonly defaultTimeoutMs?: number;
}

const DEFAULT_TIMEOUT_MS = 10_000;
/** Without it a bulk stream runs at one 64 KiB window a round trip: 0.7 MB/s at 50 ms (facts: control-plane, C). */
const FLOW_CONTROL_WINDOW_BYTES = 8 * 1024 * 1024;
/** A peer that swallows bytes is noticed within their sum. */
const KEEPALIVE_MS = 2_000;
const KEEPALIVE_TIMEOUT_MS = 1_500;

export function createClient<Service extends DescService>(service: Service, options: ClientOptions): Client<Service> {
  const { address, tls, expected, defaultTimeoutMs = DEFAULT_TIMEOUT_MS } = options;
  const peer = `${expected.kind} ${expected.name}`;
  const client = new GrpcClient(address, tls.clientCredentials(expected), {
    'grpc.ssl_target_name_override': `${expected.name}.${expected.kind}.antipode.internal`,
    'grpc.default_authority': `${expected.name}.${expected.kind}.antipode.internal`,
    'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
    'grpc.keepalive_time_ms': KEEPALIVE_MS,
    'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
    'grpc.keepalive_permit_without_calls': 1,
    // A site that comes back is to be seen at once, not after minutes of back-off.
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.min_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': 1_000,
    'grpc-node.flow_control_window': FLOW_CONTROL_WINDOW_BYTES,
    'grpc.use_local_subchannel_pool': 1,
  });
  const definitions = serviceDefinition(service);
  const metadata = (): Metadata => {
    const carrier = new Metadata();
    for (const [name, value] of Object.entries(currentTrace())) carrier.set(name, value);
    return carrier;
  };
  const deadline = (timeoutMs: number | undefined): { deadline: number } => ({ deadline: systemClock.wallMs() + (timeoutMs ?? defaultTimeoutMs) });

  const unary = (method: DescMethod) => (request: MessageInitShape<DescMessage>, { signal, timeoutMs }: CallOptions = {}) =>
    inSpan(`${methodName(method)} call`, { 'rpc.system': 'grpc', 'antipode.peer': peer }, () => {
      const { path, requestSerialize, responseDeserialize } = definitions[method.localName]!;
      return new Promise<Message>((resolve, reject) => {
        const call = client.makeUnaryRequest(
          path,
          requestSerialize,
          responseDeserialize as (bytes: Buffer) => Message,
          create(method.input, request),
          metadata(),
          deadline(timeoutMs),
          (error: ServiceError | null, response?: Message) => {
            signal?.removeEventListener('abort', cancel);
            if (error !== null) reject(fromStatus(error, peer));
            else resolve(response!);
          },
        );
        const cancel = (): void => call.cancel();
        signal?.addEventListener('abort', cancel);
        if (signal?.aborted) call.cancel();
      });
    });

  async function* stream(method: DescMethod, request: MessageInitShape<DescMessage>, { signal, timeoutMs }: CallOptions = {}): AsyncIterable<Message> {
    const { path, requestSerialize, responseDeserialize } = definitions[method.localName]!;
    const call: ClientReadableStream<Message> = client.makeServerStreamRequest(
      path,
      requestSerialize,
      responseDeserialize as (bytes: Buffer) => Message,
      create(method.input, request),
      metadata(),
      deadline(timeoutMs),
    );
    const cancel = (): void => call.cancel();
    signal?.addEventListener('abort', cancel);
    try {
      for await (const message of call) yield message as Message;
    } catch (thrown) {
      throw isServiceError(thrown) ? fromStatus(thrown, peer) : AntipodeError.from(thrown);
    } finally {
      signal?.removeEventListener('abort', cancel);
      call.cancel();
    }
  }

  const calls = service.methods.map((method) => [
    method.localName,
    isServerStream(method) ? (request: MessageInitShape<DescMessage>, callOptions?: CallOptions) => stream(method, request, callOptions) : unary(method),
  ]);
  return { ...Object.fromEntries(calls), close: () => client.close() } as Client<Service>;
}

function isServiceError(thrown: unknown): thrown is ServiceError {
  return thrown instanceof Error && 'code' in thrown && 'metadata' in thrown;
}
