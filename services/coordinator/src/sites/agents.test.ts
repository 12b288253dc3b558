import type { ErrorCode } from '@antipode/runtime';
import { rejection, thrown } from '@antipode/runtime/testing';
import { describe, expect, it } from 'vitest';
import { fakeAgent, type Order } from '../testing/fake-agent.ts';
import { FakeLeadership } from '../testing/leader.ts';
import { Agents } from './agents.ts';
import type { SiteView } from './detector.ts';

const TIMEOUT_MS = 400;
const [OBSERVER, SUSPECT] = ['b', 'a'].map((site) => ({ site, address: `${site}:1` }) as SiteView);

/** The verdict of the coordinator on an observer that answers so. */
function probing(answer: { reachable: boolean; observerLoopDelayMs: number } | ErrorCode) {
  const agents = new Agents({
    dial: () => agent,
    addressOf: (site) => `${site}:1`,
    instanceOf: (site) => `process of ${site}`,
    election: new FakeLeadership(),
  });
  const orders: Order[] = [];
  const agent = fakeAgent((order) => {
    orders.push(order);
    return answer;
  });
  return { orders, verdict: agents.probe(OBSERVER!, SUSPECT!, TIMEOUT_MS) };
}

/** Every call of an order goes through {@link Agents.client}: votes, acknowledgements and accounts alike. */
it('takes an answer from nobody but the process that speaks for the site', async () => {
  const copy = fakeAgent(() => ({ instance: 'copy of b' }));
  const agents = new Agents({
    dial: () => copy,
    addressOf: (site) => `${site}:1`,
    instanceOf: (site) => `process of ${site}`,
    election: new FakeLeadership(),
  });
  const fence = { group: 'payments', epoch: 2n, owner: 'c', requestId: 'i' };
  const outcomes = [
    agents.client('b').setRole({ fence }),
    agents.client('b').persistEpoch({ fence }),
    agents.client('b').describe({}),
  ];
  for (const outcome of outcomes) expect((await rejection(outcome)).code).toBe('OTHER_PROCESS_ANSWERS');
  expect(await agents.probe(OBSERVER!, SUSPECT!, TIMEOUT_MS)).toBeUndefined();
});

describe('what one site says of another', () => {
  it.each([
    [true, 0, true],
    [false, 0, false],
    [false, TIMEOUT_MS, false],
    [true, TIMEOUT_MS + 1, true],
    [false, TIMEOUT_MS + 1, undefined],
  ])('is %s from an observer that was %i ms late: %s', async (reachable, observerLoopDelayMs, verdict) => {
    expect(await probing({ reachable, observerLoopDelayMs }).verdict).toBe(verdict);
  });

  it.each(['SITE_UNREACHABLE', 'TIMED_OUT', 'CERTIFICATE_INVALID', 'PEER_REFUSED', 'EPOCH_STALE'] as const)(
    'is nothing where the observer ends in %s',
    async (code) => {
      expect(await probing(code).verdict).toBeUndefined();
    },
  );

  it('is not known where this process itself is defective', async () => {
    expect((await rejection(probing('INVARIANT_BROKEN').verdict)).code).toBe('INVARIANT_BROKEN');
  });

  it('is asked for with the address of the suspect, and waited for longer than it may take', async () => {
    const { orders, verdict } = probing({ reachable: true, observerLoopDelayMs: 0 });
    await verdict;
    const peer = { site: 'a', address: 'a:1' };
    expect(orders).toEqual([
      { method: 'probePeer', request: { peer, timeoutMs: TIMEOUT_MS }, options: { timeoutMs: TIMEOUT_MS * 2 } },
    ]);
  });
});

it.each([undefined, ''])('a site whose address is "%s" cannot be reached yet', (address) => {
  const agents = new Agents({
    dial: () => fakeAgent(() => ({})),
    addressOf: () => address,
    instanceOf: () => '',
    election: new FakeLeadership(),
  });
  expect(thrown(() => agents.client('a')).code).toBe('SITE_UNREACHABLE');
  expect(agents.address('a')).toEqual({ site: 'a', address: '' });
});

it('tells the answer of each site that it keeps warm, and says nothing of sites when it has lost the lead', async () => {
  const answers = new Map<string, ErrorCode>([
    ['b', 'SITE_UNREACHABLE'],
    ['c', 'LEADERSHIP_LOST'],
  ]);
  const agents = new Agents({
    dial: ({ site }) => fakeAgent(() => answers.get(site) ?? {}),
    addressOf: (site) => `${site}:1`,
    instanceOf: (site) => `process of ${site}`,
    election: new FakeLeadership(),
  });
  const told: string[] = [];
  await agents.keepWarm(['a', 'b', 'c'], (site, error) => told.push(`${site} ${error?.code ?? 'answers'}`));
  expect(told.sort()).toEqual(['a answers', 'b SITE_UNREACHABLE']);
});
