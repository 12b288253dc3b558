/**
 * What every machine keeps, whatever order events come in, and wherever a crash falls: it ends, it stays ended, it never
 * stalls, and after a crash it asks again for exactly what it had asked for.
 */
import { OperationSchema } from '@antipode/protocol';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import fc, { type Arbitrary } from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Failure, Step } from '../model.ts';
import type { CaptureEffect, CaptureEvent, CaptureState } from './capture/machine.ts';
import type { DomainKeyEffect, DomainKeyEvent, DomainKeyState } from './domain-key/machine.ts';
import type { DrillEffect, DrillEvent, DrillState } from './drill/machine.ts';
import type { FailoverEffect, FailoverEvent, FailoverState } from './failover/machine.ts';
import type { KeyRetirementEffect, KeyRetirementEvent, KeyRetirementState } from './key-retirement/machine.ts';
import type { Kind, Phase, PhaseMeaning, Typed } from './kind.ts';
import { INTENT_KINDS, type IntentKind, KINDS } from './kinds.ts';
import type { RejoinEffect, RejoinEvent, RejoinState } from './rejoin/machine.ts';
import type { ReplicationEffect, ReplicationEvent, ReplicationState } from './replication/machine.ts';
import type { ReseatEffect, ReseatEvent, ReseatState } from './reseat/machine.ts';
import type { ScrubEffect, ScrubEvent, ScrubState } from './scrub/machine.ts';

/** What a test needs to drive a machine. */
interface Machine<State extends Phase, Event extends Typed, Effect extends Typed> {
  readonly start: Arbitrary<State>;
  /** What each effect may bring when it succeeds. */
  readonly answers: Readonly<Record<Effect['type'], Arbitrary<Event>>>;
  /** What an effect may bring instead. */
  readonly setbacks?: Arbitrary<Event>;
  /** What is asked again after a crash, where that is not the effect itself. */
  repeats?(effect: Effect): Effect;
}

type AnyStep = Step<Phase, Typed>;
type AnyMachine = Machine<Phase, Typed, Typed>;
const machine = <State extends Phase, Event extends Typed, Effect extends Typed>(
  one: Machine<State, Event, Effect>,
): AnyMachine => one;

const number = fc.bigInt({ min: 1n, max: 1_000n });
const target = fc.record({ epoch: number, number, contentDigest: fc.constantFrom('aa', 'bb') });
const proof = fc.record({
  proved: fc.nat(9),
  failed: fc.constantFrom(0, 0, 1),
  failedObjectIds: fc.constant([]),
  usesNotExercised: fc.nat(2),
});
const outcome = fc.record({
  proof,
  isClean: fc.boolean(),
  startedMs: fc.nat(),
  recoveryTimeMs: fc.nat(),
  evidence: fc.constant('{}'),
  signature: fc.constant('c2ln'),
  signer: fc.constant('a2V5'),
});
const failures = fc.array(
  fc.record({ serial: fc.constantFrom('s1', 's2'), code: fc.constant('PEER_NOT_PINNED'), message: fc.constant('no') }),
  { maxLength: 2 },
);
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

const captured = fc.record({
  type: fc.constant('captured' as const),
  generation: fc.record(held),
  isNew: fc.boolean(),
  sealedObjects: fc.nat(9),
});
const applied = fc.record({
  type: fc.constant('applied' as const),
  appliedObjects: fc.nat(9),
  pulledBlobs: fc.nat(9),
});
const verified = fc.record({
  type: fc.constant('verified' as const),
  contentDigest: fc.constantFrom('aa', 'bb'),
  proof,
});
const rehearsed = fc.record({ type: fc.constant('rehearsed' as const), outcome });
const scrubbed = fc.record({
  type: fc.constant('scrubbed' as const),
  outcome: fc.record({
    startedMs: fc.nat(),
    isReplica: fc.boolean(),
    epoch: number,
    number,
    proof,
    missing: fc.nat(1),
    altered: fc.nat(1),
    mendedBlobs: fc.nat(3),
  }),
});
const ordered = fc.record({ type: fc.constant('version-ordered' as const), version: fc.nat(9) });
const taken = fc.oneof(
  fc.constant({ type: 'version-used' as const }),
  fc.record({ type: fc.constant('officers-awaited' as const), failures }),
);
const distributed = fc.record({ type: fc.constant('distributed' as const), sites: fc.constant(['a']), failures });
const surveyed = fc.record({ type: fc.constant('surveyed' as const), survey });
const caughtUp = fc.record({
  type: fc.constant('caught-up' as const),
  generation: fc.record({ epoch: number, number, manifestDigest: fc.constant('dd') }),
  startedMs: fc.nat(),
});
const issued = fc.record({
  type: fc.constant('issued' as const),
  isOldActiveFenced: fc.boolean(),
  generation: fc.option(fc.record(held), { nil: undefined }),
  lost: fc.array(fc.record(held), { maxLength: 2 }),
  handover: fc.option(fc.record({ newest: fc.record(held), holders: fc.constant(['c']) }), { nil: undefined }),
});
const promoted = fc.record({ type: fc.constant('promoted' as const), proved: fc.nat(9) });
const published = fc.record({ type: fc.constant('published' as const), recoveryTimeMs: fc.nat() });
const plain = <Type extends string>(type: Type) => fc.constant({ type } as const);

