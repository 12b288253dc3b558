/** The interface of all stories. */
import type { Scene } from '../scene.ts';

export interface Told {
  /** Where a story measures it by itself: from the fault until the client signs elsewhere. */
  readonly servingMs?: number | undefined;
  /** False where something stays lost, so that the group is not protected again. */
  readonly settles: boolean;
}

export interface Story {
  readonly name: string;
  /** For people: the faults, and what must come true. */
  readonly what: string;
  readonly coordinators: 1 | 2;
  /** Its faults are those of links between namespaces. */
  readonly needsNetwork: boolean;
  /** Ends when the faults are over. @throws where something does not come true */
  play(scene: Scene): Promise<Told>;
}
