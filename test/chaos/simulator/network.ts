/**
 * The links between machines. Calls cross them as they cross TCP: a message arrives late, or its connection breaks, and
 * then nobody knows whether it had arrived. Chance and the faults of its link decide what happens to a message. Requests
 * are encoded, admitted and validated as over the wire (MemoryNetwork).
 */
import type { CallContext, CallOptions, Client, Handlers } from '@antipode/protocol';
import { type Crossing, MemoryNetwork, type Party } from '@antipode/protocol/testing';
import type { Clock, ErrorCode } from '@antipode/runtime';
import type { DescService } from '@bufbuild/protobuf';
import type { Chance } from './chance.ts';
import type { SimulatedProcess, WorldClock } from './clock.ts';
import type { EventLog } from './event-log.ts';
import { type GivenOrder, GivenOrders } from './given-orders.ts';
import { type LinkFaults, Links } from './links.ts';
import { ABORTED, addressOf, type OpenCall, openCall } from './open-call.ts';
import { SentMessages } from './sent-messages.ts';

/** A peer that does not answer its keepalive for so long is given up (LinkLimits of the round trip that is simulated). */
const KEEPALIVE_MS = 1_200;
const LATENCY_MS_MAX = 20;

/** Where the calls to a party arrive. */
interface Served {
  readonly process: SimulatedProcess;
  readonly handlers: object;
}

interface Caller {
  readonly party: Party;
  readonly process: SimulatedProcess;
  readonly clock: Clock;
}

/** A request that has arrived at a machine, for those who watch. */
export interface Arrival {
  readonly machine: string;
  readonly method: string;
  readonly request: unknown;
  /** Called with the answer when the handler has ended; not where its process has ended before. */
  onAnswer: (answer: unknown) => void;
}

export class SimulatedNetwork {
  readonly #wire: MemoryNetwork;
  readonly #clock: WorldClock;
  readonly #chance: Chance;
  readonly #log: EventLog;
  readonly #links = new Links();
  readonly #served = new Map<string, Served>();
  readonly #calls = new Set<OpenCall>();
  readonly orders = new GivenOrders();
  /** The content of the messages. */
  readonly sent = new SentMessages();
  onArrival: (arrival: Arrival) => void = () => {};
  messages = 0;

  constructor({ clock, chance, log, time }: { clock: WorldClock; chance: Chance; log: EventLog; time: Clock }) {
    this.#clock = clock;
    this.#chance = chance;
    this.#log = log;
    this.#wire = new MemoryNetwork({ clock: time, carry: (crossing) => this.#carry(crossing) });
  }

  link(from: string, to: string): LinkFaults {
    return this.#links.of(from, to);
  }

  /** Nothing of this direction arrives until {@link heal}. */
  cut(from: string, to: string): void {
    this.#links.cut(from, to);
    this.#watchAll();
  }

  heal(from: string, to: string): void {
    this.#links.heal(from, to);
  }

  /** The certificate of a machine expires, until {@link renew}. */
  expire(machine: string): void {
    this.#links.expired.add(machine);
  }

  renew(machine: string): void {
    this.#links.expired.delete(machine);
  }

  /** Without power: it neither answers nor says that it does not. */
  switchOff(machine: string): void {
    this.#links.switchOff(machine);
    this.#watchAll();
  }

  switchOn(machine: string): void {
    this.#links.switchOn(machine);
    // A peer that still waits learns that its connection is unknown here.
    this.reset(machine);
  }

