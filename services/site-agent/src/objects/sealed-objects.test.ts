import { SimulatedGroup } from '@antipode/hsm-core/testing';
import { seededPrng } from '@antipode/runtime';
import { expect, it } from 'vitest';
import { Journal } from '../storage/journal/journal.ts';
import { deletedIn } from './sealed-objects.ts';

it('lists a key that lies hidden in the store of the token, for somebody to restore or to accept', async () => {
  const { group, members } = await SimulatedGroup.make('a');
  const [a] = members;
  const secret = a!.hsm.addSecret('secret');
  const first = (await group.captured(a!)).generation.entries[0]!;
  a!.hsm.objects.splice(a!.hsm.objects.indexOf(secret), 1);
  const look = a!.provider.look.bind(a!.provider);
  const hidden = [{ id: 'ff'.repeat(16), hasContent: true, seenTwice: true }];
  a!.provider.look = async (options) => ({ ...(await look(options)), hidden });
  const newest = await group.captured(a!);
  const journal = Journal.inMemory({ prng: seededPrng('hidden') });
  journal.tenure.setSeat(group.name, 'a', 'active');
  const seat = journal.tenure.seat(group.name)!;
  const store = { hasSoundBlob: () => true };
  expect(deletedIn({ journal, store, seat, newest, asides: [] }, group.name)).toMatchObject([
    { objectId: first.objectId, state: 'unreadable', isAccepted: false, isRestorable: true },
  ]);
  // This token does not take it: other members have it, and nothing is to be decided here.
  const refused = { objectId: first.objectId, kind: 'secret-key', code: 'HSM_REFUSED', returnValue: '' } as const;
  journal.findings.setRefused(seat, [refused]);
  expect(deletedIn({ journal, store, seat, newest, asides: [] }, group.name)).toEqual([]);
  journal.close();
});
