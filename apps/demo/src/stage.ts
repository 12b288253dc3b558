/** The part that demonstrations share: chapters that can fail, expectations, and one group. */
import type { GroupState } from '@antipode/protocol';
import type { Operator } from './commands.ts';
import { type Places, SITES } from './places.ts';
import type { Story } from './story.ts';

/** An expectation that did not hold, and the step that found it. */
export interface Unmet {
  readonly step: string;
  readonly what: string;
}

/** The part of each result that does not depend on the story. */
export interface Outcome {
  /** Whether every expectation held; `Demonstration.unmet` has those that did not. */
  readonly ok: boolean;
  /** Objects of which a standby said that it has them, before the loss of the active site. */
  readonly acknowledged: number;
  /** Those of them that are not there after it. */
  readonly lost: number;
}

export interface Demonstration {
  /** Of everything that it makes. Empty before the first step. */
  readonly folder: string;
  readonly unmet: readonly Unmet[];
  run(): Promise<Outcome>;
  /** Ends every process, and removes the folder unless it is to be kept. Idempotent, and may be called at any time. */
  close(options: { keep: boolean }): Promise<void>;
}

export class Stage {
  readonly #story: Story;
  readonly #places: Places;
  readonly #group: string;
  readonly #unmet: Unmet[] = [];

  constructor({ story, places, group }: { story: Story; places: Places; group: string }) {
    this.#story = story;
    this.#places = places;
    this.#group = group;
  }

  get unmet(): readonly Unmet[] {
    return this.#unmet;
  }

  /** One step. Where one of our processes has ended, that is why it failed. */
  chapter<T>(title: string, work: () => Promise<T>): Promise<T> {
    this.#places.requireOpen();
    return this.#story.chapter(title, async () => {
      try {
        return await work();
      } catch (thrown) {
        throw this.#places.endedProcess() ?? thrown;
      }
    });
  }

  /** Gives every partition its identity, starts the agents, and waits until the coordinator hears them all. */
  async open(operator: Operator, { timeoutMs }: { timeoutMs: number }): Promise<void> {
    for (const { site, partition, serial, identitySha256 } of await this.#places.introduce(this.#group))
      this.#story.detail(
        `site ${site}, partition ${partition}: serial ${serial}, identity ${identitySha256.slice(0, 16)}...`,
      );
    this.#places.startAgents();
    await this.#places.until('all three agents are heard', timeoutMs, async () => {
      const { sites } = await operator.getStatus({});
      return sites.filter(({ state }) => state === 'up').length === SITES.length;
    });
  }

  expect(holds: boolean, otherwise: string): void {
    if (!holds) this.#unmet.push({ step: this.#story.step, what: otherwise });
  }

  async group(operator: Operator): Promise<GroupState> {
    const { group } = await operator.getGroup({ group: this.#group });
    return group!;
  }
}
