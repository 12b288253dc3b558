/** How a fault is done to a world, and taken back. */
import type { WorldFacts } from '../../simulator/facts.ts';
import type { World } from '../../simulator/world.ts';
import type { Act } from '../story.ts';

export interface FaultPorts {
  readonly world: World;
  readonly facts: WorldFacts;
  /** The journal or the token of a site was put back: checkers begin again there. */
  readonly forget: (site: string) => void;
}

export type Undo = () => void;

/** By kind. A fault returns the function that takes it back after its time, or nothing if it is over at once. */
export type FaultTable = Readonly<Record<string, (act: Act, ports: FaultPorts) => Undo | undefined>>;
