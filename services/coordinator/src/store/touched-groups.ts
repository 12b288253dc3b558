/**
 * Which groups may have changed since a reader looked last. Only the leader writes, and everything that it writes goes
 * through one store. So a reader that knows what was written need not read every group again and again.
 *
 * The names are taken from the values of the statements of each write, without knowing what they mean. A group can be
 * named there and not have changed; it cannot change without being named, or without a change of its open intents, which
 * every pass reads. An error of the database means that anything may have changed: another server may answer by now.
 */
import { isName } from '@antipode/protocol';
import { type Clock, hasCode } from '@antipode/runtime';
import type { KyselyPlugin, OperationNode, PrimitiveValueListNode, ValueNode } from 'kysely';
import type { Store } from './store.ts';

/** Nobody looks so many names up one by one: then everything is read. */
const NAMES_MAX = 2_000;
/**
 * A statement whose outcome is unknown can still take effect for as long as the server may work on it (servers.ts). For
 * this long after an error, the groups of failed writes are read with each look, and everything now and then.
 */
const DOUBT_MS = 30_000;

export type Touched = ReadonlySet<string> | 'all';

/** The news of one reader, since it looked last. */
export interface TouchReader {
  /** Everything since the last call, and from the first one everything. */
  take(): Touched;
  /** For a reader that could not read after all. */
  giveBack(touched: Touched): void;
}

export class TouchedGroups {
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #readers: Pending[] = [];
  #doubtedMs = Number.NEGATIVE_INFINITY;
  /** The groups that failed writes have named, and when. */
  readonly #doubted = new Map<string, number>();

  constructor({ clock }: { clock: Pick<Clock, 'monotonicMs'> }) {
    this.#clock = clock;
  }

  /**
   * @param options.againMs after an error, how long until the reader reads everything once more. Another server may answer
   * by then. If it read everything with each look, one error would make it too slow to avoid the next one.
   */
  reader({ againMs = 0 }: { againMs?: number } = {}): TouchReader {
    const made = new Pending({ clock: this.#clock, againMs, doubt: () => this.#doubt() });
    this.#readers.push(made);
    return made;
  }

  /** Undefined where no late write can follow. */
  #doubt(): Touched | undefined {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#doubtedMs >= DOUBT_MS) {
      this.#doubted.clear();
      return undefined;
    }
    for (const [name, atMs] of this.#doubted) if (nowMs - atMs >= DOUBT_MS) this.#doubted.delete(name);
    return this.#doubted.size > NAMES_MAX ? 'all' : new Set(this.#doubted.keys());
  }

  /** For a new leader: another one may have written anything. */
  touchAll(): void {
    this.#touch('all');
  }

  #touch(names: Touched): void {
    for (const reader of this.#readers) reader.giveBack(names);
  }

  /** The same store, whose writes are noted. */
  noting(store: Store): Store {
    const attempt = async <T>(work: () => Promise<T>): Promise<T> => {
      try {
        return await work();
      } catch (thrown) {
        if (hasCode(thrown, 'DATABASE_UNAVAILABLE') || hasCode(thrown, 'LEADERSHIP_LOST')) {
          this.#doubtedMs = this.#clock.monotonicMs();
          this.#touch('all');
        }
        throw thrown;
      }
    };
    return {
      query: (look) => attempt(() => store.query(look)),
      snapshot: (look) => attempt(() => store.snapshot(look)),
      write: (leaderEpoch, change) =>
        attempt(async () => {
          const names = new Names();
          const plugin = new NotingPlugin(names);
          try {
            return await store.write(leaderEpoch, (trx, record) => change(trx.withPlugin(plugin), record));
          } catch (thrown) {
            if (hasCode(thrown, 'DATABASE_UNAVAILABLE'))
              for (const name of names.found) this.#doubted.set(name, this.#clock.monotonicMs());
            throw thrown;
          } finally {
            // After the end of the transaction: a reader that comes from now on sees what it has changed.
            this.#touch(names.found);
          }
        }),
    };
  }
}

interface PendingOptions {
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly againMs: number;
  readonly doubt: () => Touched | undefined;
}

class Pending implements TouchReader {
  readonly #options: PendingOptions;
  #names: Set<string> | 'all' = 'all';
  /** When it read everything last. */
  #allMs = Number.NEGATIVE_INFINITY;
  /** It was in doubt at its last look, so it reads everything once more. */
  #wasInDoubt = false;

  constructor(options: PendingOptions) {
    this.#options = options;
  }

  take(): Touched {
    const { clock, againMs, doubt } = this.#options;
    const nowMs = clock.monotonicMs();
    const doubted = doubt();
    const isDue = this.#wasInDoubt && (doubted === undefined || nowMs - this.#allMs >= againMs);
    const taken = isDue ? 'all' : this.#names;
    if (taken === 'all') this.#allMs = nowMs;
    this.#wasInDoubt = doubted !== undefined;
    this.#names = doubted === 'all' ? doubted : new Set(doubted);
    return taken;
  }

  giveBack(touched: Touched): void {
    if (this.#names === 'all') return;
    if (touched === 'all' || this.#names.size + touched.size > NAMES_MAX) this.#names = 'all';
    else for (const name of touched) this.#names.add(name);
  }
}

/** Collects every value that can be the name of a group. */
class Names {
  readonly found = new Set<string>();

  /** Looks through a statement. It makes no copy of it, as a transformer of kysely does. */
  lookAt(node: object): void {
    const { kind } = node as OperationNode;
    if (kind === 'ValueNode') this.#note((node as ValueNode).value);
    else if (kind === 'PrimitiveValueListNode') this.#note((node as PrimitiveValueListNode).values);
    else for (const part of Object.values(node)) if (typeof part === 'object' && part !== null) this.lookAt(part);
  }

  #note(value: unknown): void {
    if (typeof value === 'string' && isName(value)) this.found.add(value);
    else if (Array.isArray(value)) for (const one of value) this.#note(one);
  }
}

class NotingPlugin implements KyselyPlugin {
  readonly #names: Names;

  constructor(names: Names) {
    this.#names = names;
  }

  transformQuery({ node }: Parameters<KyselyPlugin['transformQuery']>[0]): ReturnType<KyselyPlugin['transformQuery']> {
    // A question changes nothing, and most writes ask some.
    if (node.kind !== 'SelectQueryNode') this.#names.lookAt(node);
    return node;
  }

  async transformResult({
    result,
  }: Parameters<KyselyPlugin['transformResult']>[0]): ReturnType<KyselyPlugin['transformResult']> {
    return result;
  }
}
