/** Stories that each try one rule, in the one order of acts that breaks it where it is missing. */
import type { WrittenStories } from './written.ts';

export const RULES: WrittenStories = {
  'no-coordinators': {
    coordinators: ['one', 'two'],
    acts: [
      [1, 'make-key'],
      [3, 'coordinators-away', '', { for: 20 }],
      [26, 'make-key'],
    ],
  },
  'goes-on-by-the-word-of-others': {
    acts: [
      [1, 'make-key'],
      [3, 'cut-from-coordinators', 'a', { for: 26 }],
      [14, 'move', 'b'],
      [24, 'make-key'],
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
  'clocks-of-two-machines': {
    coordinators: ['one', 'two'],
    isTimed: true,
    acts: [
      [1, 'step-clock', 'one', { value: -3_600_000 }],
      [1, 'step-clock', 'two', { value: 3_600_000 }],
      [2, 'make-key'],
      [8, 'pause-coordinator', 'one', { for: 8 }],
      [12, 'make-key'],
      [20, 'pause-coordinator', 'two', { for: 8 }],
      [24, 'make-key'],
      [32, 'pause-coordinator', 'one', { for: 8 }],
      [36, 'make-key'],
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
  'a-rotation-forgotten': {
    acts: [
      [2, 'make-key'],
      [4, 'roll-back-journal', 'a', { for: 1.2 }],
      [4.4, 'rotate'],
      [12, 'make-key'],
      [18, 'roll-back-journal', 'b', { for: 3 }],
      [18.4, 'rotate'],
      [30, 'make-key'],
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
  'a-queue-delivers-nothing': {
    servesAt: 26,
    acts: [
      [1, 'make-key'],
      [4, 'mute-queue', '', { for: 25 }],
      [8, 'lose-site', 'a', { for: 20 }],
    ],
  },
  'most-sites-are-gone': {
    servesAt: 28,
    acts: [
      [1, 'retired-sites', '', { value: 4 }],
      [2, 'kill-coordinator', 'one', { for: 0.5 }],
      [10, 'lose-site', 'a', { for: 20 }],
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
      [3, 'hsm-slow', 'b', { for: 6, value: 170 }],
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
      [1.5, 'hsm-slow', 'c', { for: 14, value: 620 }],
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
  'one-group-in-trouble': {
    hasBystanders: true,
    acts: [
      [1, 'hsm-slow', 'c', { for: 26, value: 3_000 }],
      [2, 'make-key'],
      [3, 'move', 'c'],
      [4, 'hsm-gone', 'b', { for: 20 }],
    ],
  },
  'a-stolen-coordinator': {
    isGuarded: true,
    acts: [
      [1.2, 'cut', 'b', { to: 'a', for: 26 }],
      [1.2, 'cut', 'b', { to: 'c', for: 26 }],
      [1.5, 'make-key'],
      [14, 'stolen-coordinator', 'b'],
    ],
  },
  'an-approved-loss': {
    witnesses: ['v', 'w'],
    isGuarded: true,
    servesAt: 29,
    acts: [
      [1, 'isolate', 'b', { for: 8 }],
      [1.5, 'make-key'],
      [8, 'lose-site', 'a', { for: 21.5 }],
      [8.2, 'lose-site', 'c', { for: 21.5 }],
      [15, 'move-with-loss', 'b'],
      [18, 'approve', 'b'],
      [19, 'move-with-loss', 'b'],
    ],
  },
  'a-copy-of-the-target': {
    servesAt: 20,
    acts: [
      [1, 'run-copy', 'b', { for: 25 }],
      [2, 'make-key'],
      [5, 'move', 'b'],
      [9, 'make-key'],
    ],
  },
  'a-copy-votes': {
    acts: [
      [0.5, 'run-copy', 'c', { for: 25, value: 5 }],
      [1, 'make-key'],
      [6, 'lose-site', 'a', { for: 23 }],
      [10.6, 'pause-agent', 'c', { for: 14 }],
    ],
  },
  'a-vote-of-an-older-journal': {
    servesAt: 29,
    acts: [
      [0.5, 'roll-back-journal', 'c', { for: 6 }],
      [1, 'make-key'],
      [6, 'lose-site', 'a', { for: 24 }],
      [18, 'reseat'],
    ],
  },
  'drills-and-kills': {
    acts: [
      [2, 'drill'],
      [2.4, 'kill-agent', 'c', { for: 0.5 }],
      [5, 'drill'],
      [8, 'make-key'],
      [14, 'drill'],
    ],
  },
};
