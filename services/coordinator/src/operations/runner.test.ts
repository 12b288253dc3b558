import { AntipodeError, type ErrorCode, Log, seededPrng } from '@antipode/runtime';
import { FakeClock, rejection } from '@antipode/runtime/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import type { IntentKind } from '../model.ts';
import { type Intent, updateIntent } from '../store/tables/intents.ts';
import { readLeaderLease, takeLeaderLease } from '../store/tables/leadership/leader-lease.ts';
import { testDatabase } from '../testing/database.ts';
import { EffectsBench } from '../testing/effects-bench.ts';
import { FakeLeadership } from '../testing/leader.ts';
import type { IntentChange } from '../testing/rows.ts';
import { Changes } from './changes.ts';
import type { EffectContext } from './context.ts';
import type { Kind, Typed } from './kind.ts';
import { INTENT_KINDS, KINDS, type Kinds } from './kinds.ts';
import { Runner } from './runner.ts';

const database = testDatabase();

type Work = (effect: Typed) => Promise<unknown>;

/** The machines as they are, with other work behind them. */
const kindsDoing = (perform: Kind['perform']): Kinds =>
  Object.fromEntries(INTENT_KINDS.map((kind) => [kind, { ...KINDS[kind], perform }]));

/** A runner whose effects and writes the test decides. */
class Bench {
  readonly clock = new FakeClock();
  readonly lines: string[] = [];
  readonly changes = new Changes();
  /** All steps in order: writes as `> phase`, effects by their type. */
  readonly story: string[] = [];
  /** Under which name each effect was performed. */
  readonly names: string[] = [];
  perform: Work = async () => ({});
  beforeWrite: () => void = () => {};
  readonly leadership = new FakeLeadership();
  readonly runner: Runner;

  constructor(change: (kinds: Kinds) => Kinds = (kinds) => kinds) {
    const run = async (_context: EffectContext, intent: Intent, effect: Typed): Promise<Typed> => {
      this.story.push(effect.type);
      this.names.push(intent.requestId);
      return (await this.perform(effect)) as Typed;
    };
    this.runner = new Runner({
      store: {
        query: (look) => database.store.query(look),
        snapshot: (look) => database.store.snapshot(look),
        write: async (epoch, change) => {
          this.beforeWrite();
          const result = await database.store.write(epoch, change);
          this.story.push(`> ${(await database.rows.intent('i'))?.state.phase}`);
          return result;
        },
      },
      election: this.leadership,
      context: new EffectsBench().context,
      kinds: change(kindsDoing(run)),
      changes: this.changes,
      clock: this.clock,
      prng: seededPrng('runner'),
      log: new Log({ level: 'info', format: 'json', write: (line) => this.lines.push(line) }),
    });
  }
}

const TARGET = { epoch: 1n, number: 4n };
const PROOF = { proved: 2, failed: 0, failedObjectIds: [], usesNotExercised: 0 };
const STATES: Record<string, { phase: string }> = {
  'domain-key': { phase: 'due' },
  capture: { phase: 'due' },
  replication: { phase: 'due', ...TARGET, contentDigest: 'aa' } as never,
  drill: { phase: 'planned', ...TARGET, serial: 's' } as never,
  scrub: { phase: 'due' },
  divergence: { phase: 'due', action: 'merge', objectIds: ['01'], operator: 'alice' } as never,
  rejoin: { phase: 'due' },
  reseat: { phase: 'due', active: '' } as never,
  'key-retirement': { phase: 'due' },
};

/** The operation of a test, in the place of the one before. */
async function open(
  kind: IntentKind,
  {
    id = 'i',
    site = 'b',
    state = STATES[kind]!,
    createdMs = 0,
    ...rest
  }: IntentChange & Partial<Pick<Intent, 'id' | 'site' | 'createdMs'>> = {},
): Promise<void> {
  await database.rows.write((trx) => trx.deleteFrom('intent').where('id', '=', id).execute());
  await database.rows.intended({ id, kind, site, state, createdMs }, rest);
}
const intent = async (): Promise<Intent> => (await database.rows.intent('i'))!;
const events = (): Promise<string[]> => database.rows.events();

