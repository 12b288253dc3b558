/** I1: an epoch has one owner for ever, in every journal and in the database. */
import type { JournalChecker } from './checker.ts';

export const oneOwner = (): JournalChecker => {
  const owners = new Map<bigint, string>();
  const learn = (epoch: bigint, owner: string): string | undefined => {
    const before = owners.get(epoch);
    if (before === undefined) owners.set(epoch, owner);
    return before === undefined || before === owner
      ? undefined
      : `epoch ${epoch} has two owners: ${before} and ${owner}`;
  };
  return {
    invariant: 'I1',
    name: 'one-owner',
    look: (change, { members }) => {
      if (change.kind === 'epoch') return learn(change.epoch, change.owner);
      if (change.kind !== 'journal') return undefined;
      const member = members.find(({ site }) => site === change.site);
      return member === undefined || member.epoch === 0n ? undefined : learn(member.epoch, member.owner);
    },
  };
};
