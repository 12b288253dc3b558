/** Orders that come once more, to another site, or from a coordinator that knows less than it did. */
import { GROUP, type World } from '../../simulator/world.ts';
import type { FaultTable } from './fault.ts';

export const ORDER_FAULTS: FaultTable = {
  'repeated-order': ({ at, other, value }, { world: { network } }) => {
    const orders = network.orders.at(at).filter(({ method }) => method === other || !METHODS.has(other));
    const order = orders[Math.floor(value * orders.length)];
    if (order !== undefined) network.giveOrder(at, order);
    return undefined;
  },
  'order-again': ({ at, other, value, id }, { world }) => {
    const orders = world.network.orders.at(at).filter(({ method }) => method === other || !METHODS.has(other));
    const order = orders[Math.floor(value * orders.length)];
    if (order !== undefined) giveAs(world, at, order, { requestId: `again ${id}` });
    return undefined;
  },
  'misdirected-order': ({ at, other, value, id }, { world }) => {
    const orders = world.network.orders.at(other).filter(({ method }) => method === 'apply');
    const order = orders[Math.floor(value * orders.length)];
    const [own] = world.network.orders.at(at);
    if (order !== undefined && own !== undefined)
      giveAs(world, at, { ...order, key: own.key }, { requestId: `astray ${id}` });
    return undefined;
  },
  'stolen-coordinator': ({ at, id }, { world }) => {
    const { site, process } = world.site(at);
    const fence = process.hasEnded ? undefined : site.journal.tenure.fence(GROUP);
    const [order] = world.network.orders.at(at);
    if (fence === undefined || order === undefined) return undefined;
    const request = { $typeName: 'antipode.v1.PromoteRequest', fence: (order.request as Ordered).fence, waitMs: 0 };
    const next = { epoch: fence.epoch + 1n, owner: at, requestId: `stolen ${id}` };
    giveAs(world, at, { ...order, method: 'promote', request }, next);
    return undefined;
  },
  'second-owner': ({ at, id }, { world }) => {
    const { site, process } = world.site(at);
    const fence = process.hasEnded ? undefined : site.journal.tenure.fence(GROUP);
    const [order] = world.network.orders.at(at);
    if (fence === undefined || order === undefined || fence.owner === at) return undefined;
    const request = { $typeName: 'antipode.v1.PromoteRequest', fence: (order.request as Ordered).fence, waitMs: 0 };
    giveAs(
      world,
      at,
      { ...order, method: 'promote', request },
      { epoch: fence.epoch, owner: at, requestId: `second ${id}` },
    );
    return undefined;
  },
};

/** The methods that a written story can name: those of the orders. */
const METHODS: ReadonlySet<string> = new Set(['apply', 'verify', 'capture', 'setRole', 'promote']);

interface Ordered {
  readonly fence: {
    readonly epoch: bigint;
    readonly owner: string;
    readonly requestId: string;
    readonly instance: string;
  };
}

/** Gives an order with another fence, in the term that the site has heard last, to the process that is there. */
function giveAs(
  world: World,
  at: string,
  order: ReturnType<World['network']['orders']['at']>[number],
  change: Partial<Ordered['fence']>,
): void {
  const { site: agent, process } = world.site(at);
  const heard = process.hasEnded ? undefined : agent.terms.highest;
  if (heard === undefined) return;
  const fence = { ...(order.request as Ordered).fence, term: heard.term, instance: agent.instance, ...change };
  world.network.giveOrder(at, {
    ...order,
    identity: { ...order.identity, name: heard.coordinator },
    request: { ...order.request, fence },
  });
}
