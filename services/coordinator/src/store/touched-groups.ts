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
import { type KyselyPlugin, OperationNodeTransformer, type PrimitiveValueListNode, type ValueNode } from 'kysely';
import type { Store } from './store.ts';

/** Nobody looks so many names up one by one: then everything is read. */
const NAMES_MAX = 2_000;
/**
 * A statement whose outcome is unknown can still take effect for as long as the server may work on it (servers.ts). For
 * this long after an error everything is read.
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

  constructor({ clock }: { clock: Pick<Clock, 'monotonicMs'> }) {
    this.#clock = clock;
  }

  reader(): TouchReader {
    const made = new Pending(() => this.#clock.monotonicMs() - this.#doubtedMs < DOUBT_MS);
    this.#readers.push(made);
    return made;
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
          } finally {
            // After the end of the transaction: a reader that comes from now on sees what it has changed.
            this.#touch(names.found);
          }
        }),
    };
  }
}

class Pending implements TouchReader {
  readonly #isInDoubt: () => boolean;
  #names: Set<string> | 'all' = 'all';

  constructor(isInDoubt: () => boolean) {
    this.#isInDoubt = isInDoubt;
  }

  take(): Touched {
    const taken = this.#names;
    this.#names = this.#isInDoubt() ? 'all' : new Set();
    return taken;
  }

  giveBack(touched: Touched): void {
    if (this.#names === 'all') return;
    if (touched === 'all' || this.#names.size + touched.size > NAMES_MAX) this.#names = 'all';
    else for (const name of touched) this.#names.add(name);
  }
}

/** Collects every value that can be the name of a group. */
class Names extends OperationNodeTransformer {
  readonly found = new Set<string>();

  protected override transformValue(node: ValueNode): ValueNode {
    this.#note(node.value);
    return node;
  }

  protected override transformPrimitiveValueList(node: PrimitiveValueListNode): PrimitiveValueListNode {
    for (const value of node.values) this.#note(value);
    return node;
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
    if (node.kind !== 'SelectQueryNode') this.#names.transformNode(node);
    return node;
  }

  async transformResult({
    result,
  }: Parameters<KyselyPlugin['transformResult']>[0]): ReturnType<KyselyPlugin['transformResult']> {
    return result;
  }
}
