/**
 * Refuses orders of a tenure that is over. The highest epoch is persisted before anything is done under it (I2), and an
 * epoch has one owner for ever (I1). A higher epoch ends an active seat here in the same transaction, even if this site
 * owns the epoch: a new tenure begins with a promotion.
 */
import { AntipodeError } from '@antipode/runtime';
import type { PersistedFence, TenureRecords } from '../storage/journal/tenure.ts';

/**
 * A corrupt or restored database could send the counter flying, so a person must look at a larger jump first. This
 * holds even for a group that was never heard of: no honest group begins with more tenures than that behind it.
 */
const EPOCH_JUMP_MAX = 1_000n;
/** The highest number that the journal keeps exactly. No honest counter comes near it. */
const EPOCH_MAX = BigInt(Number.MAX_SAFE_INTEGER);

/** `raise` is durable on return, and ends the tenure of an active seat in the same transaction. */
type FenceRecords = Pick<TenureRecords, 'fence' | 'raise'>;

export class FenceKeeper {
  readonly #records: FenceRecords;
  /** Told of each higher epoch, once it is persisted. */
  onRaised: (raised: { readonly group: string; readonly epoch: bigint }) => void = () => {};

  constructor({ records }: { records: FenceRecords }) {
    this.#records = records;
  }

  /**
   * Admits an order, persisting its epoch first where it is higher.
   * @throws EPOCH_STALE, EPOCH_CONFLICT
   */
  admit(order: { group: string; epoch: bigint; owner: string }): void {
    if (!this.examine(order)) return;
    const { group, epoch, owner } = order;
    this.#records.raise(group, { epoch, owner });
    this.onRaised({ group, epoch });
  }

  /**
   * Whether the order's epoch is higher than the persisted one, for an order that persists it with what it changes.
   * @throws EPOCH_STALE, EPOCH_CONFLICT
   */
  examine({ group, epoch, owner }: { group: string; epoch: bigint; owner: string }): boolean {
    const highest = this.#records.fence(group);
    if (highest !== undefined && epoch < highest.epoch) throw stale(group, epoch, highest);
    if (highest !== undefined && epoch === highest.epoch) {
      if (owner === highest.owner) return false;
      throw conflict({ group, epoch, owner }, highest);
    }
    const persisted = highest?.epoch ?? 0n;
    if (epoch > persisted + EPOCH_JUMP_MAX || epoch > EPOCH_MAX) {
      throw new AntipodeError('EPOCH_CONFLICT', `epoch ${epoch} of group ${group} jumps from ${persisted}`, {
        details: { group, epoch, persisted },
      });
    }
    return true;
  }

  /** Looks once more, right before a write. @throws EPOCH_STALE */
  check(group: string, epoch: bigint): void {
    const highest = this.#records.fence(group);
    if (highest !== undefined && epoch < highest.epoch) throw stale(group, epoch, highest);
  }

  /**
   * Checks a tenure that a peer claims, and never admits it.
   * @throws EPOCH_STALE, EPOCH_CONFLICT
   */
  checkPeer({ group, epoch, owner }: { group: string; epoch: bigint; owner: string }): void {
    const highest = this.#records.fence(group);
    this.check(group, epoch);
    if (highest !== undefined && epoch === highest.epoch && owner !== highest.owner)
      throw conflict({ group, epoch, owner }, highest);
  }
}

/**
 * For a command that changes a token beside the agent, in a worker that knows no epochs: the epoch of its beginning must
 * still be the highest. Asked before each change.
 */
export function sameTenure(records: Pick<TenureRecords, 'fence'>, group: string): () => void {
  const epoch = records.fence(group)?.epoch ?? 0n;
  return () => {
    const now = records.fence(group);
    if (now !== undefined && now.epoch > epoch) throw stale(group, epoch, now);
  };
}

function conflict(
  { group, epoch, owner }: { group: string; epoch: bigint; owner: string },
  highest: PersistedFence,
): AntipodeError {
  return new AntipodeError(
    'EPOCH_CONFLICT',
    `epoch ${epoch} of group ${group} is claimed for ${owner}, but belongs to ${highest.owner}`,
    { details: { group, epoch, owner, persistedOwner: highest.owner } },
  );
}

function stale(group: string, epoch: bigint, highest: PersistedFence): AntipodeError {
  return new AntipodeError(
    'EPOCH_STALE',
    `the order has epoch ${epoch}, group ${group} is at ${highest.epoch} of ${highest.owner}`,
    {
      details: { group, epoch, persisted: highest.epoch, owner: highest.owner },
    },
  );
}
