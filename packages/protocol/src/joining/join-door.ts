/**
 * The door of a coordinator: the one place that answers somebody without a certificate. A listener of its own, apart from
 * gRPC, that reads one small message and gives one answer. It judges nothing itself (`answer`).
 *
 * Its limits hold before anything is computed for a caller: few connections, few of one address, few each minute, and a
 * short life for each. A caller that exceeds them is cut off without a word.
 */
import type { Server, Socket } from 'node:net';
import tls, { type TLSSocket } from 'node:tls';
import { AntipodeError, type Clock, type Closeable, hasCode, type Log, parseAddress } from '@antipode/runtime';
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { KEY_EXCHANGE, type Tls } from '../certificates/tls.ts';
import {
  JoinGreetingSchema,
  type JoinRequest,
  JoinRequestSchema,
  JoinResponseSchema,
} from '../gen/antipode/v1/join_pb.ts';
import { Frames, frame, JOIN_PROTOCOL, JOIN_REQUEST_BYTES_MAX } from './conversation.ts';

export interface DoorLimits {
  readonly connectionsMax: number;
  readonly connectionsPerAddressMax: number;
  /** Of one connection, its handshake included. */
  readonly conversationMsMax: number;
  /** Taken up at once by all callers, and given back at the rate below. */
  readonly callsMax: number;
  readonly callsPerAddressMax: number;
  readonly callsPerMinute: number;
  readonly callsPerMinuteAndAddress: number;
}

/** A machine needs two connections. A site with three machines behind one address joins within a minute. */
export const DOOR_LIMITS: DoorLimits = {
  connectionsMax: 32,
  connectionsPerAddressMax: 8,
  conversationMsMax: 15_000,
  callsMax: 120,
  callsPerAddressMax: 30,
  callsPerMinute: 120,
  callsPerMinuteAndAddress: 20,
};

/** An attack is one line a minute. */
const LOG_MS = 60_000;
const ADDRESSES_MAX = 1_000;
const MINUTE_MS = 60_000;

export interface JoinDoorOptions {
  readonly coordinator: string;
  readonly tls: Tls;
  readonly clock: Clock;
  readonly log: Log;
  /**
   * Judges a request. `from` is address and port of the caller. The caller sees a refusal if its code is one of `TOLD`,
   * and otherwise only that this coordinator cannot answer now.
   */
  readonly answer: (request: JoinRequest, from: string) => Promise<MessageInitShape<typeof JoinResponseSchema>>;
  readonly limits?: Partial<DoorLimits>;
}

/** The refusals that a caller may see. Everything else stays in the log. */
const TOLD = ['SITE_TOKEN_REFUSED', 'CERTIFICATE_REQUEST_INVALID', 'NOT_LEADER'] as const;

export class JoinDoor implements Closeable {
  readonly #options: JoinDoorOptions;
  readonly #limits: DoorLimits;
  readonly #sockets = new Set<Socket>();
  readonly #all: Allowance;
  readonly #byAddress = new Map<string, Allowance>();
  #server: tls.Server | undefined;
  #unwatch = (): void => {};
  #toldMs = Number.NEGATIVE_INFINITY;

  constructor(options: JoinDoorOptions) {
    this.#options = options;
    this.#limits = { ...DOOR_LIMITS, ...options.limits };
    this.#all = new Allowance({ max: this.#limits.callsMax, perMinute: this.#limits.callsPerMinute });
  }

  /**
   * Listens on `host:port` and returns the port.
   * @throws ADDRESS_UNAVAILABLE
   */
  async listen(address: string): Promise<number> {
    const { host, port } = parseAddress(address) ?? { host: '', port: 0 };
    const server = tls.createServer({
      minVersion: 'TLSv1.3',
      ecdhCurve: KEY_EXCHANGE,
      ALPNProtocols: [JOIN_PROTOCOL],
      requestCert: false,
      handshakeTimeout: this.#limits.conversationMsMax,
    });
    this.#server = server;
    server.prependListener('connection', (socket: Socket) => this.#accepted(socket));
    server.on('secureConnection', (socket) => void this.#converse(socket));
    // A handshake that fails is the caller's affair.
    server.on('tlsClientError', (_error, socket) => socket.destroy());
    await new Promise<void>((resolve) => {
      this.#unwatch = this.#options.tls.watchPair(({ ca, certificate, key }) => {
        // With the authority at its end: whoever knows only its digest finds it there.
        server.setSecureContext({ cert: `${certificate}\n${ca}`, key });
        resolve();
      });
    });
    return bound(server, { address, host, port });
  }

