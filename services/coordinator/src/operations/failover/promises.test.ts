import fc from 'fast-check';
import { keepsItsPromises } from '../../testing/machine-promises.ts';
import { KINDS } from '../kinds.ts';
import type { FailoverEffect, FailoverEvent, FailoverState } from './machine.ts';

const number = fc.bigInt({ min: 1n, max: 1_000n });
const held = { epoch: number, number, manifestDigest: fc.constant('dd') };
const candidate = fc.record({
  site: fc.constantFrom('a', 'b', 'c'),
  serial: fc.constant('s'),
  role: fc.constantFrom('active' as const, 'standby' as const, 'fenced' as const),
  epoch: number,
  applied: fc.option(fc.record({ epoch: number, number, manifestDigest: fc.constant('dd') }), { nil: undefined }),
  problem: fc.constantFrom('', '', 'PIN_REFUSED'),
});
const survey = fc.record({
  reachable: fc.uniqueArray(candidate, { selector: ({ site }) => site, maxLength: 3 }),
  voters: fc.integer({ min: 1, max: 3 }),
  highestEpoch: number,
  active: fc.constantFrom('a', 'a', 'a', 'b'),
  known: fc.array(fc.record({ ...held, isAcknowledged: fc.boolean() }), { maxLength: 3 }),
});
const request = fc.record({
  from: fc.constantFrom('a', 'b'),
  wanted: fc.constantFrom('', 'b'),
  acceptLoss: fc.boolean(),
  reason: fc.constantFrom('automatic' as const, 'operator' as const),
  outageStartedMs: fc.nat(),
  accepted: fc.array(fc.record(held), { maxLength: 2 }),
  excluded: fc.constant([]),
  overtaken: fc.constant(0),
});
const _applied = fc.record({
  type: fc.constant('applied' as const),
  appliedObjects: fc.nat(9),
  pulledBlobs: fc.nat(9),
});
const surveyed = fc.record({ type: fc.constant('surveyed' as const), survey });
const caughtUp = fc.record({
  type: fc.constant('caught-up' as const),
  generation: fc.record({ epoch: number, number, manifestDigest: fc.constant('dd') }),
  startedMs: fc.nat(),
});
const issued = fc.record({
  type: fc.constant('issued' as const),
  isOldActiveFenced: fc.boolean(),
  issuedMs: fc.nat(),
  generation: fc.option(fc.record(held), { nil: undefined }),
  lost: fc.array(fc.record(held), { maxLength: 2 }),
  handover: fc.option(fc.record({ newest: fc.record(held), holders: fc.constant(['c']) }), { nil: undefined }),
});
const promoted = fc.record({ type: fc.constant('promoted' as const), proved: fc.nat(9) });
const published = fc.record({ type: fc.constant('published' as const), recoveryTimeMs: fc.nat() });
const plain = <Type extends string>(type: Type) => fc.constant({ type } as const);

keepsItsPromises<FailoverState, FailoverEvent, FailoverEffect>('failover', KINDS.failover, {
  start: request.map((one) => ({ phase: 'requested', ...one })),
  answers: {
    survey: surveyed,
    fetch: plain('fetched'),
    'catch-up': caughtUp,
    'issue-epoch': issued,
    'hand-over': plain('handed-over'),
    'await-fence': plain('fenced'),
    promote: promoted,
    publish: published,
  },
  setbacks: fc.oneof(
    fc.constant({ type: 'target-lost', code: 'SITE_UNREACHABLE' } as const),
    fc.constant({ type: 'overtaken', generations: [] } as const),
    plain('not-handed-over'),
    fc.constant({ type: 'not-fetched', code: 'BLOB_INVALID' } as const),
  ),
});
