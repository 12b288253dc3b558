import { FakeClock, rejection } from '@antipode/runtime/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import { type Answer, fakeAgent } from '../testing/fake-agent.ts';
import type { Agent } from './agents.ts';
import { startingOrders, WAIT_MS } from './started-orders.ts';

const CALL_MS = 5_000;
const PATIENCE_MS = 1_000;
const FENCE = { group: 'payments', epoch: 1n, owner: 'a', requestId: 'i.0' };
const RUNNING = { order: { running: true, ageMs: 0n } };
const ended = (ageMs = 0n) => ({ isNew: true, order: { running: false, ageMs } });

/** The answers of the agent, call for call; the last one stays. */
let answers: Answer[];
let calls: { method: string; request: Record<string, unknown>; timeoutMs: number | undefined }[];
let clock: FakeClock;
let closed: AbortController;
/** The marks of the journal that were heard, and how many calls there were by then. */
let marks: unknown[];
let agent: Agent;
/** How long each call takes. */
let tookMs: number;

beforeEach(() => {
  [answers, calls, clock, closed, tookMs, marks] = [[ended()], [], new FakeClock(), new AbortController(), 0, []];
  const answering = fakeAgent(async ({ method, request, options }) => {
    calls.push({ method, request, timeoutMs: options.timeoutMs });
    if (tookMs > 0) await clock.sleep(tookMs);
    return answers.length > 1 ? answers.shift()! : answers[0]!;
  });
  agent = startingOrders(answering, {
    clock,
    callMs: CALL_MS,
    patienceMs: PATIENCE_MS,
    closed: closed.signal,
    onJournal: (mark) => marks.push([mark, calls.length]),
  });
});

/** Captures while time passes. */
async function capture(options: { timeoutMs?: number; signal?: AbortSignal } = {}) {
  const answer = agent.capture({ fence: FENCE, domainKeyVersion: 1 }, options);
  answer.catch(() => {});
  for (let second = 0; second < 120; second += 1) await clock.advance(1_000);
  return answer;
}
const methodsCalled = (): string[] => calls.map(({ method }) => method);

describe('an order', () => {
  it('is asked for until it has ended, each time with the whole request', async () => {
    answers = [RUNNING, RUNNING, ended()];
    expect(await capture()).toMatchObject({ isNew: true });
    expect(calls).toEqual(
      Array.from({ length: 3 }, () => ({
        method: 'capture',
        request: { fence: FENCE, domainKeyVersion: 1, waitMs: WAIT_MS },
        timeoutMs: WAIT_MS + CALL_MS,
      })),
    );
  });

  it('that has ended tells how far the journal of the site has come', async () => {
    const journal = { id: 'j', run: 'r', writes: 4n };
    answers = [RUNNING, { ...ended(), order: { running: false, ageMs: 0n, journal } }];
    await capture();
    expect(marks).toMatchObject([[journal, 2]]);
  });

  it.each(['SITE_UNREACHABLE', 'TIMED_OUT', 'OTHER_PROCESS_ANSWERS'] as const)(
    'outlives a call that ends in %s',
    async (code) => {
      answers = [RUNNING, code, code, RUNNING, code, ended()];
      expect(await capture()).toMatchObject({ isNew: true });
    },
  );

  it('is given up when nobody answers for as long as a site may be silent', async () => {
    answers = [RUNNING, 'SITE_UNREACHABLE'];
    expect((await rejection(capture())).code).toBe('SITE_UNREACHABLE');
    expect(calls.length).toBeGreaterThan(2);
    expect(calls.length).toBeLessThan(10);
    expect(methodsCalled()).not.toContain('cancelOrder');
  });

  it('ends with what the agent says of it, at once', async () => {
    answers = [RUNNING, 'HSM_UNAVAILABLE'];
    expect((await rejection(capture())).code).toBe('HSM_UNAVAILABLE');
    expect(calls).toHaveLength(2);
  });

  it('is cancelled when it has taken longer than it may', async () => {
    answers = [RUNNING];
    tookMs = 15_000;
    expect((await rejection(capture({ timeoutMs: 20_000 }))).code).toBe('TIMED_OUT');
    expect(methodsCalled()).toEqual(['capture', 'capture', 'cancelOrder']);
    expect(calls.map(({ request }) => request['waitMs'])).toEqual([WAIT_MS, 5_000, undefined]);
    expect(calls[2]!.request).toEqual({ fence: FENCE });
  });

  it('is cancelled when its caller gives up', async () => {
    const giveUp = new AbortController();
    answers = ['SITE_UNREACHABLE'];
    giveUp.abort();
    expect((await rejection(capture({ signal: giveUp.signal }))).code).toBe('SITE_UNREACHABLE');
    expect(methodsCalled()).toEqual(['capture', 'cancelOrder']);
  });

  it('goes on without us when this coordinator closes: the next leader joins it', async () => {
    answers = [RUNNING, 'SITE_UNREACHABLE'];
    closed.abort();
    expect((await rejection(capture())).code).toBe('SITE_UNREACHABLE');
    expect(methodsCalled()).toEqual(['capture', 'capture']);
  });

  it('is as old as the agent says, and as the call on top', async () => {
    tookMs = 400;
    answers = [ended(70_000n)];
    expect((await capture()).order?.ageMs).toBe(70_400n);
  });
});

it('what is done at once is called as it is', async () => {
  await agent.setRole({ fence: FENCE }, { timeoutMs: 10 });
  expect(calls).toEqual([{ method: 'setRole', request: { fence: FENCE }, timeoutMs: 10 }]);
});
