import { AntipodeError, hasCode, seededPrng, silentLog } from '@antipode/runtime';
import { FakeClock } from '@antipode/runtime/testing';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { type Answer, type Hook, hookFailed, type NoticeMessage } from '../hooks/hook.ts';
import type { Store } from '../store/store.ts';
import { putNotice, readNotices, readReceivers } from '../store/tables/notices.ts';
import { testDatabase } from '../testing/database.ts';
import { FakeLeadership } from '../testing/leader.ts';
import type { NoticeKind } from './causes.ts';
import type { Seen } from './conditions.ts';
import type { Notice } from './ledger.ts';
import { ITEMS_MAX } from './message.ts';
import { Notices } from './notices.ts';
import { failingOf, type Receiver, Receivers } from './receivers.ts';

const database = testDatabase();
let clock: FakeClock;
let heard: NoticeMessage[];
let answer: (message: NoticeMessage) => Answer | Promise<Answer>;
beforeEach(() => {
  clock = new FakeClock();
  heard = [];
  answer = () => ({ isAccepted: true, reason: '' });
});

const ALL = { way: 'web', severities: ['page', 'ticket', 'info'], groups: [], resolved: true } as const;
const receiver = (name = 'desk', options: Partial<Receiver> = {}): Receiver => ({
  ...ALL,
  hook: hookNamed(name),
  ...options,
});
const hookNamed = (name: string): Hook => ({
  name,
  call: async (message) => {
    heard.push(message as NoticeMessage);
    return answer(message as NoticeMessage);
  },
});
/** Of one leader after another. */
const leader = (
  all: readonly Receiver[] = [receiver()],
  { store = database.store, election = new FakeLeadership() }: { store?: Store; election?: FakeLeadership } = {},
) =>
  new Receivers(all, {
    store,
    election,
    clock,
    toWallMs: (atMs) => atMs,
    groupsAt: (site) => (site === 'b' ? ['payments'] : []),
    prng: seededPrng('receivers'),
    log: silentLog,
    factor: 1,
  });
const pass = (receivers: Receivers): Promise<unknown> =>
  Promise.all(receivers.all.map(({ hook }) => receivers.pass(hook.name)));
/** Long enough for what began together to be told together. */
const collected = (): Promise<void> => clock.advance(10_000);

function notice(kind: NoticeKind, { group = '', site = '', ...more }: Partial<Notice> = {}): Notice {
  const nowMs = Math.round(clock.wallMs());
  return {
    id: `${kind}/${group}${site}@${nowMs}`,
    kind,
    group,
    site,
    text: `${kind} ${group}${site}`,
    sinceMs: nowMs,
    raisedMs: nowMs,
    ...more,
  };
}
const put = (...notices: Notice[]): Promise<void> =>
  database.rows.write(async (trx) => {
    for (const one of notices) await putNotice(trx, one);
  });
const states = (message: NoticeMessage | undefined): string[] =>
  (message?.notices ?? []).map(({ id, state }) => `${id.split('@')[0]} ${state}`);

