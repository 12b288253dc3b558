/**
 * A partition whose identity key lies in a token of its own, away from the keys of applications: many programs use "the
 * private key of the token", and would sign with ours. Two workers behave as one provider; when either is lost, both are.
 */
import type { HsmProvider, OwnKey } from '../provider.ts';
import type { WorkerProvider } from './worker-provider.ts';

/** What the token of the identity key does; everything else is the partition's. */
const OF_IDENTITY = [
  'generateIdentity',
  'findIdentity',
  'signAsIdentity',
] as const satisfies readonly (keyof HsmProvider)[];

export function withIdentityIn(partition: WorkerProvider, identity: WorkerProvider): WorkerProvider {
  const ofIdentity = Object.fromEntries(OF_IDENTITY.map((name) => [name, identity[name]]));
  return {
    ...partition,
    ...ofIdentity,
    describe: async () => {
      const [own, other] = [await partition.describe(), await identity.describe()];
      const unenforced = [...own.unenforced, ...other.unenforced.filter((one) => !own.unenforced.includes(one))];
      return { ...own, unenforced };
    },
    // Its handle means another object in the partition, or none.
    findIdentity: async (record): Promise<OwnKey | undefined> => {
      const found = await identity.findIdentity(record);
      return found && { handle: found.handle, companions: [], isElsewhere: true };
    },
    residentBytes: () => partition.residentBytes() + identity.residentBytes(),
    isLost: () => partition.isLost() || identity.isLost(),
    unansweredMs: () => Math.max(partition.unansweredMs(), identity.unansweredMs()),
    close: async () => {
      await Promise.all([partition.close(), identity.close()]);
    },
  };
}
