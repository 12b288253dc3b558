/**
 * Services that call each other inside one process, without sockets, certificates or timers of the machine. A call is
 * encoded, admitted and validated as over the wire, and fails with the same errors. Messages take the time that the
 * options say, which is none by default.
 */
import { AntipodeError, type Clock, type Log, silentLog } from '@antipode/runtime';
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

/** Sees each answer before the caller does, and may change it in place. An error that it throws ends the call. */
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

/** A message on its way between two parties: a request, or an answer to it. */
export interface Crossing {
  readonly from: Party;
  readonly to: Party;
  readonly method: string;
  /** Aborts when the call has ended and nobody waits for the message any more. */
  readonly signal: AbortSignal;
}

export interface MemoryNetworkOptions {
  readonly clock: Clock;
  readonly trustDomain?: string;
  /** How long each message takes. */
  readonly latencyMs?: () => number;
  /**
   * Takes each message across, in place of `latencyMs`: resolves when it arrives, never where it is lost, and rejects
   * where the connection breaks.
   */
  readonly carry?: (crossing: Crossing) => Promise<void>;
  /** Receives a line at the end of each call. */
  readonly log?: Log;
}

/** The reason of every signal here. To make one for each call costs more than the call. */
const ABORTED = new DOMException('This operation was aborted', 'AbortError');

interface Ends {
  readonly caller: Party;
  readonly callee: Party;
  /** Aborted when the caller has ended: its calls under way end with it, and no other begins. */
  readonly life?: AbortSignal;
  /** By which the caller counts its time limits; the network's own by default. */
  readonly clock?: Clock;
}

export class MemoryNetwork {
  readonly #clock: Clock;
  readonly #trustDomain: string;
  readonly #carry: (crossing: Crossing) => Promise<void>;
  readonly #log: Log;
  readonly #servers = new Map<string, Server>();
  distort: Distortion = () => {};

  constructor({ clock, trustDomain = 'test', latencyMs = () => 0, carry, log = silentLog }: MemoryNetworkOptions) {
    this.#clock = clock;
    this.#trustDomain = trustDomain;
    this.#carry =
      carry ??
      (async ({ signal }) => {
        const ms = latencyMs();
        if (ms > 0) await clock.sleep(ms, signal);
      });
    this.#log = log;
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

  /** A client of one party for one caller. Each call finds out whether the party answers. */
  client<Service extends DescService>(service: Service, ends: Ends): Client<Service> {
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
    ends: Ends,
    { timeoutMs = TIMEOUT_MS, ...options }: CallOptions = {},
  ): Promise<Message> {
    const call = this.#enter(method, ends, { timeoutMs, ...options });
    try {
      const { received, context } = await this.#admit(method, request, call);
      const response = await this.#answered(call, (call.handler as Answer)(received, context));
      const answer = await this.#received(method, response, call);
      this.#log.debug('call answered', call.fields);
      return answer;
    } catch (thrown) {
      throw this.#failed(call, thrown);
    } finally {
      call.leave();
    }
  }

  async *#stream(
    method: DescMethod,
    request: MessageInitShape<DescMessage>,
    ends: Ends,
    { timeoutMs = STREAM_TIMEOUT_MS, ...options }: CallOptions = {},
  ): AsyncGenerator<Message> {
    const call = this.#enter(method, ends, { timeoutMs, ...options });
    let parts: AsyncIterator<MessageInitShape<DescMessage>> | undefined;
    try {
      const { received, context } = await this.#admit(method, request, call);
      parts = (call.handler as Stream)(received, context)[Symbol.asyncIterator]();
      for (;;) {
        const { done, value } = await this.#answered(call, parts.next());
        if (done === true) break;
        yield await this.#received(method, value, call);
      }
      this.#log.debug('call answered', call.fields);
    } catch (thrown) {
      throw this.#failed(call, thrown);
    } finally {
      call.leave();
      // The consumer may have stopped early. Then the handler ends where it is, and nobody hears its errors.
      parts?.return?.().catch(() => {});
    }
  }

