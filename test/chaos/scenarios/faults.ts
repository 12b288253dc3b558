/** Does the faults of a story to a world, and takes each back after its time. */
import type { WorldFacts } from '../simulator/facts.ts';
import { GROUP, type World } from '../simulator/world.ts';
import type { Act } from './story.ts';

export interface FaultPorts {
  readonly world: World;
  readonly facts: WorldFacts;
  /** The journal or the token of a site was put back: checkers begin again there. */
  readonly forget: (site: string) => void;
}

type Undo = () => void;

export class Faults {
  readonly #ports: FaultPorts;
  /** The faults under way, and how each is taken back. */
  readonly #open = new Map<number, Undo>();

  constructor(ports: FaultPorts) {
    this.#ports = ports;
  }

  /** @returns whether it is a fault */
  do(act: Act): boolean {
    const fault = FAULT_ACTS[act.kind];
    if (fault === undefined) return false;
    const { world } = this.#ports;
    const undo = fault(act, this.#ports);
    if (undo === undefined) return true;
    this.#open.set(act.id, undo);
    world.clock.after(act.ms, () => this.#undo(act));
    return true;
  }

  /** Takes back everything that is still done. */
  healAll(): void {
    const { world } = this.#ports;
    for (const undo of this.#open.values()) undo();
    this.#open.clear();
    for (const site of world.sites.values()) {
      site.resume();
      site.disk.crash = undefined;
      site.crashInSteps = undefined;
      site.start();
    }
    for (const coordinator of world.coordinators.values()) {
      coordinator.resume();
      void coordinator.start();
    }
  }

  #undo({ id, kind, at }: Act): void {
    const undo = this.#open.get(id);
    if (undo === undefined) return;
    this.#open.delete(id);
    this.#ports.world.log.add('fault', at, `${kind} is over`);
    undo();
  }
}

const bothWays = (one: string, other: string) =>
  [
    [one, other],
    [other, one],
  ] as const;

const FAULT_ACTS: Readonly<Record<string, (act: Act, ports: FaultPorts) => Undo | undefined>> = {
  'kill-agent': ({ at }, { world, facts }) => {
    const site = world.site(at);
    site.kill();
    facts.restarted(at);
    return () => site.start();
  },
  'pause-agent': ({ at }, { world }) => {
    const site = world.site(at);
    site.pause();
    return () => site.resume();
  },
  'crash-at-commit': ({ at, value }, { world, facts }) => {
    const site = world.site(at);
    site.disk.crash = { commits: Math.max(1, Math.round(value)), when: value % 1 < 0.5 ? 'before' : 'after' };
    return () => {
      site.disk.crash = undefined;
      if (site.process.hasEnded) facts.restarted(at);
      site.start();
    };
  },
  'crash-in-a-call': ({ at, value }, { world, facts }) => {
    const site = world.site(at);
    if (site.isWitness) return undefined;
    site.crashInSteps = Math.max(1, Math.round(value));
    return () => {
      site.crashInSteps = undefined;
      facts.tokenChanged(at);
      if (site.process.hasEnded) facts.restarted(at);
      site.start();
    };
  },
  'lose-site': ({ at }, { world, facts }) => {
    const site = world.site(at);
    if (site.isOff) return undefined;
    site.switchOff();
    facts.restarted(at);
    return () => site.switchOn();
  },
  'disk-full': ({ at }, { world }) => {
    const { disk } = world.site(at);
    disk.fault = 'full';
    return () => {
      disk.fault = undefined;
    };
  },
  'disk-locked': ({ at }, { world }) => {
    const { disk } = world.site(at);
    disk.fault = 'locked';
    return () => {
      disk.fault = undefined;
    };
  },
  'roll-back-journal': ({ at }, { world, facts, forget }) => {
    const site = world.site(at);
    const copy = site.disk.copy();
    return () => {
      site.kill();
      site.disk.restore(copy);
      forget(at);
      facts.restarted(at);
      facts.putBack(at);
      site.start();
    };
  },
  'repeated-order': ({ at, other, value }, { world: { network } }) => {
    const orders = network.ordersAt(at).filter(({ method }) => method === other || !METHODS.has(other));
    const order = orders[Math.floor(value * orders.length)];
    if (order !== undefined) network.giveOrder(at, order);
    return undefined;
  },
  'order-again': ({ at, other, value, id }, { world }) => {
    const orders = world.network.ordersAt(at).filter(({ method }) => method === other || !METHODS.has(other));
    const order = orders[Math.floor(value * orders.length)];
    if (order !== undefined) giveAs(world, at, order, { requestId: `again ${id}` });
    return undefined;
  },
  'misdirected-order': ({ at, other, value, id }, { world }) => {
    const orders = world.network.ordersAt(other).filter(({ method }) => method === 'apply');
    const order = orders[Math.floor(value * orders.length)];
    const [own] = world.network.ordersAt(at);
    if (order !== undefined && own !== undefined)
      giveAs(world, at, { ...order, key: own.key }, { requestId: `astray ${id}` });
    return undefined;
  },
  'second-owner': ({ at, id }, { world }) => {
    const { site, process } = world.site(at);
    const fence = process.hasEnded ? undefined : site.journal.tenure.fence(GROUP);
    const [order] = world.network.ordersAt(at);
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
  'hsm-busy': ({ at, value }, { world }) => {
    world.site(at).member.hsm.faults.busyCalls = Math.round(value);
    return undefined;
  },
  'hsm-gone': ({ at }, { world }) => {
    const { faults } = world.site(at).member.hsm;
    faults.isAbsent = true;
    return () => {
      faults.isAbsent = false;
    };
  },
  'hsm-slow': ({ at, value }, { world }) => {
    const { faults } = world.site(at).member.hsm;
    const before = faults.callMs;
    faults.callMs = value;
    return () => {
      faults.callMs = before;
    };
  },
  'hsm-lies': ({ at }, { world }) => {
    const { hsm } = world.site(at).member;
    // Of a private key in PKCS #8 this is in the secret scalar.
    hsm.distort = (value) => value.map((byte, index) => (index === Math.min(40, value.length - 1) ? byte ^ 1 : byte));
    return () => {
      hsm.distort = (value) => value;
    };
  },
  'empty-token': ({ at }, { world, facts, forget }) => {
    const member = facts.members.find(({ site }) => site === at);
    const [move] = world.database.rows("SELECT id FROM intent WHERE kind = 'failover' AND status = 'open'");
    // At the active member it is the applications that delete.
    if (member?.role !== 'standby' || move !== undefined) return undefined;
    facts.empty(at);
    forget(at);
    return undefined;
  },
  'step-clock': ({ at, value }, { world }) => {
    world.machine(at).wallOffsetMs += Math.round(value);
    return undefined;
  },
  'drift-clock': ({ at, value }, { world }) => {
    world.machine(at).rate = value;
    return undefined;
  },
  cut: ({ at, other }, { world: { network } }) => cutting(network, bothWays(at, other)),
  'cut-one-way': ({ at, other }, { world: { network } }) => cutting(network, [[at, other]]),
  isolate: ({ at }, { world }) =>
    cutting(
      world.network,
      world.machines.filter((name) => name !== at).flatMap((name) => bothWays(at, name)),
    ),
  flap: ({ at, other, ms }, { world }) => {
    const links = bothWays(at, other);
    let isOver = false;
    let heal: Undo | undefined;
    const turn = (count: number): void => {
      if (isOver) return;
      if (count % 2 === 0) heal = cutting(world.network, links);
      else heal?.();
      world.clock.after(ms / 12, () => turn(count + 1));
    };
    turn(0);
    return () => {
      isOver = true;
      for (const [from, to] of links) world.network.heal(from, to);
    };
  },
  'slow-link': ({ at, other, value }, { world }) =>
    changing(
      world,
      at,
      other,
      (link) => ({ ...link, slowMs: value }),
      (link) => ({ ...link, slowMs: 0 }),
    ),
  'lossy-link': ({ at, other, value }, { world }) =>
    changing(
      world,
      at,
      other,
      (link) => ({ ...link, lossy: value }),
      (link) => ({ ...link, lossy: 0 }),
    ),
  'doubling-link': ({ at, other, value }, { world }) =>
    changing(
      world,
      at,
      other,
      (link) => ({ ...link, doubling: value }),
      (link) => ({ ...link, doubling: 0 }),
    ),
  'kill-coordinator': ({ at }, { world }) => {
    const coordinator = world.coordinator(at);
    coordinator.kill();
    return () => void coordinator.start();
  },
  'pause-coordinator': ({ at }, { world }) => {
    const coordinator = world.coordinator(at);
    coordinator.pause();
    return () => coordinator.resume();
  },
  'change-profile': ({ at, value }, { world }) => {
    const coordinator = world.coordinator(at);
    coordinator.kill();
    const { leaseMs, selfStopMs } = world.timings;
    coordinator.timings = {
      ...world.timings,
      leaseMs: Math.round(leaseMs * value),
      selfStopMs: Math.round(selfStopMs * value),
    };
    return () => void coordinator.start();
  },
  'stall-database': (_act, { world: { database } }) => {
    database.stall();
    return () => database.goOn();
  },
  'database-away': (_act, { world: { database } }) => {
    database.isAway = true;
    return () => {
      database.isAway = false;
    };
  },
  'cut-database': ({ at }, { world: { database } }) => {
    database.unreachableFrom.add(at);
    return () => void database.unreachableFrom.delete(at);
  },
  'silent-commits': ({ value }, { world: { database } }) => {
    database.silentCommits = value;
    return () => {
      database.silentCommits = 0;
    };
  },
  'roll-back-database': (_act, { world: { database }, facts }) => {
    const copy = database.copy();
    return () => {
      database.restore(copy);
      facts.putBack();
    };
  },
  'queue-away': (_act, { world: { queue } }) => {
    queue.isAway = true;
    return () => {
      queue.isAway = false;
    };
  },
  'wipe-queue': (_act, { world: { queue } }) => {
    queue.wipe();
    return undefined;
  },
  'doubling-queue': ({ value }, { world: { queue } }) => {
    queue.doubling = value;
    return () => {
      queue.doubling = 0;
    };
  },
};

/** The methods that a written story can name: those of the orders. */
const METHODS: ReadonlySet<string> = new Set(['apply', 'verify', 'capture', 'setRole', 'promote']);

interface Ordered {
  readonly fence: { readonly epoch: bigint; readonly owner: string; readonly requestId: string };
}

/** Gives an order with another fence, in the term that the site has heard last. */
function giveAs(
  world: World,
  at: string,
  order: ReturnType<World['network']['ordersAt']>[number],
  change: Partial<Ordered['fence']>,
): void {
  const { site: agent, process } = world.site(at);
  const heard = process.hasEnded ? undefined : agent.terms.highest;
  if (heard === undefined) return;
  const fence = { ...(order.request as Ordered).fence, term: heard.term, ...change };
  world.network.giveOrder(at, {
    ...order,
    identity: { ...order.identity, name: heard.coordinator },
    request: { ...order.request, fence },
  });
}

/** The kinds of faults, for the table of README. */
export const FAULT_KINDS = Object.keys(FAULT_ACTS);

type Links = readonly (readonly [string, string])[];

function cutting(network: World['network'], links: Links): Undo {
  for (const [from, to] of links) network.cut(from, to);
  return () => {
    for (const [from, to] of links) network.heal(from, to);
  };
}

type Link = ReturnType<World['network']['link']>;

function changing(
  { network }: World,
  one: string,
  other: string,
  change: (link: Link) => Link,
  back: (link: Link) => Link,
): Undo {
  const links = bothWays(one, other).map(([from, to]) => network.link(from, to));
  for (const link of links) Object.assign(link, change(link));
  return () => {
    for (const link of links) Object.assign(link, back(link));
  };
}