describe('a receiver hears', () => {
  it('of a notice once, and once of its end, whoever leads', async () => {
    await pass(leader());
    const down = notice('site-down', { site: 'b' });
    await put(down);
    await collected();
    await pass(leader());
    await pass(leader());
    expect(heard.map(states)).toEqual([['site-down/b raised']]);
    await put({ ...down, absentMs: clock.wallMs(), resolvedMs: clock.wallMs() });
    await collected();
    await pass(leader());
    await pass(leader());
    expect(heard.map(states)).toEqual([['site-down/b raised'], ['site-down/b resolved']]);
    expect(heard[1]).toMatchObject({ summary: 'Resolved: site-down b', severity: 'info' });
  });

  it('of a storm in one digest, the worst first, with a count of what it has no room for', async () => {
    await pass(leader());
    await put(notice('group-failing', { group: 'payments' }));
    await put(...Array.from({ length: 60 }, (_, at) => notice('site-down', { site: `s${at}` })));
    await collected();
    await pass(leader());
    expect(heard).toHaveLength(1);
    expect(heard[0]).toMatchObject({ severity: 'page', others: 61 - ITEMS_MAX });
    expect(heard[0]!.summary).toMatch(/^61 notices: 50 site-down/);
    await collected();
    await pass(leader());
    expect(heard).toHaveLength(1);
  });

  it('of what began and ended while it was away, in one message', async () => {
    await pass(leader());
    answer = () => Promise.reject(hookFailed('desk', 'away', 'receiver'));
    await put(notice('site-down', { site: 'a' }));
    await collected();
    const receivers = leader();
    await pass(receivers);
    await put(notice('site-down', { site: 'b', absentMs: 1, resolvedMs: clock.wallMs() }));
    answer = () => ({ isAccepted: true, reason: '' });
    await clock.advance(60 * 60_000);
    await pass(receivers);
    await pass(receivers);
    expect(heard.map(states)).toEqual([['site-down/a raised'], ['site-down/a raised'], ['site-down/b resolved']]);
  });

  it('only of its severities, of its groups, and of sites with a part of them', async () => {
    const receivers = leader([
      receiver('pager', { severities: ['page'] }),
      receiver('payments', { groups: ['payments'] }),
    ]);
    await pass(receivers);
    await put(
      notice('site-down', { site: 'b' }),
      notice('site-down', { site: 'c' }),
      notice('group-failing', { group: 'payments' }),
      notice('group-failing', { group: 'wages' }),
      notice('planning-fails'),
    );
    await collected();
    await receivers.pass('pager');
    expect(states(heard.pop())).toEqual(['planning-fails/ raised', 'site-down/b raised', 'site-down/c raised'].sort());
    await receivers.pass('payments');
    expect(states(heard.pop()).sort()).toEqual([
      'group-failing/payments raised',
      'planning-fails/ raised',
      'site-down/b raised',
    ]);
  });

  it('nothing of an end if it does not want to, nor of what had ended before it was configured', async () => {
    await put(notice('site-down', { site: 'a', absentMs: 1, resolvedMs: clock.wallMs() - 1 }));
    const receivers = leader([receiver('desk', { resolved: false })]);
    await pass(receivers);
    const down = notice('site-down', { site: 'b' });
    await put(down);
    await collected();
    await pass(receivers);
    await put({ ...down, resolvedMs: clock.wallMs() });
    await collected();
    await pass(receivers);
    expect(heard.map(states)).toEqual([['site-down/b raised']]);
  });

  it('of an event as it was, even after it is news no more', async () => {
    await pass(leader());
    await put(notice('failed-over', { group: 'payments', resolvedMs: clock.wallMs() }));
    await collected();
    await pass(leader());
    await pass(leader());
    expect(heard.map(states)).toEqual([['failed-over/payments raised']]);
  });

  it('nothing from a coordinator that does not lead', async () => {
    const election = new FakeLeadership();
    election.epoch = undefined;
    await put(notice('site-down', { site: 'b' }));
    await pass(leader([receiver()], { election }));
    expect(heard).toEqual([]);
  });
});

describe('a receiver that fails', () => {
  it('is tried ever less often with the same message, and shown meanwhile', async () => {
    await pass(leader());
    await put(notice('site-down', { site: 'b' }));
    await collected();
    answer = () => Promise.reject(hookFailed('desk', 'away', 'receiver'));
    const receivers = leader();
    for (let second = 0; second < 60; second += 1) {
      await pass(receivers);
      // Later notices do not change the message.
      if (second === 2) await put(notice('site-down', { site: 'c' }));
      await clock.advance(1_000);
    }
    expect(heard.length).toBeGreaterThan(3);
    expect(heard.length).toBeLessThan(12);
    expect(new Set(heard.map((one) => JSON.stringify(one))).size).toBe(1);
    expect(receivers.troubles).toMatchObject([
      { receiver: 'desk', message: expect.stringContaining('NOTICE_UNDELIVERED') },
    ]);
    answer = () => ({ isAccepted: false, reason: 'full' });
    await clock.advance(10 * 60_000);
    await pass(receivers);
    expect(receivers.troubles[0]?.message).toContain('receiver desk refused the message: full');
    answer = () => ({ isAccepted: true, reason: '' });
    await clock.advance(10 * 60_000);
    await pass(receivers);
    await pass(receivers);
    expect(states(heard.at(-1))).toEqual(['site-down/c raised']);
    expect(receivers.troubles).toEqual([]);
  });

  it('has failed since its message was made, also under a leader that was not there', async () => {
    await pass(leader());
    await put(notice('site-down', { site: 'b' }));
    await collected();
    answer = () => Promise.reject(hookFailed('desk', 'away', 'receiver'));
    await pass(leader());
    await clock.advance(60_000);
    const next = leader();
    await pass(next);
    expect(failingOf(next, clock.monotonicMs())).toEqual(['desk']);
    expect(failingOf(next, clock.monotonicMs() - 1)).toEqual([]);
  });

  it('passes a message on to some only is named in the log, and has the message', async () => {
    const warn = vi.spyOn(silentLog, 'warn');
    answer = () => ({ isAccepted: true, reason: 'refused for gone@example.org', isPartial: true });
    const receivers = leader();
    await pass(receivers);
    await put(notice('site-down', { site: 'c' }));
    await collected();
    await pass(receivers);
    await pass(receivers);
    expect(heard.length).toBe(1);
    expect(warn.mock.calls).toEqual([
      [expect.any(String), { receiver: 'desk', reason: 'refused for gone@example.org' }],
    ]);
    warn.mockRestore();
  });

  it('or hangs holds up no other receiver', async () => {
    const hangs = Promise.withResolvers<Answer>();
    const slow: Receiver = { ...receiver('slow'), hook: { name: 'slow', call: () => hangs.promise } };
    const receivers = leader([slow, receiver('quick')]);
    await pass(receivers);
    await put(notice('site-down', { site: 'b' }));
    await collected();
    const hanging = receivers.pass('slow');
    await receivers.pass('quick');
    expect(heard.map(states)).toEqual([['site-down/b raised']]);
    hangs.resolve({ isAccepted: true, reason: '' });
    await hanging;
  });

  it('by a defect of ours ends the pass with it', async () => {
    await pass(leader());
    await put(notice('site-down', { site: 'b' }));
    await collected();
    answer = () => Promise.reject(new AntipodeError('INVARIANT_BROKEN', 'odd'));
    await expect(pass(leader())).rejects.toMatchObject({ code: 'INVARIANT_BROKEN' });
  });
});

