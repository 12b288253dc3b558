/**
 * A partition whose identity key lies in a token of its own, away from the keys of applications: many programs use "the
 * private key of the token", and would sign with ours. Two workers behave as one provider; when either is lost, both
 * are.
 */
import type { HsmProvider, OwnKey } from '../../provider/provider.ts';
import type { WorkerProvider } from './worker-provider.ts';

/**
 * The token of the identity key makes it, finds it and signs with it; everything else is the partition's. One that was
 * made before there was a token for it is found in the partition, and used there until it has been replaced
 * (move-identity.ts).
 */
export function withIdentityIn(partition: WorkerProvider, identity: WorkerProvider): WorkerProvider {
  /** Where the identity key was found last: a handle of the one token means another object in the other. */
  let home: WorkerProvider = identity;
  const together = (inTenure: HsmProvider): HsmProvider => ({
    ...inTenure,
    generateIdentity: (ckaId) => identity.generateIdentity(ckaId),
    signAsIdentity: (handle, message) => home.signAsIdentity(handle, message),
    describe: async () => {
      const [own, other] = [await partition.describe(), await identity.describe()];
      const unenforced = [...own.unenforced, ...other.unenforced.filter((one) => !own.unenforced.includes(one))];
      return { ...own, unenforced };
    },
    // Its handle means another object in the partition, or none.
    findIdentity: async (record): Promise<OwnKey | undefined> => {
      const found = await identity.findIdentity(record);
      if (found === undefined) {
        const own = await partition.findIdentity(record);
        if (own !== undefined) home = partition;
        return own;
      }
      home = identity;
      return { handle: found.handle, companions: [], isElsewhere: true };
    },
    close: async () => {
      await Promise.all([partition.close(), identity.close()]);
    },
  });
  return {
    ...together(partition),
    under: (tenure) => together(partition.under(tenure)),
    raise: (persisted) => {
      partition.raise(persisted);
      identity.raise(persisted);
    },
    residentBytes: () => partition.residentBytes() + identity.residentBytes(),
    isLost: () => partition.isLost() || identity.isLost(),
    unansweredMs: () => Math.max(partition.unansweredMs(), identity.unansweredMs()),
    idleMs: () => Math.min(partition.idleMs(), identity.idleMs()),
  };
}
