import { rejection } from '@antipode/runtime/testing';
import { describe, expect, it } from 'vitest';
import { type Answer, fakeAgent, type Order } from '../testing/fake-agent.ts';
import { toProcess } from './addressee.ts';

const fence = { group: 'payments', epoch: 1n, owner: 'a', requestId: 'i' };

/** The process `speaks` speaks for site b, and every call to its address is answered so. */
function bench(speaks: string, answer: Answer = {}) {
  const orders: Order[] = [];
  const heard = { instance: speaks };
  const agent = fakeAgent((order) => {
    orders.push(order);
    return answer;
  });
  return { orders, heard, agent: toProcess(agent, { site: 'b', instance: () => heard.instance }) };
}

describe('a call to a site', () => {
  it('names the process that speaks for the site, in each order', async () => {
    const { agent, orders } = bench('first');
    await agent.capture({ fence, domainKeyVersion: 1 });
    await agent.describe({});
    expect(orders.map(({ request }) => request)).toEqual([
      { fence: { ...fence, instance: 'first' }, domainKeyVersion: 1 },
      {},
    ]);
  });

  it('gives no order before any process was heard, and may ask', async () => {
    const { agent, orders } = bench('', { instance: 'somebody' });
    expect((await rejection(agent.persistEpoch({ fence }))).code).toBe('SITE_UNREACHABLE');
    expect(await agent.describe({})).toMatchObject({ instance: 'somebody' });
    expect(orders.map(({ method }) => method)).toEqual(['describe']);
  });

  it.each(['describe', 'ping', 'probePeer', 'persistEpoch', 'setRole'] as const)(
    'takes no answer of another process to %s',
    async (method) => {
      const ask = (found: string) => {
        const { agent } = bench('original', { instance: found });
        return agent[method]({ fence } as object);
      };
      expect(await ask('original')).toMatchObject({ instance: 'original' });
      // An agent of an earlier release names no process in some answers.
      expect(await ask('')).toMatchObject({ instance: '' });
      expect(await rejection(ask('copy'))).toMatchObject({
        code: 'OTHER_PROCESS_ANSWERS',
        details: { site: 'b', expected: 'original', found: 'copy' },
      });
    },
  );

  it('takes no answer of a process that another one has followed meanwhile', async () => {
    const { agent, heard } = bench('first', { instance: 'first' });
    const answer = agent.persistEpoch({ fence });
    heard.instance = 'second';
    expect((await rejection(answer)).code).toBe('OTHER_PROCESS_ANSWERS');
  });
});