describe('a leader', () => {
  it('that loses its lease while the database works sends nothing, and its successor sends the message', async () => {
    await pass(leader());
    await put(notice('site-down', { site: 'b' }));
    await collected();
    const election = new FakeLeadership();
    const { store } = database;
    const slow: Store = {
      write: async (epoch, change) => {
        const result = await store.write(epoch, change);
        election.epoch = undefined;
        return result;
      },
      query: (look) => store.query(look),
      snapshot: (look) => store.snapshot(look),
    };
    await pass(leader([receiver()], { store: slow, election }));
    expect(heard).toEqual([]);
    await pass(leader());
    expect(heard.map(states)).toEqual([['site-down/b raised']]);
  });

  it('counts its messages within its term, so that a late one is known', async () => {
    const first = leader();
    await pass(first);
    for (const site of ['a', 'b']) {
      await put(notice('site-down', { site }));
      await collected();
      await pass(first);
    }
    expect(heard.map(({ place }) => place)).toEqual([1, 2].map((number) => ({ term: '0', number })));
  });
});

describe('a takeover in the middle of a delivery', () => {
  const killed = (): AntipodeError => new AntipodeError('LEADERSHIP_LOST', 'killed');
  /** Does so many steps, and then nothing: each statement, and each call of a receiver, is one. */
  function mortal(steps: number): { store: Store; hook: Hook; left: () => number } {
    let left = steps;
    const step = async <T>(work: () => Promise<T>): Promise<T> => {
      if (left <= 0) throw killed();
      left -= 1;
      const result = await work();
      // It has happened, and the coordinator learns of it no more.
      if (left <= 0) throw killed();
      return result;
    };
    const { store } = database;
    return {
      left: () => left,
      store: {
        write: (epoch, change) => step(() => store.write(epoch, change)),
        query: (look) => step(() => store.query(look)),
        snapshot: (look) => step(() => store.snapshot(look)),
      },
      hook: { name: 'desk', call: (message) => step(() => hookNamed('desk').call(message)) },
    };
  }

  it.each(Array.from({ length: 12 }, (_, steps) => steps + 1))(
    'at step %i loses no notice, and doubles none but under its id',
    async (steps) => {
      await pass(leader());
      const life = mortal(steps);
      const first = leader([{ ...receiver(), hook: life.hook }], { store: life.store });
      const ofFirst = async (): Promise<void> => {
        await pass(first).catch((thrown: unknown) => {
          if (!hasCode(thrown, 'LEADERSHIP_LOST')) throw thrown;
        });
      };
      const down = notice('site-down', { site: 'b' });
      await put(down);
      await ofFirst();
      await collected();
      await ofFirst();
      await put(notice('site-down', { site: 'c' }));
      await put({ ...down, absentMs: clock.wallMs(), resolvedMs: clock.wallMs() });
      await collected();
      await ofFirst();
      const second = leader();
      for (let passes = 0; passes < 6; passes += 1) {
        await pass(second);
        await collected();
      }
      const told = new Map(heard.map((message) => [message.id, message]));
      const once = [...told.values()].flatMap(states);
      expect(new Set(once).size).toBe(once.length);
      expect(once).toContain('site-down/c raised');
      expect(once).toContain('site-down/b resolved');
      // The same id is the same message, to the letter.
      for (const message of heard) expect(message).toEqual(told.get(message.id));
      if (life.left() > 0) expect(heard.length).toBe(told.size);
    },
  );
});

