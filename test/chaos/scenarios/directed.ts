/**
 * Stories that somebody wrote: the disturbances that a rule was made for, in the order that tries it. The seed still
 * decides chance: latencies, order, and which call is hit.
 */
import { type Act, SITES, type Story, storyOf } from './story.ts';

type Written = readonly [
  seconds: number,
  kind: string,
  at?: string,
  rest?: { to?: string; for?: number; value?: number },
];

const DIRECTED: Readonly<
  Record<
    string,
    Partial<Pick<Story, 'coordinators' | 'witnesses' | 'isLossless'>> & {
      /** The second at which somebody must serve. */
      readonly servesAt?: number;
      readonly acts: readonly Written[];
    }
  >
> = {
  'paused-active': {
    acts: [
      [1, 'make-key'],
      [4, 'pause-agent', 'a', { for: 14 }],
      [5.2, 'move', 'b'],
      [16, 'make-key'],
    ],
  },
  'slow-then-paused': {
    acts: [
      [1, 'slow-link', 'a', { to: 'one', for: 20, value: 700 }],
      [5, 'pause-agent', 'a', { for: 11 }],
      [5.5, 'move', 'b'],
      [20, 'pause-agent', 'b', { for: 9 }],
      [20.5, 'move', 'c'],
    ],
  },
  'doubled-moves': {
    acts: [
      ...['a', 'b', 'c'].map((site): Written => [0.5, 'doubling-link', site, { to: 'one', for: 28, value: 0.8 }]),
      [0.5, 'doubling-queue', '', { for: 28, value: 0.9 }],
      [1, 'make-key'],
      [3, 'move', 'b'],
      [6, 'make-pair'],
      [9, 'move', 'c'],
      [12, 'make-key'],
      [15, 'move', 'a'],
      [18, 'delete-key'],
      [21, 'move', 'b'],
    ],
  },
  'moves-on-bad-links': {
    acts: [
      ...['a', 'b', 'c'].map((site): Written => [0.5, 'lossy-link', site, { to: 'one', for: 26, value: 0.15 }]),
      [0.5, 'lossy-link', 'a', { to: 'b', for: 26, value: 0.15 }],
      [1, 'make-key'],
      [3, 'move', 'b'],
      [5, 'make-key'],
      [8, 'replace-pair'],
      [10, 'move', 'c'],
      [14, 'make-key'],
      [17, 'move', 'a'],
      [20, 'delete-key'],
    ],
  },
  'database-goes-back': {
    acts: [
      [2, 'make-key'],
      [4, 'roll-back-database', '', { for: 6 }],
      [5, 'move', 'b'],
      [8, 'make-key'],
      [18, 'roll-back-database', '', { for: 5 }],
      [19, 'make-key'],
      [25, 'make-key'],
    ],
  },
  'journal-goes-back': {
    acts: [
      [1, 'roll-back-journal', 'b', { for: 9 }],
      [2, 'make-key'],
      [5, 'move', 'b'],
      [8, 'make-key'],
      [16, 'roll-back-journal', 'c', { for: 8 }],
      [17, 'make-pair'],
      [20, 'move', 'c'],
    ],
  },
  'two-leaders': {
    coordinators: ['one', 'two'],
    acts: [
      [2, 'make-key'],
      [3.9, 'move', 'b'],
      [4, 'pause-coordinator', 'one', { for: 8 }],
      [8, 'make-key'],
      [12.5, 'move', 'c'],
      [13, 'pause-coordinator', 'two', { for: 7 }],
      [18, 'make-key'],
      [20, 'kill-coordinator', 'one', { for: 4 }],
      [22, 'move', 'a'],
    ],
  },
  'sites-are-lost': {
    acts: [
      [1, 'make-key'],
      [4, 'lose-site', 'a', { for: 13 }],
      [14, 'make-key'],
      [15, 'delete-key'],
      [19, 'lose-site', 'b', { for: 10 }],
      [27, 'make-pair'],
    ],
  },
  'agents-crash': {
    acts: [
      [1, 'make-pair'],
      ...['a', 'b', 'c'].map((site, at): Written => [1.5, 'crash-at-commit', site, { for: 2, value: 1 + at }]),
      [6, 'make-key'],
      [6, 'replace-pair'],
      ...['b', 'c', 'a'].map((site, at): Written => [7, 'crash-at-commit', site, { for: 2, value: 2.4 + at }]),
      [13, 'make-pair'],
      [14, 'kill-agent', 'b', { for: 1 }],
      [15.1, 'kill-agent', 'c', { for: 1 }],
      [20, 'move', 'b'],
    ],
  },
  'keys-diverge': {
    acts: [
      [4, 'isolate', 'a', { for: 15 }],
      [5, 'replace-pair'],
      [5.5, 'make-key'],
      [22, 'replace-pair'],
      [26, 'make-key'],
    ],
  },
  'a-token-lies': {
    acts: [
      [1.5, 'hsm-lies', 'b', { for: 12 }],
      [2, 'make-pair'],
      [3, 'make-key'],
      [9, 'lose-site', 'a', { for: 14 }],
      [20, 'make-key'],
    ],
  },
  'one-standby-lags': {
    acts: [
      [1, 'hsm-gone', 'c', { for: 6 }],
      [1.5, 'make-key'],
      [4, 'make-key'],
      [6, 'lose-site', 'a', { for: 18 }],
      [20, 'make-key'],
    ],
  },
  'holder-without-a-token': {
    acts: [
      [0.5, 'isolate', 'b', { for: 7.7 }],
      [1.5, 'make-key'],
      [7.9, 'hsm-gone', 'c', { for: 16 }],
      [8, 'lose-site', 'a', { for: 16 }],
    ],
  },
  'an-answer-comes-late': {
    acts: [
      [1, 'make-key'],
      [2, 'slow-link', 'a', { to: 'one', for: 26, value: 900 }],
      [5, 'pause-agent', 'a', { for: 10 }],
      [6, 'cut-one-way', 'one', { to: 'a', for: 14 }],
      [6.2, 'move', 'b'],
    ],
  },
  'longer-leases': {
    acts: [
      [1, 'change-profile', 'one', { for: 0.3, value: 3 }],
      [9, 'isolate', 'a', { for: 21 }],
      [9.3, 'change-profile', 'one', { for: 0.3, value: 1 }],
    ],
  },
  'second-owner': {
    acts: [
      [1, 'make-key'],
      [2, 'move', 'b'],
      [12, 'second-owner', 'c'],
      [13, 'second-owner', 'a'],
      [15, 'make-key'],
    ],
  },
  'an-older-journal': {
    acts: [
      [1, 'roll-back-journal', 'b', { for: 9 }],
      [2, 'make-key'],
      [3, 'kill-agent', 'b', { for: 0.5 }],
      [5, 'move', 'b'],
      [8, 'make-key'],
    ],
  },
  'an-order-in-quarantine': {
    acts: [
      [3, 'roll-back-journal', 'b', { for: 13 }],
      [4, 'make-key'],
      [10.5, 'delete-key'],
      [20, 'order-again', 'b', { to: 'apply', value: 0.6 }],
    ],
  },
  'killed-in-an-apply': {
    acts: [
      [1, 'make-pair'],
      [1, 'make-key'],
      [2, 'make-pair'],
      [2, 'crash-in-a-call', 'b', { for: 4, value: 2 }],
      [3, 'crash-in-a-call', 'c', { for: 4, value: 5 }],
      [6, 'make-pair'],
      [7, 'crash-in-a-call', 'b', { for: 4, value: 1 }],
      [7, 'crash-in-a-call', 'c', { for: 4, value: 3 }],
    ],
  },
  'handed-over': {
    isLossless: true,
    servesAt: 29,
    acts: [
      [5, 'make-key'],
      [6.2, 'make-pair'],
      [6, 'cut', 'a', { to: 'b', for: 15.4 }],
      [6, 'cut', 'a', { to: 'c', for: 15.4 }],
      [8.7, 'hsm-gone', 'a', { for: 21 }],
    ],
  },
  'an-emptied-target': {
    servesAt: 28,
    acts: [
      [6, 'empty-token', 'b'],
      [7, 'lose-site', 'a', { for: 22 }],
    ],
  },
  'nobody-to-promote': {
    servesAt: 25,
    acts: [
      [1, 'hsm-gone', 'c', { for: 14 }],
      [3, 'move', 'b'],
      [3, 'hsm-slow', 'b', { for: 6, value: 300 }],
      [4.8, 'hsm-gone', 'b', { for: 9 }],
      [4.8, 'hsm-gone', 'a', { for: 4.5 }],
    ],
  },
  'five-vote': {
    witnesses: ['v', 'w'],
    acts: [
      [1, 'isolate', 'b', { for: 8 }],
      [1.5, 'make-key'],
      [8, 'lose-site', 'a', { for: 21 }],
      [8.2, 'lose-site', 'c', { for: 21 }],
    ],
  },
  'acknowledged-meanwhile': {
    acts: [
      [1, 'make-key'],
      [1.5, 'hsm-slow', 'c', { for: 14, value: 740 }],
      [2, 'cut', 'a', { to: 'b', for: 27 }],
      [2, 'cut', 'c', { to: 'b', for: 27 }],
      [5, 'lose-site', 'a', { for: 24 }],
    ],
  },
  'deleted-keys': {
    acts: [
      [1, 'delete-key'],
      [3, 'make-key'],
      [8, 'delete-key'],
      [14, 'delete-key'],
      [15, 'make-pair'],
    ],
  },
  'an-order-for-another': {
    acts: [
      [1, 'delete-key'],
      [2, 'make-key'],
      [11, 'misdirected-order', 'a', { to: 'c', value: 0 }],
      [20, 'misdirected-order', 'a', { to: 'c', value: 0 }],
    ],
  },
  'both-moves-forgotten': {
    acts: [
      [1, 'roll-back-database', '', { for: 16 }],
      [2, 'move', 'b'],
      [9, 'move', 'c'],
      [15, 'make-key'],
    ],
  },
  'late-writes': {
    coordinators: ['one', 'two'],
    acts: [
      [1, 'make-key'],
      [2, 'doubling-queue', '', { for: 20, value: 0.9 }],
      [3, 'move', 'b'],
      [3.3, 'stall-database', '', { for: 1.6 }],
      [4.6, 'pause-coordinator', 'one', { for: 8 }],
      [13, 'make-key'],
      [14.2, 'move', 'c'],
      [14.4, 'stall-database', '', { for: 1.6 }],
      [15.7, 'pause-coordinator', 'two', { for: 8 }],
    ],
  },
  'jobs-are-lost': {
    acts: [
      [1, 'make-key'],
      ...[2, 5, 8, 11, 14].map((second): Written => [second, 'wipe-queue']),
      [4.5, 'kill-coordinator', 'one', { for: 1 }],
      [7, 'move', 'b'],
      [7.3, 'kill-coordinator', 'one', { for: 2 }],
      [12, 'make-key'],
      [16, 'queue-away', '', { for: 6 }],
      [17, 'make-key'],
    ],
  },
};

export const DIRECTED_NAMES: readonly string[] = Object.keys(DIRECTED);

/** @throws if nobody wrote one of this name */
export function directedStory(name: string, seed: string): Story {
  const written = DIRECTED[name];
  if (written === undefined) throw new Error(`no story is named ${name}`);
  const { coordinators = ['one'], witnesses = [], isLossless = false, servesAt, acts } = written;
  return {
    seed: `${name} ${seed}`,
    sites: SITES,
    witnesses,
    coordinators,
    isLossless,
    ...(servesAt === undefined ? {} : { servesAtMs: servesAt * 1_000 }),
    acts: acts.map(
      ([seconds, kind, at = '', { to = '', for: long = 0, value = 0 } = {}], id): Act => ({
        id,
        atMs: seconds * 1_000,
        kind,
        at,
        other: to,
        ms: long * 1_000,
        value,
      }),
    ),
  };
}

/** By a seed, or by the name of a story and a seed: `paused-active/3`. @throws if there is no such story */
export function storyNamed(text: string): Story {
  const [first = '', seed] = text.split('/');
  return seed === undefined ? storyOf(first) : directedStory(first, seed);
}