const SUCCESS: Record<string, unknown> = {
  capture: { type: 'captured', generation: TARGET, isNew: true, sealedObjects: 1 },
  apply: { type: 'applied', appliedObjects: 1, pulledBlobs: 1 },
  verify: { type: 'verified', contentDigest: 'aa', proof: PROOF },
  acknowledge: { type: 'acknowledged' },
};
const succeed: Work = async ({ type }) => SUCCESS[type];
const failWith =
  (code: ErrorCode): Work =>
  async () => {
    throw new AntipodeError(code, 'it went wrong');
  };

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});

describe('an intent', () => {
  it('is persisted in every state before the effect of that state is performed', async () => {
    await open('replication');
    bench.perform = succeed;
    await bench.runner.run('i');
    expect(bench.story).toEqual([
      '> applying',
      'apply',
      '> verifying',
      'verify',
      '> acknowledging',
      'acknowledge',
      '> acknowledged',
    ]);
    expect((await intent()).status).toBe('done');
    expect(await events()).toEqual(['replication-acknowledged']);
  });

  it('comes to the same end wherever a write is lost, and repeats at most the effect that was under way', async () => {
    for (const lost of [1, 2, 3, 4]) {
      bench = new Bench();
      await open('replication');
      bench.perform = succeed;
      let writes = 0;
      bench.beforeWrite = () => {
        writes += 1;
        if (writes === lost) throw new AntipodeError('DATABASE_UNAVAILABLE', 'the connection is lost');
      };
      expect((await rejection(bench.runner.run('i'))).code).toBe('DATABASE_UNAVAILABLE');
      const performed = bench.story.filter((one) => !one.startsWith('>'));
      expect(performed).toEqual(['apply', 'verify', 'acknowledge'].slice(0, lost - 1));
      await bench.runner.run('i');
      expect(await intent()).toMatchObject({ status: 'done', state: { phase: 'acknowledged' } });
      const effects = bench.story.filter((one) => !one.startsWith('>'));
      expect(effects.filter((one, at) => effects[at - 1] !== one)).toEqual(['apply', 'verify', 'acknowledge']);
      expect(effects.length).toBeLessThanOrEqual(4);
    }
  });

  it('is run once, however often it is woken meanwhile', async () => {
    await open('capture');
    bench.perform = succeed;
    const runs = [bench.runner.run('i'), bench.runner.run('i')];
    expect(bench.runner.isRunning('i')).toBe(true);
    await Promise.all(runs);
    await bench.runner.idle();
    expect(bench.runner.isRunning('i')).toBe(false);
    expect(bench.story).toEqual(['> capturing', 'capture', '> captured']);
  });

  it.each(['parked', 'done', 'failed'] as const)('that is %s is left alone', async (status) => {
    await open('capture', { status });
    await bench.runner.run('i');
    await bench.runner.run('unknown');
    expect(bench.story).toEqual([]);
  });

  it('tells whoever waits for it of every step', async () => {
    await open('capture');
    bench.perform = succeed;
    const heard: string[] = [];
    void bench.changes.next('i', { clock: bench.clock, timeoutMs: 1_000 }).then(() => heard.push('told'));
    await bench.runner.run('i');
    expect(heard).toHaveLength(1);
  });
});