  /** The process at this end has ended: the kernel resets its connections. */
  reset(machine: string): void {
    for (const call of [...this.#calls])
      if (call.to === machine) this.#clock.after(this.#latencyMs(), () => call.break('the connection was reset'));
  }

  /** A process that stands still keeps its connections until nobody answers for it. */
  stalled(): void {
    this.#watchAll();
  }

  /** Nobody waits for the answer. */
  giveOrder(machine: string, { key, method, request, identity }: GivenOrder): void {
    const served = this.#served.get(key);
    if (served === undefined || served.process.state !== 'running') return;
    const context = { identity, signal: new AbortController().signal };
    this.#handle(served, machine, method, request, context).catch(() => {});
  }

  serve<Service extends DescService>(
    party: Party,
    service: Service,
    served: { process: SimulatedProcess; handlers: Handlers<Service> },
  ): void {
    const key = `${addressOf(party)} ${service.typeName}`;
    const isKnown = this.#served.has(key);
    this.#served.set(key, served);
    if (isKnown) return;
    const handlers = Object.fromEntries(
      service.methods.map((method) => [
        method.localName,
        method.methodKind === 'server_streaming'
          ? (request: unknown, context: CallContext) =>
              this.#receiveStream(key, addressOf(party), method.localName, request, context)
          : (request: unknown, context: CallContext) =>
              this.#receive(key, addressOf(party), method.localName, request, context),
      ]),
    );
    this.#wire.serve(party, service, handlers as never as Handlers<Service>);
  }

  client<Service extends DescService>(service: Service, caller: Caller, callee: Party): Client<Service> {
    const inner = this.#wire.client(service, { caller: caller.party, callee, clock: caller.clock });
    const calls = service.methods.map((method) => {
      const call = Reflect.get(inner, method.localName) as (request: object, options: CallOptions) => unknown;
      return [
        method.localName,
        method.methodKind === 'server_streaming'
          ? (request: object, options: CallOptions = {}) =>
              this.#stream(caller, callee, (given) => call(request, given) as AsyncIterable<unknown>, options)
          : (request: object, options: CallOptions = {}) =>
              this.#call(caller, callee, (given) => call(request, given) as Promise<unknown>, options),
      ];
    });
    return { ...Object.fromEntries(calls), close: () => {} } as Client<Service>;
  }

  // --- the side of the caller ---

  async #call<T>(
    caller: Caller,
    callee: Party,
    work: (options: CallOptions) => Promise<T>,
    options: CallOptions,
  ): Promise<T> {
    const open = openCall({ caller: caller.party, callee }, options, this.#calls);
    if (this.#isSilent(open.call)) this.#watch(open.call);
    try {
      return await Promise.race([work(open.options), open.broken]);
    } finally {
      open.close();
      await caller.process.gate();
    }
  }

  async *#stream<T>(
    caller: Caller,
    callee: Party,
    work: (options: CallOptions) => AsyncIterable<T>,
    options: CallOptions,
  ): AsyncGenerator<T> {
    const open = openCall({ caller: caller.party, callee }, options, this.#calls);
    if (this.#isSilent(open.call)) this.#watch(open.call);
    const parts = work(open.options)[Symbol.asyncIterator]();
    try {
      for (;;) {
        const next = await Promise.race([parts.next(), open.broken]);
        await caller.process.gate();
        if (next.done === true) return;
        yield next.value;
      }
    } finally {
      open.close();
      open.end();
      parts.return?.().catch(() => {});
      await caller.process.gate();
    }
  }

  // --- on the way ---

  async #carry({ from, to, method, signal }: Crossing): Promise<void> {
    const [sender, receiver] = [addressOf(from), addressOf(to)];
    const link = this.link(sender, receiver);
    this.messages += 1;
    if (link.lossy > 0 && this.#chance.happens(link.lossy)) {
      this.#log.add('message', `${sender}>${receiver}`, `${method} breaks its connection`);
      this.#breakBetween(sender, receiver, { why: 'the connection broke' });
      return new Promise(() => {});
    }
    if (this.#links.expired.has(sender) || this.#links.expired.has(receiver)) {
      this.#log.add('message', `${sender}>${receiver}`, `${method} is refused`);
      this.#breakBetween(sender, receiver, { why: 'the certificate has expired', code: 'CERTIFICATE_INVALID' });
      return new Promise(() => {});
    }
    await this.#clock.sleep(this.#latencyMs() + (link.slowMs > 0 ? this.#chance.fraction() * link.slowMs : 0));
    await this.#links.untilOpen(sender, receiver, signal);
    this.#log.add('message', `${sender}>${receiver}`, method);
  }

  #latencyMs(): number {
    return 0.2 + this.#chance.fraction() * LATENCY_MS_MAX;
  }

  #breakBetween(
    one: string,
    other: string,
    { why, code = 'SITE_UNREACHABLE' }: { why: string; code?: ErrorCode },
  ): void {
    for (const call of [...this.#calls])
      if ((call.from === one && call.to === other) || (call.from === other && call.to === one))
        this.#clock.after(this.#latencyMs(), () => call.break(why, code));
  }

  #isSilent({ from, to }: OpenCall): boolean {
    if (this.#links.isSilent(from, to)) return true;
    for (const [key, { process }] of this.#served)
      if (key.startsWith(`${to} `) && process.state === 'paused') return true;
    return false;
  }

  #watchAll(): void {
    for (const call of this.#calls) if (this.#isSilent(call)) this.#watch(call);
  }

  #watch(call: OpenCall): void {
    this.#clock.after(KEEPALIVE_MS, () => {
      if (this.#isSilent(call)) call.break('no keepalive');
    });
  }

  // --- the side of the callee ---

  /** @returns where it has arrived; never if nobody is there, who would have answered */
  async #arrive(key: string, machine: string): Promise<Served> {
    const served = this.#served.get(key);
    if (served === undefined || served.process.hasEnded) {
      if (!this.#links.isOff(machine)) this.reset(machine);
      return new Promise<never>(() => {});
    }
    await served.process.gate();
    return served;
  }

  async #receive(
    key: string,
    machine: string,
    method: string,
    request: unknown,
    context: CallContext,
  ): Promise<unknown> {
    const served = await this.#arrive(key, machine);
    const run = (): Promise<unknown> => this.#handle(served, machine, method, request, context);
    this.orders.remember(machine, { key, method, request: request as object, identity: context.identity });
    const { doubling } = this.link(context.identity.name, machine);
    if (doubling > 0 && this.#chance.happens(doubling)) {
      this.#log.add('message', machine, `${method} arrives once more`);
      this.#clock.after(
        this.#chance.fraction() * 3_000,
        () =>
          void served.process
            .gate()
            .then(run)
            .catch(() => {}),
      );
    }
    return run();
  }

