import { describe, expect, it } from 'vitest';
import type { Entries, Group, Link, Site, Update } from '../src/model/entries.ts';
import { applied, EMPTY, groupsOf, isOfNow, type State } from './store.ts';
import { age, verdict } from './words.ts';

const NOW = 1_800_000_000_000;
const live: Link = { state: 'live', since: NOW, heardAt: NOW };
const site = (name: string, state = 'up'): Site => ({
  kind: 'site',
  name,
  state,
  reason: '',
  since: NOW,
  version: '0.1.0',
  partitions: [],
  lost: [],
  observations: [],
  isClaimedTwice: false,
});
const group = (name: string, protection = 'protected', rank = 0): Group => ({
  kind: 'group',
  name,
  protection,
  rank,
  activeSite: 'a',
  epoch: 1,
  uncaptured: 0,
  rpoMs: 300_000,
  policy: 'manual',
  seats: [],
  concerns: [],
});
const entries = (...all: (Site | Group)[]): Entries =>
  Object.fromEntries(all.map((one) => [`${one.kind}/${one.name}`, one]));
const update = (put: Entries, more: Partial<Update> = {}): Update => ({
  now: NOW,
  link: live,
  isWhole: false,
  put,
  drop: [],
  ...more,
});
const after = (...updates: Update[]): State => updates.reduce((state, one) => applied(state, one, NOW), EMPTY);

describe('what the page knows', () => {
  it('is the first whole, and then every change of it', () => {
    const state = after(
      update(entries(site('a'), group('payments')), { isWhole: true }),
      update(entries(site('b'))),
      update({}, { drop: ['site/a'] }),
    );
    expect([...state.entries.keys()]).toEqual(['group/payments', 'site/b']);
  });

  it('is another whole after another connection, without what is gone', () => {
    const state = after(update(entries(site('a')), { isWhole: true }), update(entries(site('b')), { isWhole: true }));
    expect([...state.entries.keys()]).toEqual(['site/b']);
  });

  it('is news where it has changed, and not as it begins', () => {
    const state = after(
      update(entries(site('b'), group('payments')), { isWhole: true }),
      update(entries(site('b', 'down'), group('payments', 'lagging', 3))),
    );
    expect(state.news.map(({ text }) => text)).toEqual(['Site b is down', 'Group payments is lagging']);
  });

  it('puts the worst group first, and the others by name', () => {
    const state = after(update(entries(group('c'), group('b', 'unserved', 7), group('a')), { isWhole: true }));
    expect(groupsOf(state).map(({ name }) => name)).toEqual(['b', 'a', 'c']);
  });
});

describe('the first sentence', () => {
  const said = (state: State, nowMs = NOW) => verdict(state, nowMs);
  const fleet = (...all: (Site | Group)[]): State => after(update(entries(...all), { isWhole: true }));

  it.each([
    ['well', 'All 2 groups are protected.', [site('a'), group('x'), group('y')]],
    ['act', 'Group y is unserved.', [site('a'), group('x'), group('y', 'unserved', 7)]],
    ['act', '2 of 2 groups need somebody now.', [group('x', 'held', 5), group('y', 'unserved', 7)]],
    ['look', '1 of 2 groups wants a look.', [site('a'), group('x'), group('y', 'lagging', 3)]],
    ['act', 'Site b is down.', [site('b', 'down'), group('x')]],
    ['look', 'Site b is suspect.', [site('b', 'suspect'), group('x')]],
    ['look', 'There is no group yet.', [site('a')]],
  ] as const)('is %s: %s', (severity, text, all) => {
    expect(said(fleet(...all))).toMatchObject({ severity, text });
  });

  it('is of the coordinator where that is lost, with the age of all the rest', () => {
    const lost: Link = { ...live, state: 'lost', error: { code: 'TIMED_OUT', message: 'no answer', hint: 'Look.' } };
    const state = after(update(entries(group('x')), { isWhole: true }), update({}, { link: lost }));
    expect(said(state, NOW + 65_000)).toMatchObject({
      severity: 'act',
      text: 'The coordinator does not answer.',
      more: expect.stringContaining('65 s ago'),
    });
    expect(isOfNow(state)).toBe(false);
  });

  it('is of the dashboard where that is silent', () => {
    const state: State = { ...fleet(group('x')), contact: 'silent' };
    expect(said(state)).toMatchObject({ severity: 'act', text: 'The dashboard on this machine does not answer.' });
    expect(isOfNow(state)).toBe(false);
  });
});

it.each([
  [-5, '0 s'],
  [119_999, '119 s'],
  [120_000, '2 min'],
  [7_200_000, '2 h'],
  [172_800_000, '2 d'],
])('an age of %d ms is %s', (ms, text) => {
  expect(age(ms)).toBe(text);
});