describe('the order of an effect', () => {
  it('has a name of its own for each effect', async () => {
    await open('replication');
    bench.perform = succeed;
    await bench.runner.run('i');
    expect(bench.names).toEqual(['i.0', 'i.1', 'i.2']);
  });

  it('writes nothing more once its epoch is over, though this coordinator leads again by then', async () => {
    await open('replication');
    bench.perform = async () => {
      const seen = await database.store.query(readLeaderLease);
      const epoch = seen.epoch + 2n;
      await database.store.query((db) => takeLeaderLease(db, { seen, id: 'main', epoch }));
      bench.leadership.epoch = epoch;
      return SUCCESS['apply'];
    };
    expect((await rejection(bench.runner.run('i'))).code).toBe('LEADERSHIP_LOST');
    expect(await intent()).toMatchObject({ state: { phase: 'applying' }, attempts: 0, errorCode: '' });
    bench.perform = succeed;
    await bench.runner.run('i');
    expect(await intent()).toMatchObject({ status: 'done' });
  });

  it('has not failed where a site has heard a later leader', async () => {
    await open('replication');
    bench.perform = failWith('TERM_STALE');
    expect((await rejection(bench.runner.run('i'))).code).toBe('LEADERSHIP_LOST');
    expect(await intent()).toMatchObject({ state: { phase: 'applying' }, attempts: 0, errorCode: '' });
  });

  it('keeps its name over a crash and under the next leader, since it may be under way', async () => {
    await open('replication', { performing: 4 });
    bench.perform = failWith('LEADERSHIP_LOST');
    expect((await rejection(bench.runner.run('i'))).code).toBe('LEADERSHIP_LOST');
    bench.perform = succeed;
    await bench.runner.run('i');
    expect(bench.names).toEqual(['i.4', 'i.4', 'i.5', 'i.6']);
  });

  it.each([
    ['keeps its name where nobody answered', 'SITE_UNREACHABLE', 'i.0'],
    ['keeps its name where the answer did not come in time', 'TIMED_OUT', 'i.0'],
    ['gets another where it failed', 'HSM_UNAVAILABLE', 'i.1'],
  ] as const)('%s', async (_what, code, next) => {
    await open('capture');
    bench.perform = failWith(code);
    await rejection(bench.runner.run('i'));
    bench.perform = succeed;
    await bench.runner.run('i');
    expect(bench.names).toEqual(['i.0', next]);
  });

  it('gets another name when the intent has waited for a person', async () => {
    await open('domain-key', { state: { phase: 'distributing', version: 2 } as never, performing: 7 });
    bench.perform = failWith('PIN_REFUSED');
    await bench.runner.run('i');
    expect([(await intent()).status === 'open', (await intent()).performing]).toEqual([false, 8]);
  });
});

describe('a step that has been made', () => {
  it('counts the attempts of the next one from zero', async () => {
    await open('replication', { attempts: 12 });
    bench.perform = async ({ type }) => {
      if (type === 'verify') throw new AntipodeError('HSM_UNAVAILABLE', 'busy');
      return SUCCESS[type];
    };
    await rejection(bench.runner.run('i'));
    expect(await intent()).toMatchObject({ state: { phase: 'verifying' }, attempts: 1 });
  });

  it('is the last where a person has ended the intent meanwhile', async () => {
    await open('replication');
    bench.perform = async ({ type }) => {
      await database.rows.write((trx) => updateIntent(trx, 'i', { status: 'cancelled' }, 0));
      return SUCCESS[type];
    };
    await bench.runner.run('i');
    expect(bench.story.filter((one) => !one.startsWith('>'))).toEqual(['apply']);
    expect(await intent()).toMatchObject({ status: 'cancelled', state: { phase: 'applying' } });
    expect(await events()).toEqual([]);
  });
});

