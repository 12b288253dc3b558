/** The keys of another group at the same sites, to whose members nothing is done (I15). */
import type { Facts } from '../checkers/index.ts';
import { keyValueOf } from './key-values.ts';
import type { World } from './world.ts';

export interface MadeKey {
  readonly label: string;
  readonly value: string;
  readonly madeAtMs: number;
}

export class OtherGroup {
  readonly #world: World;
  readonly #made: MadeKey[] = [];

  constructor(world: World) {
    this.#world = world;
  }

  get keys(): Facts['bystanders'] {
    return this.#made.map(({ label, value, madeAtMs }) => ({
      label,
      madeAtMs,
      missingAt: () =>
        this.#world.members
          .filter(({ bystander }) => bystander?.hsm.objects.every((object) => keyValueOf(object) !== value))
          .map(({ name }) => name),
    }));
  }

  /** As another world can take them over. */
  get made(): readonly MadeKey[] {
    return this.#made;
  }

  begin(made: readonly MadeKey[]): void {
    this.#made.push(...made);
  }

  /** An application makes a key at its first site. */
  makeKey(): void {
    const hsm = this.#world.members[0]?.bystander?.hsm;
    if (hsm === undefined) return;
    const label = `entry ${this.#made.length + 1}`;
    const value = keyValueOf(hsm.addSecret(label)) ?? '';
    this.#made.push({ label, value, madeAtMs: this.#world.clock.nowMs });
  }
}