  async #handle(
    { process, handlers }: Served,
    machine: string,
    method: string,
    request: unknown,
    context: CallContext,
  ): Promise<unknown> {
    const handler = Reflect.get(handlers, method) as (request: unknown, context: CallContext) => Promise<unknown>;
    const arrival: Arrival = { machine, method, request, onAnswer: () => {} };
    this.onArrival(arrival);
    this.sent.note(method, request);
    const answer = await handler.call(handlers, request, this.#contextFor(process, context));
    this.sent.note(method, answer);
    if (!process.hasEnded) arrival.onAnswer(answer);
    return answer;
  }

  async *#receiveStream(
    key: string,
    machine: string,
    method: string,
    request: unknown,
    context: CallContext,
  ): AsyncGenerator<unknown> {
    const { process, handlers } = await this.#arrive(key, machine);
    const handler = Reflect.get(handlers, method) as (request: unknown, context: CallContext) => AsyncIterable<unknown>;
    for await (const part of handler.call(handlers, request, this.#contextFor(process, context))) {
      await process.gate();
      this.sent.note(method, part);
      yield part;
    }
  }

  /** The caller's end of the call is noticed by a process that runs only. */
  #contextFor(process: SimulatedProcess, context: CallContext): CallContext {
    const stop = new AbortController();
    const abort = (): void => void process.gate().then(() => stop.abort(ABORTED));
    if (context.signal.aborted) abort();
    else context.signal.addEventListener('abort', abort, { once: true });
    return { ...context, signal: stop.signal };
  }
}