describe('an effect that fails', () => {
  it('is on record with its site, the answer of the device and the id of the order, also once it is given up', async () => {
    await open('capture', { site: 'a' });
    bench.perform = async () => {
      const details = { answeredBy: 'site b', returnValue: 'CKR_DEVICE_ERROR' };
      throw new AntipodeError('HSM_REFUSED', 'no', { details });
    };
    await bench.runner.run('i');
    expect(await intent()).toMatchObject({
      status: 'failed',
      errorCode: 'HSM_REFUSED',
      errorMessage: '[HSM_REFUSED] no',
      failure: { code: 'HSM_REFUSED', message: 'no', site: 'b', returnValue: 'CKR_DEVICE_ERROR' },
    });
    expect((await intent()).failure?.requestId).toMatch(/^i/);
    const told = bench.lines.filter((line) => line.includes('order failed')).map((line) => JSON.parse(line));
    expect(told).toMatchObject([
      { kind: 'capture', group: 'payments', site: 'b', request: (await intent()).failure?.requestId },
    ]);
    expect(bench.lines.join('')).toContain('CKR_DEVICE_ERROR');
  });

  it('for a while is tried again later, each time later, and the intent stays where it is', async () => {
    await open('capture');
    bench.perform = failWith('SITE_UNREACHABLE');
    const waits: number[] = [];
    for (const attempts of [1, 2, 3]) {
      expect((await rejection(bench.runner.run('i'))).code).toBe('SITE_UNREACHABLE');
      expect(await intent()).toMatchObject({ status: 'open', attempts, errorCode: 'SITE_UNREACHABLE' });
      expect((await intent()).state.phase).toBe('capturing');
      waits.push((await intent()).nextAttemptMs - bench.clock.wallMs());
    }
    expect(Math.min(...waits)).toBeGreaterThan(0);
    expect(waits[2]).toBeGreaterThan(waits[0]!);
    expect(await events()).toEqual([]);
  });

  it.each(['EPOCH_STALE', 'ROLE_REFUSED', 'PEER_NOT_PINNED'] as const)('with %s is not tried again', async (code) => {
    await open('capture');
    bench.perform = failWith(code);
    await bench.runner.run('i');
    expect(await intent()).toMatchObject({ status: 'failed', errorCode: code, state: { phase: 'abandoned', code } });
    expect(bench.story.filter((one) => one === 'capture')).toHaveLength(1);
  });

  it.each(['LEADERSHIP_LOST', 'INVARIANT_BROKEN'] as const)(
    'with %s leaves the intent to whoever comes next',
    async (code) => {
      await open('capture');
      bench.perform = failWith(code);
      expect((await rejection(bench.runner.run('i'))).code).toBe(code);
      expect(await intent()).toMatchObject({
        status: 'open',
        attempts: 0,
        errorCode: '',
        state: { phase: 'capturing' },
      });
    },
  );

  it('with something unknown is a defect', async () => {
    await open('capture');
    bench.perform = async () => {
      throw new TypeError('undefined is not a function');
    };
    expect((await rejection(bench.runner.run('i'))).code).toBe('INVARIANT_BROKEN');
  });

  it.each([
    ['domain-key', 10, 'parked', 'incomplete'],
    ['capture', 20, 'failed', 'abandoned'],
    ['replication', 20, 'failed', 'abandoned'],
    ['drill', 6, 'failed', 'failed'],
    ['scrub', 6, 'failed', 'failed'],
    ['divergence', 6, 'failed', 'abandoned'],
    ['rejoin', 20, 'failed', 'abandoned'],
    ['reseat', 4, 'failed', 'abandoned'],
    ['key-retirement', 6, 'failed', 'failed'],
  ] as const)('is given up in the %s after %i attempts: %s, %s', async (kind, attemptsMax, status, phase) => {
    await open(kind, { attempts: attemptsMax - 2 });
    bench.perform = async ({ type }) => {
      if (type === 'record-drill' || type === 'record-scrub') return { type: 'recorded' };
      throw new AntipodeError('SITE_UNREACHABLE', 'away');
    };
    expect((await rejection(bench.runner.run('i'))).code).toBe('SITE_UNREACHABLE');
    expect(await intent()).toMatchObject({ status: 'open', attempts: attemptsMax - 1 });
    await bench.runner.run('i');
    expect(await intent()).toMatchObject({ status, errorCode: 'SITE_UNREACHABLE', state: { phase } });
  });

  it.each(['drill', 'scrub'] as const)('is given time for its site to restart in the %s', async (kind) => {
    await open(kind, { attempts: 6, createdMs: bench.clock.wallMs() });
    bench.perform = async ({ type }) => {
      if (type.startsWith('record-')) return { type: 'recorded' };
      throw new AntipodeError('SITE_UNREACHABLE', 'restarts');
    };
    await bench.clock.advance(9 * 60_000);
    expect((await rejection(bench.runner.run('i'))).code).toBe('SITE_UNREACHABLE');
    expect(await intent()).toMatchObject({ status: 'open' });
    await bench.clock.advance(60_000);
    await bench.runner.run('i');
    expect(await intent()).toMatchObject({ status: 'failed', errorCode: 'SITE_UNREACHABLE' });
  });

  it('is never given up in a failover, and never for want of leadership', async () => {
    await open('failover', { attempts: 1_000, state: { phase: 'requested' } });
    bench.perform = failWith('SITE_UNREACHABLE');
    expect((await rejection(bench.runner.run('i'))).code).toBe('SITE_UNREACHABLE');
    expect(await intent()).toMatchObject({ status: 'open', attempts: 1_001 });
    await open('capture', { attempts: 1_000 });
    bench.perform = failWith('LEADERSHIP_LOST');
    expect((await rejection(bench.runner.run('i'))).code).toBe('LEADERSHIP_LOST');
    expect(await intent()).toMatchObject({ status: 'open', attempts: 1_000 });
  });

  it('to record a drill ends the drill as failed', async () => {
    await open('drill', {
      state: { phase: 'recording', code: '', outcome: undefined, ...TARGET, serial: 's' } as never,
    });
    bench.perform = failWith('ALREADY_EXISTS');
    await bench.runner.run('i');
    expect(await intent()).toMatchObject({ status: 'failed', errorCode: 'ALREADY_EXISTS', state: { phase: 'failed' } });
  });
});