  async close(): Promise<void> {
    this.#unwatch();
    for (const socket of this.#sockets) socket.destroy();
    const server = this.#server;
    if (server?.listening) await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  #accepted(socket: Socket): void {
    const { remoteAddress: address = '' } = socket;
    const { connectionsMax, connectionsPerAddressMax, conversationMsMax } = this.#limits;
    const ofAddress = [...this.#sockets].filter((one) => one.remoteAddress === address).length;
    const isTooMany = this.#sockets.size >= connectionsMax || ofAddress >= connectionsPerAddressMax;
    if (isTooMany || !this.#mayCall(address)) {
      socket.destroy();
      this.#tell('callers at the door for joining were cut off: too many', { address });
      return;
    }
    const ended = new AbortController();
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => {
      this.#sockets.delete(socket);
      ended.abort();
    });
    void this.#options.clock.sleep(conversationMsMax, ended.signal).then(() => socket.destroy());
  }

  #mayCall(address: string): boolean {
    const nowMs = this.#options.clock.monotonicMs();
    const { callsPerAddressMax: max, callsPerMinuteAndAddress: perMinute } = this.#limits;
    if (this.#byAddress.size >= ADDRESSES_MAX)
      for (const [one, allowance] of this.#byAddress) if (allowance.isFull(nowMs)) this.#byAddress.delete(one);
    const known = this.#byAddress.get(address);
    if (known === undefined && this.#byAddress.size >= ADDRESSES_MAX) return false;
    const own = known ?? new Allowance({ max, perMinute });
    this.#byAddress.set(address, own);
    // In this order: an address that is over its share takes nothing from the others.
    return own.take(nowMs) && this.#all.take(nowMs);
  }

  async #converse(socket: TLSSocket): Promise<void> {
    const { clock, coordinator, answer, log } = this.#options;
    const from = `${socket.remoteAddress} ${socket.remotePort}`;
    socket.on('error', () => {});
    try {
      const greeting = create(JoinGreetingSchema, { coordinator, nowMs: BigInt(clock.wallMs()) });
      socket.write(frame(toBinary(JoinGreetingSchema, greeting)));
      const bytes = await new Frames(socket, { bytesMax: JOIN_REQUEST_BYTES_MAX }).next();
      const response = await this.#judged(() => answer(fromBinary(JoinRequestSchema, bytes), from), from);
      socket.end(frame(toBinary(JoinResponseSchema, create(JoinResponseSchema, response))));
    } catch (thrown) {
      log.debug('a conversation at the door for joining broke off', { from, error: AntipodeError.from(thrown) });
      socket.destroy();
    }
  }

  async #judged(
    answer: () => Promise<MessageInitShape<typeof JoinResponseSchema>>,
    from: string,
  ): Promise<MessageInitShape<typeof JoinResponseSchema>> {
    try {
      return await answer();
    } catch (thrown) {
      const error = AntipodeError.from(thrown);
      this.#tell('a machine was not let in', { from, error });
      const isTold = TOLD.some((code) => hasCode(error, code));
      return isTold
        ? { errorCode: error.code, errorMessage: error.message.replace(`[${error.code}] `, '') }
        : { errorCode: 'SITE_UNREACHABLE', errorMessage: 'the coordinator cannot answer now; its log says why' };
    }
  }

  #tell(what: string, fields: Record<string, string | AntipodeError>): void {
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs - this.#toldMs < LOG_MS) return;
    this.#toldMs = nowMs;
    this.#options.log.warn(what, fields);
  }
}

/** Calls that may be made at once, given back over time. */
class Allowance {
  readonly #max: number;
  readonly #perMinute: number;
  #left: number;
  #atMs: number | undefined;

  constructor({ max, perMinute }: { max: number; perMinute: number }) {
    this.#max = max;
    this.#perMinute = perMinute;
    this.#left = max;
  }

  take(nowMs: number): boolean {
    this.#refill(nowMs);
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }

  isFull(nowMs: number): boolean {
    this.#refill(nowMs);
    return this.#left >= this.#max;
  }

  #refill(nowMs: number): void {
    const sinceMs = nowMs - (this.#atMs ?? nowMs);
    this.#atMs = nowMs;
    this.#left = Math.min(this.#max, this.#left + (sinceMs / MINUTE_MS) * this.#perMinute);
  }
}

function bound(
  server: Server,
  { address, host, port }: { address: string; host: string; port: number },
): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) =>
      reject(
        new AntipodeError('ADDRESS_UNAVAILABLE', `cannot listen on ${address}: ${cause.message}`, {
          details: { address },
          cause,
        }),
      ),
    );
    server.listen({ host, port }, () => {
      const at = server.address();
      resolve(typeof at === 'object' && at !== null ? at.port : port);
    });
  });
}
