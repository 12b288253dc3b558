/**
 * The orders that machines have got, oldest first. To give one again is what a program does that has stood still, or that
 * works from an older copy of what it knew.
 */
import type { CallContext } from '@antipode/protocol';

/** An order as a site got it. */
export interface GivenOrder {
  readonly key: string;
  readonly method: string;
  readonly request: object;
  readonly identity: CallContext['identity'];
}

/** As many are remembered at each machine. */
const ORDERS_MAX = 60;

export class GivenOrders {
  readonly #orders = new Map<string, GivenOrder[]>();

  at(machine: string): readonly GivenOrder[] {
    return this.#orders.get(machine) ?? [];
  }

  /** Forgets a request without a fence: it does not order anything. */
  remember(machine: string, order: GivenOrder): void {
    if ((order.request as { fence?: object }).fence === undefined) return;
    const orders = this.#orders.get(machine) ?? [];
    this.#orders.set(machine, orders);
    if (orders.push(order) > ORDERS_MAX) orders.shift();
  }

  copy(): ReadonlyMap<string, readonly GivenOrder[]> {
    return new Map([...this.#orders].map(([machine, orders]) => [machine, [...orders]]));
  }

  /** The orders of another world, from which this one was copied. */
  begin(copy: ReadonlyMap<string, readonly GivenOrder[]>): void {
    for (const [machine, orders] of copy) this.#orders.set(machine, [...orders]);
  }
}