it('waits for another operation of its group as long as that takes, and looks again soon', async () => {
  await open('capture', { attempts: 3 });
  bench.perform = failWith('GROUP_BUSY');
  for (let count = 0; count < 30; count += 1) {
    expect((await rejection(bench.runner.run('i'))).code).toBe('GROUP_BUSY');
    expect(await intent()).toMatchObject({ status: 'open', attempts: 3, errorCode: 'GROUP_BUSY' });
    expect((await intent()).nextAttemptMs).toBe(bench.clock.wallMs() + 1_000);
    await bench.clock.advance(1_000);
  }
});

describe('an operation that this release cannot continue', () => {
  const stuck = { status: 'parked', errorCode: 'OPERATION_STUCK' };
  const loud = (): unknown[] => bench.lines.map((line) => JSON.parse(line)).filter(({ level }) => level === 'error');
  const withCapture = (decide: Kind['decide']): Bench =>
    new Bench(({ capture, ...rest }) => ({ ...rest, capture: { ...capture!, decide } }));

  it('is parked when its machine does not come to an end, instead of an endless loop', async () => {
    await open('failover', { state: { phase: 'requested' } });
    bench.perform = async () => ({ type: 'something else' });
    await bench.runner.run('i');
    expect(await intent()).toMatchObject(stuck);
    expect(bench.story.length).toBeLessThan(200);
  });

  it.each([
    ['that is under way', 'capturing'],
    ['that has no meaning', 'unheard-of'],
  ])('is parked when its machine stops in a phase %s, and is not stored as failed', async (_what, phase) => {
    bench = withCapture(() => ({ state: { phase } }));
    await open('capture');
    await bench.runner.run('i');
    expect(await intent()).toMatchObject({ ...stuck, state: { phase: 'due' } });
    expect((await intent()).errorMessage).toContain(`phase ${phase}`);
  });

  it.each([
    [
      'fails',
      () => {
        throw new TypeError('no such field');
      },
    ],
    ['has no step', () => undefined as never],
  ])('is parked when its machine %s', async (_what, decide) => {
    bench = withCapture(decide);
    await open('capture');
    await bench.runner.run('i');
    expect(await intent()).toMatchObject({ ...stuck, state: { phase: 'due' } });
    expect((await intent()).errorMessage).toContain('phase due');
  });

  it('is parked as it is when another release wrote its kind or its phase', async () => {
    const state = { phase: 'weighing', grams: 3n } as never;
    await open('escrow' as IntentKind, { state, attempts: 3 });
    await bench.runner.run('i');
    expect(await intent()).toMatchObject({ ...stuck, kind: 'escrow', state, attempts: 3 });
    // Its site has done nothing wrong.
    expect((await intent()).failure).toMatchObject({ code: 'OPERATION_STUCK', site: '' });
    await open('capture', { state });
    await bench.runner.run('i');
    expect(await intent()).toMatchObject({ ...stuck, state });
    expect(bench.story.filter((one) => !one.startsWith('>'))).toEqual([]);
  });

  it('is logged as an error once a process, and is in the event log once', async () => {
    await open('escrow' as IntentKind);
    for (const _ of [1, 2, 3]) {
      await bench.runner.run('i');
      await database.rows.write((trx) => updateIntent(trx, 'i', { status: 'open' }, 0));
    }
    expect(loud()).toMatchObject([{ kind: 'escrow', group: 'payments', intent: 'i' }]);
    expect(await events()).toEqual(['operation-stuck']);
  });

  it('continues under a release that knows it', async () => {
    bench = new Bench(({ capture: _, ...rest }) => rest);
    await open('capture');
    await bench.runner.run('i');
    bench = new Bench();
    bench.perform = succeed;
    await database.rows.write((trx) => updateIntent(trx, 'i', { status: 'open' }, 0));
    await bench.runner.run('i');
    expect(await intent()).toMatchObject({ status: 'done', errorCode: '', state: { phase: 'captured' } });
  });

  it('is left alone when a person has ended it meanwhile', async () => {
    bench = withCapture(() => ({ state: { phase: 'capturing' } }));
    await open('capture');
    bench.beforeWrite = () => {
      bench.beforeWrite = () => {};
      void database.rows.write((trx) => updateIntent(trx, 'i', { status: 'cancelled' }, 0));
    };
    await bench.runner.run('i');
    expect(await intent()).toMatchObject({ status: 'cancelled', errorCode: '' });
    expect(loud()).toEqual([]);
  });
});