  /** @throws SITE_UNREACHABLE */
  #enter(method: DescMethod, ends: Ends, options: CallOptions & { timeoutMs: number }): Call {
    if (ends.life?.aborted === true) throw unreachable(ends.callee, 'the caller has ended');
    const server = this.#servers.get(keyOf(ends.callee, method.parent));
    const handler = server?.handlers.get(method);
    if (server !== undefined && handler !== undefined)
      return new Call({ method: methodName(method), ends, clock: ends.clock ?? this.#clock, server, handler, options });
    const error = unreachable(ends.callee, 'nobody serves there');
    this.#log.debug('call failed', { method: methodName(method), ...namesOf(ends), code: error.code });
    throw error;
  }

  /** Admits the caller and decodes its request, as a server does. @throws PEER_REFUSED, REQUEST_INVALID */
  async #admit(
    method: DescMethod,
    request: MessageInitShape<DescMessage>,
    call: Call,
  ): Promise<{ received: Message; context: CallContext }> {
    const bytes = toBinary(method.input, create(method.input, request));
    await this.#cross(call, { from: call.ends.caller, to: call.ends.callee });
    const identity = this.#identity(call.ends.caller);
    authorise(identity, { method: call.method, trustDomain: this.#trustDomain });
    const received = decodeRequest(method, bytes);
    validateRequest(method.input, received);
    return { received, context: { identity, signal: call.signal } };
  }

  async #received(method: DescMethod, response: MessageInitShape<DescMessage>, call: Call): Promise<Message> {
    const bytes = toBinary(method.output, create(method.output, response));
    await this.#cross(call, { from: call.ends.callee, to: call.ends.caller });
    const message = decodeResponse(method, bytes, nameOf(call.ends.callee));
    try {
      this.distort(method.localName, message);
    } catch (thrown) {
      // It is a failure of this side: no peer has answered it.
      call.end(AntipodeError.from(thrown));
      throw thrown;
    }
    return message;
  }

  #cross(call: Call, way: { from: Party; to: Party }): Promise<void> {
    return call.orEnd(this.#carry({ ...way, method: call.method, signal: call.signal }));
  }

  /** Waits for the handler. Its error crosses the network as its answer does. */
  async #answered<T>(call: Call, work: Promise<T>): Promise<T> {
    try {
      return await call.orEnd(work);
    } catch (thrown) {
      if (!call.signal.aborted) await this.#cross(call, { from: call.ends.callee, to: call.ends.caller });
      throw thrown;
    }
  }

  #failed(call: Call, thrown: unknown): AntipodeError {
    const error = call.failed(thrown);
    this.#log.debug('call failed', { ...call.fields, code: error.code });
    return error;
  }

  #identity({ kind, name }: Party): Identity {
    return { trustDomain: this.#trustDomain, kind, name };
  }
}

/** One call under way: it ends by its handler, its caller, its time limit, or the end of the server. */
class Call {
  readonly method: string;
  readonly ends: Ends;
  readonly handler: Answer | Stream;
  readonly #server: Server;
  readonly #options: CallOptions;
  readonly #stop = new AbortController();
  readonly #ended = Promise.withResolvers<never>();
  #reason: AntipodeError | undefined;
  readonly #cancel = (): void => this.end(unreachable(this.ends.callee, 'the call was cancelled'));

  constructor({
    method,
    ends,
    clock,
    server,
    handler,
    options,
  }: {
    method: string;
    ends: Ends;
    clock: Clock;
    server: Server;
    handler: Answer | Stream;
    options: CallOptions & { timeoutMs: number };
  }) {
    this.method = method;
    this.ends = ends;
    this.handler = handler;
    this.#server = server;
    this.#options = options;
    this.#ended.promise.catch(() => {});
    server.calls.add(this);
    options.signal?.addEventListener('abort', this.#cancel);
    ends.life?.addEventListener('abort', this.#cancel);
    if (options.signal?.aborted === true) this.#cancel();
    void clock.sleep(options.timeoutMs, this.signal).then(() => {
      if (this.signal.aborted) return;
      const peer = nameOf(ends.callee);
      this.end(new AntipodeError('TIMED_OUT', `no answer from ${peer} in time`, { details: { peer } }));
    });
  }

  /** As the handler sees it. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  get fields(): { method: string; caller: string; callee: string } {
    return { method: this.method, ...namesOf(this.ends) };
  }

  end(reason: AntipodeError): void {
    this.#reason ??= reason;
    this.#stop.abort(ABORTED);
    this.#ended.reject(this.#reason);
  }

  orEnd<T>(work: Promise<T>): Promise<T> {
    return Promise.race([this.#ended.promise, work]);
  }

  /** The error that the caller gets: its own reason to end the call, or the answer of the peer as the wire carries it. */
  failed(thrown: unknown): AntipodeError {
    if (this.#reason !== undefined) return this.#reason;
    const status = toStatus(AntipodeError.from(thrown));
    const error = Object.assign(new Error(status.details), status);
    return fromStatus(error, { peer: nameOf(this.ends.callee) });
  }

  leave(): void {
    this.#options.signal?.removeEventListener('abort', this.#cancel);
    this.ends.life?.removeEventListener('abort', this.#cancel);
    this.#server.calls.delete(this);
    this.#stop.abort(ABORTED);
  }
}

const nameOf = ({ kind, name }: Party): string => `${kind} ${name}`;
const namesOf = ({ caller, callee }: Ends) => ({ caller: nameOf(caller), callee: nameOf(callee) });
const keyOf = (party: Party, service: DescService): string => `${nameOf(party)} ${service.typeName}`;

const unreachable = (party: Party, why: string): AntipodeError =>
  new AntipodeError('SITE_UNREACHABLE', `no answer from ${nameOf(party)}: ${why}`, {
    details: { peer: nameOf(party) },
  });
