/** Shows every change of a world to the checkers, and keeps what they find. */
import { allCheckers, type Change } from '../checkers/index.ts';
import { WorldFacts } from '../simulator/facts.ts';
import type { World } from '../simulator/world.ts';

export interface Violation {
  readonly invariant: string;
  readonly checker: string;
  readonly text: string;
  readonly atMs: number;
  readonly step: number;
}

/** Errors that nobody caught belong to the world that runs now. */
let current: World | undefined;

/** No world runs now, and none is kept in memory. */
export const forgetWorld = (): void => {
  current = undefined;
};

export const catchUncaught = (): void => {
  process.on('unhandledRejection', (thrown) => current?.uncaught(thrown));
};

export class Watch {
  readonly facts: WorldFacts;
  readonly violations: Violation[] = [];
  /** Somebody has put a journal or a token back: checkers begin again there. */
  readonly forget: (site: string) => void;
  checks = 0;
  readonly #world: World;
  readonly #checkers: ReturnType<typeof allCheckers>['checkers'];
  readonly #untilStep: number;

  constructor(world: World, { untilStep = Number.POSITIVE_INFINITY }: { untilStep?: number } = {}) {
    const { checkers, forget } = allCheckers();
    this.#world = world;
    current = world;
    this.#checkers = checkers;
    this.#untilStep = untilStep;
    this.forget = forget;
    this.facts = new WorldFacts(world, (change) => this.tell(change));
    const step: Change = { kind: 'step' };
    world.afterStep = () => {
      this.tell(step);
      return this.isOver;
    };
    world.onDefect = (thrown) =>
      this.violate('defect', 'defect', thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown));
  }

  get isOver(): boolean {
    return this.violations.length > 0 || this.#world.clock.steps >= this.#untilStep;
  }

  tell(change: Change): void {
    for (const { invariant, name, look } of this.#checkers) {
      this.checks += 1;
      const text = look(change, this.facts);
      if (text !== undefined) this.violate(invariant, name, text);
    }
  }

  /** Shows everything that the processes have written down or sent. */
  tellWritten(): void {
    for (const written of writtenBy(this.#world)) this.tell({ kind: 'written', ...written });
  }

  violate(invariant: string, checker: string, text: string): void {
    if (this.violations.some((one) => one.checker === checker)) return;
    const { clock, log } = this.#world;
    this.violations.push({ invariant, checker, text, atMs: clock.nowMs, step: clock.steps });
    log.add('violation', invariant, text);
  }
}

function* writtenBy({ sites, database, log, network }: World) {
  for (const { name, disk } of sites.values())
    for (const [file, bytes] of Object.entries(disk.copy()))
      yield { what: `the ${file} of site ${name}`, place: 'agent', bytes } as const;
  yield { what: 'the database', place: 'coordinator', bytes: database.copy() } as const;
  yield { what: 'a log', place: 'log', bytes: Buffer.from(log.said.join('\n')) } as const;
  yield { what: 'a message', place: 'wire', bytes: network.sent.bytes } as const;
}