describe('how an intent ends', () => {
  const failures = [{ serial: 's2', code: 'PEER_NOT_PINNED', message: 'not pinned' }];
  const request = { from: 'a', wanted: '', acceptLoss: false, reason: 'operator', outageStartedMs: 0 };
  it.each([
    ['done', 'domain-key', { phase: 'taking-up', version: 2, sites: ['a'] }, { type: 'version-used' }, ''],
    [
      'parked',
      'domain-key',
      { phase: 'taking-up', version: 2, sites: ['a'] },
      { type: 'officers-awaited', failures: [{ ...failures[0]!, code: 'DOMAIN_KEY_UNTRUSTED' }] },
      'DOMAIN_KEY_UNTRUSTED',
    ],
    [
      'parked',
      'domain-key',
      { phase: 'distributing', version: 2 },
      { type: 'distributed', sites: ['a'], failures },
      'PEER_NOT_PINNED',
    ],
    ['done', 'key-retirement', { phase: 'recording', destroyed: [] }, { type: 'recorded' }, ''],
    ['done', 'reseat', { phase: 'reseating', active: '' }, { type: 'reseated', epoch: 2n }, ''],
    ['done', 'rejoin', { phase: 'rejoining' }, { type: 'rejoined' }, ''],
    ['done', 'scrub', { phase: 'recording', code: '', outcome: {} }, { type: 'recorded' }, ''],
    [
      'failed',
      'scrub',
      { phase: 'recording', code: 'DIGEST_MISMATCH', outcome: {} },
      { type: 'recorded' },
      'DIGEST_MISMATCH',
    ],
    ['done', 'failover', { phase: 'publishing', ...request }, { type: 'published', recoveryTimeMs: 1 }, ''],
    [
      'failed',
      'failover',
      { phase: 'requested', ...request },
      { type: 'surveyed', survey: { reachable: [], voters: 3, highestEpoch: 1n, known: [] } },
      'FAILOVER_REFUSED',
    ],
    [
      'failed',
      'replication',
      { phase: 'withdrawing', code: 'DIGEST_MISMATCH', ...TARGET, contentDigest: 'aa' },
      { type: 'withdrawn' },
      'DIGEST_MISMATCH',
    ],
    [
      'failed',
      'drill',
      { phase: 'recording', code: 'DRILL_UNCLEAN', ...TARGET },
      { type: 'recorded' },
      'DRILL_UNCLEAN',
    ],
  ] as const)('is %s for the %s %o', async (status, kind, state, event, errorCode) => {
    await open(kind, { state });
    bench.perform = async () => event;
    await bench.runner.run('i');
    expect(await intent()).toMatchObject({ status, errorCode });
    expect(await events()).toEqual([`${kind}-${(await intent()).state.phase}`]);
  });
});

describe('the log of events', () => {
  const fail = async (id: string): Promise<void> => {
    await bench.clock.advance(1);
    await open('capture', { id, createdMs: bench.clock.wallMs() });
    bench.perform = failWith('DOMAIN_KEY_MISSING');
    await bench.runner.run(id);
  };

  it('has no line for a capture that went well: a generation has its own, and a look that found nothing none', async () => {
    await open('capture');
    bench.perform = succeed;
    await bench.runner.run('i');
    expect([(await intent()).status, await events()]).toEqual(['done', []]);
  });

  it('has one line an hour for what fails again and again for one reason', async () => {
    for (const id of ['1', '2', '3']) await fail(id);
    expect(await events()).toEqual(['capture-abandoned']);
    await bench.clock.advance(3_600_000);
    await fail('4');
    await fail('5');
    expect(await events()).toEqual(['capture-abandoned', 'capture-abandoned']);
    await open('capture');
    bench.perform = failWith('IDENTITY_MISSING');
    await bench.runner.run('i');
    expect(await events()).toHaveLength(3);
  });
});