describe('the record', () => {
  const seen = (down: readonly string[]): Seen => ({
    coordinator: 'main',
    groups: [],
    unreadable: [],
    sites: ['a', 'b'].map((site) => ({
      site,
      status: down.includes(site) ? 'down' : 'up',
      reason: '',
      address: '',
      instance: site,
      lastMs: 0,
      lastWallMs: 0,
      failedRounds: 0,
      state: undefined,
    })),
    claimed: [],
    waiting: [],
    parked: [],
    failovers: [],
    approvals: [],
    troubles: [],
    hooks: [],
    receivers: [],
    isQueueUp: true,
    certificate: undefined,
    calendarMs: 0,
  });
  const notices = (receivers: Receivers, down: () => readonly string[], sinceMs = -60_000) =>
    new Notices({
      store: database.store,
      election: Object.assign(new FakeLeadership(), { sinceMs }),
      clock,
      log: silentLog,
      receivers,
      see: async () => seen(down()),
      settleMs: 15_000,
      factor: 1,
    });
  const onRecord = () => database.store.query(readNotices);

  it('goes on over a takeover: a wait is not begun again, and the end is forgotten when all know it', async () => {
    let down: string[] = ['b'];
    const receivers = leader();
    await pass(receivers);
    await notices(receivers, () => down).pass();
    await clock.advance(119_000);
    await notices(receivers, () => down).pass();
    expect(await onRecord()).toMatchObject([{ raisedMs: undefined }]);
    await clock.advance(1_000);
    await notices(receivers, () => down).pass();
    expect(await onRecord()).toMatchObject([{ kind: 'site-down', site: 'b', raisedMs: clock.wallMs() }]);
    await collected();
    await pass(receivers);
    down = [];
    await notices(receivers, () => down).pass();
    await clock.advance(5 * 60_000);
    const looks = notices(receivers, () => down);
    await looks.pass();
    expect(await onRecord()).toMatchObject([{ resolvedMs: clock.wallMs() }]);
    await looks.pass();
    expect(await onRecord()).toHaveLength(1);
    await collected();
    await pass(receivers);
    await looks.pass();
    expect(await onRecord()).toEqual([]);
    expect(heard.map(states)).toEqual([['site-down/site=b raised'], ['site-down/site=b resolved']]);
    expect(await database.store.query((db) => db.selectFrom('notice_told').selectAll().execute())).toEqual([]);
  });

  it('is not touched by a new leader that has not heard its sites yet', async () => {
    const looks = notices(leader(), () => ['b'], clock.monotonicMs());
    await looks.pass();
    expect(looks.passedMs).toBeUndefined();
    expect(await onRecord()).toEqual([]);
    await clock.advance(15_000);
    await looks.pass();
    expect(await onRecord()).toHaveLength(1);
  });

  it('forgets a receiver that is configured no more, and a dead one does not keep what is over for ever', async () => {
    const both = leader([receiver('desk'), receiver('former')]);
    await pass(both);
    answer = () => Promise.reject(hookFailed('desk', 'away', 'receiver'));
    await put(notice('site-down', { site: 'b', absentMs: 1, resolvedMs: clock.wallMs() }));
    await collected();
    const receivers = leader();
    await pass(receivers);
    const looks = notices(receivers, () => []);
    await looks.pass();
    expect((await database.store.query(readReceivers)).map(({ name }) => name)).toEqual(['desk']);
    expect(await onRecord()).toHaveLength(1);
    await clock.advance(7 * 86_400_000);
    await looks.pass();
    expect(await onRecord()).toEqual([]);
    // The message that is under way is still delivered, and leaves nothing behind.
    answer = () => ({ isAccepted: true, reason: '' });
    await pass(receivers);
    expect(await database.store.query((db) => db.selectFrom('notice_told').selectAll().execute())).toEqual([]);
  });
});
