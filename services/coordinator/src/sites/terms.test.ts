import { rejection } from '@antipode/runtime/testing';
import { describe, expect, it } from 'vitest';
import { inEpoch } from '../election.ts';
import { fakeAgent, type Order } from '../testing/fake-agent.ts';
import { FakeLeadership } from '../testing/leader.ts';
import { inTerm } from './terms.ts';

const fence = { group: 'payments', epoch: 1n, owner: 'a', requestId: 'i' };

function bench() {
  const election = new FakeLeadership();
  election.epoch = 3n;
  const orders: Order[] = [];
  const agent = fakeAgent((order) => {
    orders.push(order);
    return {};
  });
  const terms = () => orders.map(({ request }) => (request['fence'] as { term?: bigint } | undefined)?.term);
  return { election, agent, terms };
}

describe('an order', () => {
  it('names the term of the coordinator that gives it', async () => {
    const { election, agent, terms } = bench();
    await inTerm(agent, election).capture({ fence });
    await inTerm(agent, election).describe({});
    expect(terms()).toEqual([3n, undefined]);
  });

  it('does not leave once the coordinator leads no longer', async () => {
    const { election, agent, terms } = bench();
    election.epoch = undefined;
    expect((await rejection(inTerm(agent, election).capture({ fence }))).code).toBe('LEADERSHIP_LOST');
    expect(terms()).toEqual([]);
  });

  it('of an earlier term is not sent in a later one, though the same coordinator leads again', async () => {
    const { election, agent, terms } = bench();
    const outer = inTerm(inTerm(agent, election), inEpoch(election, 3n));
    await outer.capture({ fence });
    election.epoch = 5n;
    expect((await rejection(outer.capture({ fence }))).code).toBe('LEADERSHIP_LOST');
    expect((await rejection(inTerm(agent, election).capture({ fence: { ...fence, term: 3n } }))).code).toBe(
      'LEADERSHIP_LOST',
    );
    expect(terms()).toEqual([3n]);
  });
});
