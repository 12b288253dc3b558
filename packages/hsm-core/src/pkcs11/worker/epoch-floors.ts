/**
 * The last look at the epoch, right before a token is changed (I2). The agent tells each epoch here as soon as it has
 * persisted it, apart from all orders. Each change names the tenure that it is for. So an order that was on its way, or
 * that nobody checked, changes nothing under an epoch that is over.
 */
import { AntipodeError } from '@antipode/runtime';
import type { HsmProvider } from '../../provider/provider.ts';
import { METHODS, type Method } from './messages.ts';

export interface GroupEpoch {
  readonly group: string;
  readonly epoch: bigint;
}

export const changesToken = (method: Method): boolean => METHODS[method].endsWith('write');

export class EpochFloors {
  #floors: ReadonlyMap<string, bigint> | undefined;

  /** Never lower than before. Before the first call nothing is changed at all. */
  raise(persisted: readonly GroupEpoch[]): void {
    const floors = new Map(this.#floors);
    for (const { group, epoch } of persisted) if (epoch >= (floors.get(group) ?? 0n)) floors.set(group, epoch);
    this.#floors = floors;
  }

  /** @throws EPOCH_STALE, WRITE_UNFENCED */
  check(method: Method, tenure: GroupEpoch | undefined): void {
    if (!changesToken(method)) return;
    if (this.#floors === undefined || tenure === undefined) {
      const what =
        tenure === undefined ? 'names no tenure' : 'comes before the agent has said which epochs it has persisted';
      throw new AntipodeError('WRITE_UNFENCED', `a change of the token (${method}) ${what}`, { details: { method } });
    }
    const { group, epoch } = tenure;
    const persisted = this.#floors.get(group) ?? 0n;
    if (epoch >= persisted) return;
    throw new AntipodeError(
      'EPOCH_STALE',
      `a change of the token (${method}) is for epoch ${epoch}, group ${group} is at ${persisted}`,
      { details: { group, epoch, persisted, method } },
    );
  }
}

/** A provider in this process, under the same rule. */
export function underTenure<Provider extends HsmProvider>(
  provider: Provider,
  floors: EpochFloors,
  tenure?: GroupEpoch,
): Provider {
  return new Proxy(provider, {
    get: (target, name) => {
      const member = Reflect.get(target, name, target) as unknown;
      if (typeof member !== 'function') return member;
      const call = member as (...args: unknown[]) => unknown;
      if (!(typeof name === 'string' && name in METHODS && changesToken(name as Method))) return call.bind(target);
      return async (...args: unknown[]) => {
        floors.check(name as Method, tenure);
        return call.apply(target, args);
      };
    },
  });
}
