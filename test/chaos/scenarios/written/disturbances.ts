/** Stories of one kind of disturbance that comes again and again. */
import type { Written, WrittenStories } from './written.ts';

export const DISTURBANCES: WrittenStories = {
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
      [1.5, 'hsm-lies', 'b', { for: 16 }],
      [2, 'make-pair'],
      [3, 'make-key'],
      [9, 'lose-site', 'a', { for: 14 }],
      [20, 'make-key'],
    ],
  },
  'a-certificate-ends-before-a-scrub': {
    acts: [
      [2, 'expire-certificate', 'b', { for: 8 }],
      [3, 'scrub', 'b'],
      [14, 'expire-certificate', 'a', { for: 8.3 }],
      [21.4, 'scrub', 'a'],
    ],
  },
  'a-token-refuses-for-a-while': {
    acts: [
      [1.5, 'hsm-lies', 'b', { for: 8 }],
      [2, 'make-pair'],
      [3, 'make-key'],
    ],
  },
  'lies-before-a-move': {
    acts: [
      [1.5, 'hsm-lies', 'b', { for: 12 }],
      [2, 'make-pair'],
      [3, 'make-key'],
      [11, 'move', 'b'],
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
