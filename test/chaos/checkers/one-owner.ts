/** I1: an epoch has one owner for ever, in every journal and in the database, and one active member. */
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
    look: (change, { members, voters }) => {
      if (change.kind === 'epoch') return learn(change.epoch, change.owner);
      if (change.kind !== 'journal') return undefined;
      const member = voters.find(({ site }) => site === change.site);
      const twin = members.find(
        ({ site, role, epoch }) => site !== member?.site && role === 'active' && epoch === member?.epoch,
      );
      if (member?.role === 'active' && twin !== undefined)
        return `epoch ${member.epoch} has two active members: ${member.site} and ${twin.site}`;
      return member === undefined || member.epoch === 0n ? undefined : learn(member.epoch, member.owner);
    },
  };
};
