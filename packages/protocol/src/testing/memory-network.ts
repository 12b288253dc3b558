/**
 * Services that call each other inside one process, without sockets, certificates or timers of the machine. A call goes the
 * way that it goes over the wire: encoded, admitted, validated, and failed by the same errors. It takes no time.
 */
import { AntipodeError, type Clock } from '@antipode/runtime';
import {
  create,
  type DescMessage,
  type DescMethod,
  type DescService,
  type Message,
  type MessageInitShape,
  toBinary,
} from '@bufbuild/protobuf';
import { authorise, type Identity, type IdentityKind } from '../certificates/identity.ts';
import type { CallOptions, Client } from '../client.ts';
import type { CallContext, Handlers } from '../server.ts';
import { decodeRequest, decodeResponse, isServerStream, methodName } from '../service-definition.ts';
import { fromStatus, toStatus } from '../status.ts';
import { validateRequest } from '../validate.ts';

export interface Party {
  readonly kind: IdentityKind;
  readonly name: string;
}

/** What the network does with a received message, before its receiver sees it. Tests change it in place. */
export type Distortion = (method: string, message: Message) => void;

type Answer = (request: Message, context: CallContext) => Promise<MessageInitShape<DescMessage>>;
type Stream = (request: Message, context: CallContext) => AsyncIterable<MessageInitShape<DescMessage>>;

interface Server {
  readonly handlers: ReadonlyMap<DescMethod, Answer | Stream>;
  readonly calls: Set<Call>;
}

/** As of the client over the wire (client.ts). */
const TIMEOUT_MS = 10_000;
const STREAM_TIMEOUT_MS = 10 * 60_000;

export class MemoryNetwork {
  readonly #clock: Clock;
  readonly #trustDomain: string;
  readonly #servers = new Map<string, Server>();
  distort: Distortion = () => {};

  constructor({ clock, trustDomain = 'test' }: { clock: Clock; trustDomain?: string }) {
    this.#clock = clock;
    this.#trustDomain = trustDomain;
  }