/** By kind: one that is missing here does not compile. */
const MACHINES: Readonly<Record<IntentKind, AnyMachine>> = {
  capture: machine<CaptureState, CaptureEvent, CaptureEffect>({
    start: fc.constant({ phase: 'due' }),
    answers: { capture: captured },
  }),
  replication: machine<ReplicationState, ReplicationEvent, ReplicationEffect>({
    start: target.map((one) => ({ phase: 'due', ...one })),
    answers: { apply: applied, verify: verified, acknowledge: plain('acknowledged'), withdraw: plain('withdrawn') },
  }),
  drill: machine<DrillState, DrillEvent, DrillEffect>({
    start: target.map(({ epoch, number }) => ({ phase: 'planned', epoch, number, serial: 's' })),
    answers: { drill: rehearsed, 'record-drill': plain('recorded') },
  }),
  scrub: machine<ScrubState, ScrubEvent, ScrubEffect>({
    start: fc.constant({ phase: 'due' }),
    answers: { scrub: scrubbed, 'record-scrub': plain('recorded') },
  }),
  'key-retirement': machine<KeyRetirementState, KeyRetirementEvent, KeyRetirementEffect>({
    start: fc.constant({ phase: 'due' }),
    answers: {
      retire: fc.array(fc.record({ serial: fc.string(), versions: fc.array(fc.nat()) })).map((destroyed) => ({
        type: 'destroyed' as const,
        destroyed,
      })),
      record: plain('recorded'),
    },
  }),
  'domain-key': machine<DomainKeyState, DomainKeyEvent, DomainKeyEffect>({
    start: fc.constant({ phase: 'due' }),
    answers: {
      'seat-members': plain('seated'),
      'order-version': ordered,
      distribute: distributed,
      'use-version': taken,
    },
    // Which version was ordered is not known after a crash, so another is: never the same one twice.
    repeats: (effect) => (effect.type === 'order-version' ? { type: 'seat-members' } : effect),
  }),
  failover: machine<FailoverState, FailoverEvent, FailoverEffect>({
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
  }),
  rejoin: machine<RejoinState, RejoinEvent, RejoinEffect>({
    start: fc.constant({ phase: 'due' }),
    answers: { rejoin: plain('rejoined') },
  }),
  reseat: machine<ReseatState, ReseatEvent, ReseatEffect>({
    start: fc.record({ phase: fc.constant('due' as const), active: fc.constantFrom('', 'b') }),
    answers: {
      reseat: fc.record({
        type: fc.constant('reseated' as const),
        epoch: number,
        activeSite: fc.constantFrom('', 'b'),
        seated: fc.constant(['a', 'b']),
        leftAside: fc.constant([{ site: 'c', code: 'SITE_UNREACHABLE' }]),
      }),
    },
  }),
};

const RESUME = { type: 'resume' };
const FAILED: Failure = { type: 'failed', code: 'PEER_NOT_PINNED', disposition: 'operator', message: 'no' };
/** Longer than the longest way of any machine. */
const STEPS_MAX = 12;
const RUN = { seed: 20_260_101, numRuns: 300 };

