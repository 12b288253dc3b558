/** A network in memory whose ways between two parties can be cut, each direction by itself. For calls that answer once. */
import type { CallOptions, Client } from '@antipode/protocol';
import { MemoryNetwork, type Party } from '@antipode/protocol/testing';
import { AntipodeError, type Clock, type Log } from '@antipode/runtime';
import type { DescService } from '@bufbuild/protobuf';

type Unary = (request: object, options?: CallOptions) => Promise<unknown>;

/** As of the client over the wire. */
const TIMEOUT_MS = 10_000;

export class CuttableNetwork extends MemoryNetwork {
  readonly #clock: Clock;
  readonly #cuts = new Set<string>();

  constructor(options: { clock: Clock; latencyMs?: () => number; log?: Log }) {
    super(options);
    this.#clock = options.clock;
  }

  /** Loses everything that the first sends to the second from now on: requests, and answers to requests. */
  cut(from: string, to: string): void {
    this.#cuts.add(`${from}>${to}`);
  }

  mend(from: string, to: string): void {
    this.#cuts.delete(`${from}>${to}`);
  }

  override client<Service extends DescService>(
    service: Service,
    ends: { readonly caller: Party; readonly callee: Party; readonly life?: AbortSignal },
  ): Client<Service> {
    const client = super.client(service, ends) as Record<string, unknown>;
    const unary = service.methods.filter(({ methodKind }) => methodKind === 'unary').map(({ localName }) => localName);
    const cuttable = unary.map((name) => [name, this.#cuttable(client[name] as Unary, ends)]);
    return { ...client, ...Object.fromEntries(cuttable) } as Client<Service>;
  }

  #cuttable(call: Unary, { caller, callee }: { caller: Party; callee: Party }): Unary {
    const isCut = (from: Party, to: Party): boolean => this.#cuts.has(`${from.name}>${to.name}`);
    return async (request, options = {}) => {
      const { timeoutMs = TIMEOUT_MS, signal } = options;
      const endMs = this.#clock.monotonicMs() + timeoutMs;
      const lost = async (): Promise<never> => {
        await this.#clock.sleep(endMs - this.#clock.monotonicMs(), signal);
        throw new AntipodeError('TIMED_OUT', `no answer from ${callee.name} in time`, {
          details: { peer: callee.name },
        });
      };
      if (isCut(caller, callee)) return lost();
      const answer = await call(request, options);
      return isCut(callee, caller) ? lost() : answer;
    };
  }
}