  /** Answers the calls to this party, in place of whoever did before. Returns what ends that, and the calls under way. */
  serve<Service extends DescService>(party: Party, service: Service, handlers: Handlers<Service>): () => void {
    const methods = service.methods.map((method) => {
      const handler = Reflect.get(handlers, method.localName) as Answer | Stream;
      return [method, handler.bind(handlers)] as const;
    });
    const server: Server = { handlers: new Map(methods), calls: new Set() };
    const key = keyOf(party, service);
    this.#servers.set(key, server);
    return () => {
      if (this.#servers.get(key) === server) this.#servers.delete(key);
      for (const call of server.calls) call.end(unreachable(party, 'it has ended'));
    };
  }

  /** Who calls whom. Whether somebody answers there is found out by each call. */
  client<Service extends DescService>(service: Service, ends: { caller: Party; callee: Party }): Client<Service> {
    const calls = service.methods.map((method) => [
      method.localName,
      isServerStream(method)
        ? (request: MessageInitShape<DescMessage>, options?: CallOptions) =>
            this.#stream(method, request, ends, options)
        : (request: MessageInitShape<DescMessage>, options?: CallOptions) =>
            this.#unary(method, request, ends, options),
    ]);
    return { ...Object.fromEntries(calls), close: () => {} } as Client<Service>;
  }

  async #unary(
    method: DescMethod,
    request: MessageInitShape<DescMessage>,
    ends: { caller: Party; callee: Party },
    { timeoutMs = TIMEOUT_MS, ...options }: CallOptions = {},
  ): Promise<Message> {
    const { call, handler } = this.#enter(method, ends, { timeoutMs, ...options });
    try {
      const received = this.#admit(method, request, ends.caller);
      const context = { identity: this.#identity(ends.caller), signal: call.signal };
      const response = await call.orEnd((handler as Answer)(received, context));
      return this.#received(method, response, ends.callee);
    } catch (thrown) {
      throw call.failed(thrown);
    } finally {
      call.leave();
    }
  }

  async *#stream(
    method: DescMethod,
    request: MessageInitShape<DescMessage>,
    ends: { caller: Party; callee: Party },
    { timeoutMs = STREAM_TIMEOUT_MS, ...options }: CallOptions = {},
  ): AsyncGenerator<Message> {
    const { call, handler } = this.#enter(method, ends, { timeoutMs, ...options });
    let parts: AsyncIterator<MessageInitShape<DescMessage>> | undefined;
    try {
      const received = this.#admit(method, request, ends.caller);
      const context = { identity: this.#identity(ends.caller), signal: call.signal };
      parts = (handler as Stream)(received, context)[Symbol.asyncIterator]();
      for (;;) {
        const { done, value } = await call.orEnd(parts.next());
        if (done === true) return;
        yield this.#received(method, value, ends.callee);
      }
    } catch (thrown) {
      throw call.failed(thrown);
    } finally {
      call.leave();
      // The consumer may have stopped early: the handler ends where it is. What it throws then, nobody hears.
      parts?.return?.().catch(() => {});
    }
  }

  /** @throws SITE_UNREACHABLE */
  #enter(
    method: DescMethod,
    { callee }: { callee: Party },
    options: CallOptions & { timeoutMs: number },
  ): { call: Call; handler: Answer | Stream } {
    const server = this.#servers.get(keyOf(callee, method.parent));
    const handler = server?.handlers.get(method);
    if (server === undefined || handler === undefined) throw unreachable(callee, 'nobody serves there');
    return { call: new Call({ callee, clock: this.#clock, server, options }), handler };
  }

  /** What the server finds: whether the caller may, and the request as it came. @throws PEER_REFUSED, REQUEST_INVALID */
  #admit(method: DescMethod, request: MessageInitShape<DescMessage>, caller: Party): Message {
    authorise(this.#identity(caller), { method: methodName(method), trustDomain: this.#trustDomain });
    const received = decodeRequest(method, toBinary(method.input, create(method.input, request)));
    validateRequest(method.input, received);
    return received;
  }

  #received(method: DescMethod, response: MessageInitShape<DescMessage>, callee: Party): Message {
    const bytes = toBinary(method.output, create(method.output, response));
    const message = decodeResponse(method, bytes, nameOf(callee));
    this.distort(method.localName, message);
    return message;
  }

  #identity({ kind, name }: Party): Identity {
    return { trustDomain: this.#trustDomain, kind, name };
  }
}

/** One call under way: it ends by its handler, its caller, its time limit, or the end of the server. */
class Call {
  readonly #callee: Party;
  readonly #server: Server;
  readonly #options: CallOptions;
  readonly #stop = new AbortController();
  readonly #timer = new AbortController();
  readonly #ended = Promise.withResolvers<never>();
  #reason: AntipodeError | undefined;
  readonly #cancel = (): void => this.end(unreachable(this.#callee, 'the call was cancelled'));

  constructor({
    callee,
    clock,
    server,
    options,
  }: { callee: Party; clock: Clock; server: Server; options: CallOptions & { timeoutMs: number } }) {
    this.#callee = callee;
    this.#server = server;
    this.#options = options;
    this.#ended.promise.catch(() => {});
    server.calls.add(this);
    options.signal?.addEventListener('abort', this.#cancel);
    if (options.signal?.aborted === true) this.#cancel();
    void clock.sleep(options.timeoutMs, this.#timer.signal).then(() => {
      if (this.#timer.signal.aborted) return;
      this.end(new AntipodeError('TIMED_OUT', `no answer from ${nameOf(callee)} in time`, { details: {} }));
    });
  }

  /** As the handler sees it. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  end(reason: AntipodeError): void {
    this.#reason ??= reason;
    this.#stop.abort();
    this.#ended.reject(this.#reason);
  }

  orEnd<T>(work: Promise<T>): Promise<T> {
    return Promise.race([this.#ended.promise, work]);
  }

  /** What the caller is told: what ended the call on its side, or what the peer answered, as it crosses the wire. */
  failed(thrown: unknown): AntipodeError {
    if (this.#reason !== undefined) return this.#reason;
    const status = toStatus(AntipodeError.from(thrown));
    const error = Object.assign(new Error(status.details), status);
    return fromStatus(error, { peer: nameOf(this.#callee) });
  }

  leave(): void {
    this.#options.signal?.removeEventListener('abort', this.#cancel);
    this.#server.calls.delete(this);
    this.#timer.abort();
    this.#stop.abort();
  }
}

const nameOf = ({ kind, name }: Party): string => `${kind} ${name}`;
const keyOf = (party: Party, service: DescService): string => `${nameOf(party)} ${service.typeName}`;

const unreachable = (party: Party, why: string): AntipodeError =>
  new AntipodeError('SITE_UNREACHABLE', `no answer from ${nameOf(party)}: ${why}`, {
    details: { peer: nameOf(party) },
  });
