/** Faults of the links between machines. */
import type { World } from '../../simulator/world.ts';
import type { FaultTable, Undo } from './fault.ts';

export const LINK_FAULTS: FaultTable = {
  cut: ({ at, other }, { world: { network } }) => cutting(network, bothWays(at, other)),
  'cut-one-way': ({ at, other }, { world: { network } }) => cutting(network, [[at, other]]),
  'cut-from-coordinators': ({ at }, { world }) =>
    cutting(
      world.network,
      [...world.coordinators.keys()].flatMap((name) => bothWays(at, name)),
    ),
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
  'expire-certificate': ({ at }, { world: { network } }) => {
    network.expire(at);
    return () => network.renew(at);
  },
};

const bothWays = (one: string, other: string) =>
  [
    [one, other],
    [other, one],
  ] as const;

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