/** As the state of an intent survives in the database: JSON with BigInts. */
const persisted = <T>(value: T): T =>
  JSON.parse(
    JSON.stringify(value, (_key, member: unknown) => (typeof member === 'bigint' ? { $n: `${member}` } : member)),
    (_key, member) => (typeof member?.$n === 'string' ? BigInt(member.$n) : member),
  ) as T;

/** What an effect orders: the phase that it was made in is no part of it. */
const asked = (effect: object | undefined): object => ({ ...persisted(effect), phase: undefined });

describe.each(INTENT_KINDS)('the %s machine', (name) => {
  const kind: Kind = KINDS[name];
  const { start, answers, setbacks, repeats = (effect) => effect } = MACHINES[name];
  const decide = (state: Phase, event: Typed): AnyStep => kind.decide(state, event);
  const phasesOf = (...meanings: readonly PhaseMeaning[]): string[] =>
    Object.keys(kind.phases).filter((phase) => meanings.includes(kind.phases[phase]!));
  /** Phases that nothing leaves. */
  const ends = phasesOf('done', 'failed');
  /** Phases that wait for a person: without an effect, left by `resume`. */
  const parks = phasesOf('parked');
  const success = fc.record({ ...answers });
  const others = [...Object.values(answers), ...(setbacks === undefined ? [] : [setbacks])];
  const stray = fc.oneof(fc.constant(RESUME), fc.constant(FAILED), ...others);
  /** Mostly what was asked for, so that stories get somewhere, and anything else in between. */
  const story = fc.record({
    start,
    events: fc.array(fc.record({ success, stray, isWanted: fc.nat(3).map((draw) => draw > 0) }), {
      maxLength: STEPS_MAX,
    }),
  });
  type Story = typeof story extends Arbitrary<infer T> ? T : never;

  /** The last step of a story. */
  const told = ({ start, events }: Story): AnyStep => {
    let step = decide(start, RESUME);
    for (const { success, stray, isWanted } of events)
      step = decide(step.state, isWanted && step.effect !== undefined ? success[step.effect.type]! : stray);
    return step;
  };
  const isOver = ({ state }: AnyStep): boolean => ends.includes(state.phase);

  it('has an effect exactly while it has not ended', () => {
    fc.assert(
      fc.property(story, (one) => {
        const { state, effect } = told(one);
        expect(effect === undefined).toBe([...ends, ...parks].includes(state.phase));
      }),
      RUN,
    );
  });

  it('stays as it ended, whatever it is told', () => {
    fc.assert(
      fc.property(story.map(told).filter(isOver), stray, ({ state }, late) => {
        expect(decide(state, late)).toEqual({ state });
      }),
      RUN,
    );
  });

  it('asks after a crash for exactly what it had asked for, however often it crashes', () => {
    fc.assert(
      fc.property(story.map(told), ({ state, effect }) => {
        fc.pre(effect !== undefined);
        const once = decide(persisted(state), RESUME);
        expect(asked(once.effect)).toEqual(asked(repeats(effect)));
        expect(decide(persisted(once.state), RESUME)).toEqual(once);
      }),
      RUN,
    );
  });

  it('ends from wherever it is, once its effects succeed', () => {
    fc.assert(
      fc.property(story.map(told), fc.array(success, { minLength: STEPS_MAX, maxLength: STEPS_MAX }), (from, all) => {
        let step = decide(from.state, RESUME);
        for (const success of all) if (step.effect !== undefined) step = decide(step.state, success[step.effect.type]!);
        expect([...ends, ...parks]).toContain(step.state.phase);
      }),
      RUN,
    );
  });

  it('says in every state what it has found, in a form that the wire carries', () => {
    fc.assert(
      fc.property(story.map(told), ({ state }) => {
        const outcome = kind.outcome?.(persisted(state));
        const message = create(OperationSchema, outcome === undefined ? {} : { outcome });
        expect(fromBinary(OperationSchema, toBinary(OperationSchema, message))).toEqual(message);
      }),
      RUN,
    );
  });

  it('comes to every end that the table of kinds names, and to no phase that it does not name', () => {
    const seen = new Set(fc.sample(story.map(told), RUN).map(({ state }) => state.phase));
    expect([...seen]).toEqual(expect.arrayContaining([...ends, ...parks]));
    expect(Object.keys(kind.phases)).toEqual(expect.arrayContaining([...seen]));
  });
});
