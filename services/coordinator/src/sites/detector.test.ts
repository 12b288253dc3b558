import { DescribeResponseSchema, PeerObservationSchema } from '@antipode/protocol';
import { silentLog } from '@antipode/runtime';
import { FakeClock, thrown } from '@antipode/runtime/testing';
import { create } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PROFILES } from '../timings.ts';
import { Detector, type Probe, type Transition } from './detector.ts';

const TIMINGS = PROFILES.default;
const SITES = ['a', 'b', 'c'];

/** A detector whose probes and own delay the test sets as it goes. */
class Watch {
  readonly clock = new FakeClock();
  /** Answers by `observer>suspect`; undefined where the observer cannot be asked. */
  readonly reaches = new Map<string, boolean>();
  readonly asked: string[] = [];
  loopDelayMs = 0;
  duringProbe: () => Promise<void> = async () => {};
  readonly recorded: Transition[] = [];
  /** The voting sites of each group. */
  voters: readonly (readonly string[])[] = [];
  readonly detector: Detector;

  constructor(sites: readonly string[] = SITES) {
    const probe: Probe = async (observer, suspect) => {
      this.asked.push(`${observer.site}>${suspect.site}`);
      await this.duringProbe();
      return this.reaches.get(`${observer.site}>${suspect.site}`);
    };
    this.detector = new Detector({
      clock: this.clock,
      log: silentLog,
      timings: TIMINGS,
      loopDelayMs: () => this.loopDelayMs,
      probe,
      votersWith: (site) => this.voters.filter((sites) => sites.includes(site)),
      record: (change) => this.recorded.push(change),
    });
    for (const site of sites) this.hear(site);
  }

  /** As a heartbeat is taken: one that is refused changes nothing. */
  hear(site: string, instance = `${site}-1`, admission: Parameters<Detector['admit']>[2] = {}): void {
    this.detector.admit({ site, instance }, { address: '', peer: '' }, admission);
    this.detector.heard(create(DescribeResponseSchema, { site, instance }), { address: `${site}:1` });
  }

  status(site: string): string | undefined {
    return this.detector.view(site)?.status;
  }

  /** Time passes in which only these sites are heard. */
  async silence(ms: number, heard: readonly string[]): Promise<void> {
    await this.clock.advance(ms);
    for (const site of heard) this.hear(site);
  }

  /** `count` passes, one heartbeat apart. */
  async passes(count: number, heard: readonly string[]): Promise<void> {
    for (let left = count; left > 0; left -= 1) {
      await this.detector.pass();
      if (left > 1) await this.silence(TIMINGS.heartbeatMs, heard);
    }
  }
}

const others = ['b', 'c'];

describe('among two hundred sites', () => {
  const sites = Array.from({ length: 200 }, (_, index) => `s${String(index).padStart(3, '0')}`);
  const heard = sites.slice(30);

  it('a region that falls silent is looked for by a few sites each, and every round by others', async () => {
    const watch = new Watch(sites);
    await watch.silence(TIMINGS.suspectMs + 1, heard);
    await watch.passes(1, heard);
    expect(watch.asked).toHaveLength(30 * 8);
    const calls = new Map<string, number>();
    for (const pair of watch.asked) calls.set(pair.split('>')[0]!, (calls.get(pair.split('>')[0]!) ?? 0) + 1);
    expect(Math.max(...calls.values())).toBeLessThanOrEqual(2);
    const first = new Set(watch.asked);
    watch.asked.length = 0;
    await watch.passes(1, heard);
    expect(watch.asked.filter((pair) => first.has(pair))).toEqual([]);
  });

  it('a silent site is looked for first by those that reached it last', async () => {
    const watch = new Watch(sites);
    await watch.silence(TIMINGS.suspectMs + 1, heard.slice(0, -1));
    const seen = create(PeerObservationSchema, { site: 's000', reached: true, ageMs: 300n });
    watch.detector.heard(create(DescribeResponseSchema, { site: 's199', instance: 's199-1' }), {
      address: 's199:1',
      observations: [seen],
    });
    watch.reaches.set('s199>s000', true);
    await watch.passes(1, heard);
    expect(watch.asked).toContain('s199>s000');
    expect(watch.detector.view('s000')).toMatchObject({ status: 'suspect', refutations: 1 });
  });
});

describe('a silent site', () => {
  it('is down when nobody reaches it either, and not before the last round of probes', async () => {
    const watch = new Watch();
    for (const other of others) watch.reaches.set(`${other}>a`, false);
    await watch.silence(TIMINGS.suspectMs + 1, others);
    for (let round = 1; round < TIMINGS.probeRounds; round += 1) {
      await watch.passes(1, others);
      expect(watch.status('a')).toBe('suspect');
      await watch.silence(TIMINGS.heartbeatMs, others);
    }
    await watch.passes(1, others);
    expect(watch.status('a')).toBe('down');
    expect(others.map((site) => watch.status(site))).toEqual(['up', 'up']);
  });

  it('is not even looked at before it has been silent for the set time', async () => {
    const watch = new Watch();
    await watch.silence(TIMINGS.suspectMs, others);
    await watch.passes(1, others);
    expect(watch.asked).toEqual([]);
    expect(watch.status('a')).toBe('up');
  });

  it('is never down while another site reaches it', async () => {
    const watch = new Watch();
    watch.reaches.set('b>a', false).set('c>a', true);
    await watch.silence(TIMINGS.suspectMs * 10, others);
    await watch.passes(TIMINGS.probeRounds * 5, others);
    expect(watch.status('a')).toBe('suspect');
  });

  it('is never down where nobody could say that it does not reach it', async () => {
    const watch = new Watch();
    await watch.silence(TIMINGS.suspectMs * 10, others);
    await watch.passes(TIMINGS.probeRounds * 5, others);
    expect(watch.detector.view('a')).toMatchObject({ status: 'suspect', failedRounds: 0 });
    expect(watch.asked).toContain('b>a');
  });

  it('is not brought nearer to its end by a round in which nobody could look', async () => {
    const watch = new Watch();
    watch.reaches.set('b>a', false);
    await watch.silence(TIMINGS.suspectMs + 1, others);
    await watch.passes(TIMINGS.probeRounds - 1, others);
    watch.reaches.clear();
    await watch.passes(TIMINGS.probeRounds * 2, others);
    expect(watch.detector.view('a')).toMatchObject({ status: 'suspect', failedRounds: TIMINGS.probeRounds - 1 });
    watch.reaches.set('c>a', false);
    await watch.passes(1, others);
    expect(watch.status('a')).toBe('down');
  });

  it('is down by the word of a single observer, and of none never', async () => {
    const pair = new Watch(['a', 'b']);
    pair.reaches.set('b>a', false);
    await pair.silence(TIMINGS.suspectMs + 1, ['b']);
    await pair.passes(TIMINGS.probeRounds, ['b']);
    expect([pair.status('a'), pair.status('b')]).toEqual(['down', 'up']);
    const all = new Watch();
    for (const one of SITES) for (const other of SITES) all.reaches.set(`${one}>${other}`, false);
    await all.silence(TIMINGS.suspectMs + 1, []);
    await all.passes(1, []);
    await all.passes(TIMINGS.probeRounds * 5, []);
    expect(SITES.map((site) => all.status(site))).toEqual(['suspect', 'suspect', 'suspect']);
  });

  it('is never down while this process was itself late', async () => {
    const watch = new Watch();
    for (const other of others) watch.reaches.set(`${other}>a`, false);
    watch.loopDelayMs = TIMINGS.loopDelayMsMax + 1;
    await watch.silence(TIMINGS.suspectMs * 10, others);
    await watch.passes(TIMINGS.probeRounds * 5, others);
    expect(watch.status('a')).toBe('suspect');
    expect(watch.asked).toEqual([]);
  });

  it.each(['an observer reached it', 'this process was late'])('has all rounds again after %s', async (why) => {
    const watch = new Watch();
    for (const other of others) watch.reaches.set(`${other}>a`, false);
    await watch.silence(TIMINGS.suspectMs + 1, others);
    await watch.passes(TIMINGS.probeRounds - 1, others);
    if (why === 'this process was late') watch.loopDelayMs = TIMINGS.loopDelayMsMax + 1;
    else watch.reaches.set('b>a', true);
    await watch.passes(1, others);
    watch.loopDelayMs = 0;
    watch.reaches.set('b>a', false);
    await watch.passes(TIMINGS.probeRounds - 1, others);
    expect(watch.status('a')).toBe('suspect');
    await watch.passes(1, others);
    expect(watch.status('a')).toBe('down');
  });

  it('asks only sites that are up, and itself never', async () => {
    const watch = new Watch(['a', 'b', 'c', 'd']);
    for (const site of ['a', 'd']) watch.reaches.set(`b>${site}`, false).set(`c>${site}`, false);
    await watch.silence(TIMINGS.suspectMs + 1, others);
    await watch.passes(2, others);
    for (const asked of watch.asked) expect(asked[0]).not.toBe(asked[2]);
    watch.asked.length = 0;
    watch.detector.expect([{ site: 'e', address: '' }]);
    await watch.silence(TIMINGS.suspectMs + 1, others);
    await watch.passes(1, others);
    expect(watch.asked).toEqual(['b>e', 'c>e']);
  });

  it('is up again with one heartbeat, whatever it was', async () => {
    const watch = new Watch();
    for (const other of others) watch.reaches.set(`${other}>a`, false);
    await watch.silence(TIMINGS.suspectMs + 1, others);
    await watch.passes(TIMINGS.probeRounds, others);
    watch.hear('a', 'a-2');
    expect(watch.detector.view('a')).toMatchObject({ status: 'up', failedRounds: 0, instance: 'a-2' });
  });

  it('that is heard while it is being probed stays up, and its next silence starts from there', async () => {
    const watch = new Watch();
    for (const other of others) watch.reaches.set(`${other}>a`, false);
    await watch.silence(TIMINGS.suspectMs + 1, others);
    await watch.passes(TIMINGS.probeRounds - 1, others);
    await watch.silence(TIMINGS.heartbeatMs, others);
    watch.duringProbe = async () => {
      await watch.clock.advance(1);
      watch.hear('a');
    };
    await watch.passes(1, others);
    expect(watch.detector.view('a')).toMatchObject({ status: 'up', failedRounds: 0 });
    watch.duringProbe = async () => {};
    await watch.silence(TIMINGS.suspectMs + 1, others);
    await watch.passes(1, others);
    expect(watch.status('a')).toBe('suspect');
  });
});

describe('a site that the database knows', () => {
  it('is unknown until it is heard, and its silence counts from when it was expected', async () => {
    const watch = new Watch(others);
    await watch.silence(60_000, others);
    watch.detector.expect([{ site: 'a', address: 'a:1' }]);
    await watch.passes(1, others);
    expect(watch.detector.view('a')).toMatchObject({ status: 'unknown', address: 'a:1', lastWallMs: undefined });
    await watch.silence(TIMINGS.suspectMs + 1, others);
    await watch.passes(1, others);
    expect(watch.status('a')).toBe('suspect');
  });

  it.each(['up', 'suspect', 'down'] as const)(
    'is unknown again when a leadership begins, although it was %s',
    async (was) => {
      const watch = new Watch();
      for (const other of others) watch.reaches.set(`${other}>a`, false);
      if (was !== 'up') await watch.silence(TIMINGS.suspectMs + 1, others);
      await watch.passes(was === 'down' ? TIMINGS.probeRounds : 1, others);
      expect([watch.status('a'), watch.detector.isUp('a')]).toEqual([was, was === 'up']);
      const startedMs = watch.clock.monotonicMs();
      watch.detector.expect(SITES.map((site) => ({ site, address: `${site}.new:1` })));
      expect(watch.detector.view('a')).toMatchObject({
        status: 'unknown',
        address: 'a.new:1',
        instance: '',
        lastMs: startedMs,
        lastWallMs: undefined,
        failedRounds: 0,
        state: undefined,
      });
      expect(SITES.map((site) => watch.detector.isUp(site))).toEqual([false, false, false]);
    },
  );

  it('has its whole silence and all rounds again under a new leader', async () => {
    const watch = new Watch();
    for (const other of others) watch.reaches.set(`${other}>a`, false);
    await watch.silence(TIMINGS.suspectMs + 1, others);
    await watch.passes(TIMINGS.probeRounds - 1, others);
    watch.detector.expect(SITES.map((site) => ({ site, address: `${site}:1` })));
    await watch.silence(TIMINGS.suspectMs, others);
    await watch.passes(1, others);
    expect(watch.status('a')).toBe('unknown');
    await watch.silence(TIMINGS.heartbeatMs, others);
    await watch.passes(TIMINGS.probeRounds - 1, others);
    expect(watch.status('a')).toBe('suspect');
    await watch.passes(1, others);
    expect(watch.status('a')).toBe('down');
  });

  it('may come with another agent under the new leader', () => {
    const watch = new Watch();
    watch.detector.expect([{ site: 'a', address: 'a:1' }]);
    watch.hear('a', 'a-2');
    expect(watch.detector.view('a')).toMatchObject({ status: 'up', instance: 'a-2' });
    expect(watch.detector.isUp('z')).toBe(false);
  });
});

describe('a coordinator that may be cut off itself', () => {
  const cutOff = async (lost: readonly string[], left: readonly string[]): Promise<Watch> => {
    const watch = new Watch([...lost, ...left]);
    for (const observer of left) for (const site of lost) watch.reaches.set(`${observer}>${site}`, false);
    await watch.silence(TIMINGS.suspectMs + 1, left);
    await watch.passes(TIMINGS.probeRounds * 3, left);
    return watch;
  };

  it.each([
    [['a', 'b'], ['c']],
    [
      ['a', 'b', 'c'],
      ['d', 'e'],
    ],
  ])('does not convict %s, which it loses at once, while it hears only %s', async (lost, left) => {
    const watch = await cutOff(lost, left);
    expect(lost.map((site) => watch.status(site))).toEqual(lost.map(() => 'suspect'));
    expect(watch.detector.view('a')).toMatchObject({
      failedRounds: 0,
      reason: expect.stringContaining(`hears only ${left.length} of ${lost.length + left.length} sites`),
    });
  });

  it.each([
    [['a'], ['b']],
    [
      ['a', 'b'],
      ['c', 'd'],
    ],
  ])('convicts %s while it hears as many: %s', async (lost, left) => {
    const watch = await cutOff(lost, left);
    expect(lost.map((site) => watch.status(site))).toEqual(lost.map(() => 'down'));
  });

  it('convicts a site of a group whose other voters it hears, however many sites are gone when it becomes the leader', async () => {
    const watch = new Watch([]);
    watch.voters = [
      ['a', 'b', 'c'],
      ['d', 'e', 'a'],
    ];
    watch.detector.expect([...'abcdefg'].map((site) => ({ site, address: `${site}:1` })));
    for (const site of 'acdefg') watch.reaches.set(`b>${site}`, false).set(`c>${site}`, false);
    await watch.silence(TIMINGS.suspectMs + 1, SITES);
    await watch.passes(TIMINGS.probeRounds, SITES);
    expect([...'abcde'].map((site) => watch.status(site))).toEqual(['up', 'up', 'up', 'suspect', 'suspect']);
    await watch.silence(TIMINGS.suspectMs + 1, ['b', 'c']);
    await watch.passes(TIMINGS.probeRounds, ['b', 'c']);
    expect([...'abcde'].map((site) => watch.status(site))).toEqual(['down', 'up', 'up', 'suspect', 'suspect']);
  });

  it('convicts no site of a group whose majority it misses', async () => {
    const watch = new Watch([...'abcde']);
    watch.voters = [['a', 'b', 'c']];
    watch.reaches.set('c>a', false).set('c>b', false);
    await watch.silence(TIMINGS.suspectMs + 1, ['c']);
    await watch.passes(TIMINGS.probeRounds * 3, ['c']);
    expect(['a', 'b'].map((site) => watch.status(site))).toEqual(['suspect', 'suspect']);
  });

  it('convicts sites that are lost one after another, down to the last but one', async () => {
    const watch = await cutOff(['a'], ['b', 'c']);
    watch.reaches.set('c>b', false);
    await watch.silence(TIMINGS.suspectMs + 1, ['c']);
    await watch.passes(TIMINGS.probeRounds, ['c']);
    expect(SITES.map((site) => watch.status(site))).toEqual(['down', 'down', 'up']);
  });
});

describe('why a site is in its state', () => {
  it('is what each observer saw in the last round, and since when the state lasts', async () => {
    const watch = new Watch(['a', 'b', 'c', 'd']);
    watch.reaches.set('b>a', false).set('c>a', false);
    await watch.silence(TIMINGS.suspectMs + 1, ['b', 'c', 'd']);
    await watch.passes(1, []);
    const atMs = watch.clock.monotonicMs();
    await watch.silence(TIMINGS.heartbeatMs, ['b', 'c', 'd']);
    expect(watch.detector.view('a')).toMatchObject({
      status: 'suspect',
      sinceMs: atMs,
      looks: [
        { observer: 'b', reached: false, atMs },
        { observer: 'c', reached: false, atMs },
        { observer: 'd', reached: undefined, atMs },
      ],
    });
    await watch.passes(TIMINGS.probeRounds - 1, []);
    expect(watch.detector.view('a')).toMatchObject({ status: 'down', sinceMs: watch.clock.monotonicMs() });
  });

  it('includes each refutation once a silence, on record with who reached it', async () => {
    const watch = new Watch();
    for (let silence = 1; silence <= 2; silence += 1) {
      watch.reaches.set('b>a', false).set('c>a', true);
      await watch.silence(TIMINGS.suspectMs + 1, others);
      await watch.passes(4, others);
      expect(watch.detector.view('a')).toMatchObject({ status: 'suspect', refutations: silence });
      watch.hear('a');
    }
    expect(watch.detector.view('a')).toMatchObject({ status: 'up', refutations: 2 });
    expect(watch.recorded.map(({ kind, site }) => `${kind} ${site}`)).toEqual([
      'suspicion-refuted a',
      'suspicion-refuted a',
    ]);
    expect(watch.recorded[0]?.reason).toContain('from site c');
  });

  it('is on record where it was down, and up again', async () => {
    const watch = new Watch();
    for (const other of others) watch.reaches.set(`${other}>a`, false);
    await watch.silence(TIMINGS.suspectMs + 1, others);
    await watch.passes(TIMINGS.probeRounds + 3, others);
    watch.hear('a');
    watch.hear('a');
    expect(watch.recorded.map(({ kind, site }) => `${kind} ${site}`)).toEqual(['site-down a', 'site-up a']);
  });
});

describe('a second agent under the name of a living one', () => {
  it('is refused, and changes nothing', async () => {
    const watch = new Watch();
    await watch.clock.advance(TIMINGS.heartbeatMs);
    expect(thrown(() => watch.hear('a', 'a-2')).code).toBe('ALREADY_EXISTS');
    expect(watch.detector.view('a')).toMatchObject({ instance: 'a-1', lastMs: 0 });
  });

  it('is reported with its place, its start and its count, while it keeps trying', async () => {
    const watch = new Watch();
    const from = { address: 'other:1', peer: '10.0.0.7:4711' };
    const refuse = (instance: string) => thrown(() => watch.detector.admit({ site: 'a', instance }, from)).code;
    expect(watch.detector.refused('a')).toBeUndefined();
    expect(refuse('a-2')).toBe('ALREADY_EXISTS');
    await watch.silence(TIMINGS.heartbeatMs, ['a']);
    expect(refuse('a-2')).toBe('ALREADY_EXISTS');
    const since = { sinceMs: 0, lastMs: TIMINGS.heartbeatMs, heartbeats: 2 };
    expect(watch.detector.refused('a')).toEqual({ ...from, instance: 'a-2', ...since });
    for (let second = 0; second < 61; second += 1) await watch.silence(1_000, ['a']);
    expect(watch.detector.refused('a')).toBeUndefined();
  });

  it('is not told of any more when it is the one, or a new leader begins to listen', async () => {
    for (const end of [
      async (watch: Watch) => {
        await watch.clock.advance(TIMINGS.heartbeatMs * 2);
        watch.hear('a', 'a-2');
      },
      async (watch: Watch) => watch.detector.expect([]),
    ]) {
      const watch = new Watch();
      thrown(() => watch.detector.admit({ site: 'a', instance: 'a-2' }));
      expect(watch.detector.refused('a')).toBeDefined();
      await end(watch);
      expect(watch.detector.refused('a')).toBeUndefined();
    }
  });

  it('is refused for as long as the other may hold a lease, however long that is silent', async () => {
    const watch = new Watch();
    await watch.clock.advance(TIMINGS.leaseMs / 2);
    const copy = (admission: Parameters<Detector['admit']>[2]) => () => watch.hear('a', 'a-2', admission);
    expect(thrown(copy({ predecessor: 'unknown', mayHoldLease: true })).code).toBe('ALREADY_EXISTS');
    expect(watch.detector.view('a')?.instance).toBe('a-1');
    // The other was paused, and goes on.
    watch.hear('a', 'a-1', { predecessor: 'itself', mayHoldLease: true });
    await watch.clock.advance(TIMINGS.leaseMs);
    copy({ predecessor: 'unknown', mayHoldLease: false })();
    expect(watch.detector.view('a')?.instance).toBe('a-2');
    expect(thrown(() => watch.hear('a', 'a-1', { predecessor: 'unknown' })).code).toBe('ALREADY_EXISTS');
  });

  it('is taken at once where it holds the lock of the other, which has ended then', () => {
    const watch = new Watch();
    watch.hear('a', 'a-2', { predecessor: 'ended', mayHoldLease: true });
    expect(watch.detector.view('a')?.instance).toBe('a-2');
  });

  it('is refused by a new leader too, which has heard neither and knows the other by its journal', () => {
    const watch = new Watch();
    watch.detector.expect([{ site: 'a', address: 'a:1' }]);
    expect(thrown(() => watch.hear('a', 'a-2', { predecessor: 'unknown', mayHoldLease: true })).code).toBe(
      'ALREADY_EXISTS',
    );
    watch.hear('a', 'a-1', { predecessor: 'itself', mayHoldLease: true });
    expect(watch.detector.view('a')?.instance).toBe('a-1');
  });

  it('is taken for its successor once the other is silent', async () => {
    const watch = new Watch();
    await watch.clock.advance(TIMINGS.heartbeatMs * 2);
    watch.hear('a', 'a-2');
    expect(watch.detector.view('a')?.instance).toBe('a-2');
  });
});

it('keeps its word in every order of heartbeats, silences, probes and delays of its own', async () => {
  const answer = fc.option(fc.boolean(), { nil: undefined });
  const moment = fc.record({
    ms: fc.constantFrom(1, TIMINGS.heartbeatMs, TIMINGS.heartbeatMs, TIMINGS.suspectMs),
    heard: fc.subarray(SITES),
    heardMeanwhile: fc.subarray(SITES, { maxLength: 1 }),
    isLate: fc.constantFrom(false, false, false, true),
    answers: fc.record(
      Object.fromEntries(SITES.flatMap((one) => SITES.map((other) => [`${one}>${other}`, answer] as const))),
    ),
  });
  const down = new Set<string>();
  await fc.assert(
    fc.asyncProperty(fc.array(moment, { maxLength: 12 }), async (moments) => {
      const watch = new Watch();
      const lastMs = new Map(SITES.map((site) => [site, 0]));
      const hear = (site: string): void => {
        watch.hear(site);
        lastMs.set(site, watch.clock.monotonicMs());
      };
      for (const { ms, heard, heardMeanwhile, isLate, answers } of moments) {
        await watch.clock.advance(ms);
        for (const site of heard) hear(site);
        watch.reaches.clear();
        for (const [key, reached] of Object.entries(answers))
          if (reached !== undefined) watch.reaches.set(key, reached);
        watch.loopDelayMs = isLate ? TIMINGS.loopDelayMsMax + 1 : 0;
        watch.duringProbe = async () => {
          watch.duringProbe = async () => {};
          await watch.clock.advance(1);
          for (const site of heardMeanwhile) hear(site);
        };
        const before = new Map(watch.detector.sites.map((view) => [view.site, view]));
        const passedAtMs = watch.clock.monotonicMs();
        await watch.detector.pass();
        for (const { site, status, failedRounds } of watch.detector.sites) {
          const was = before.get(site)!;
          const silentMs = watch.clock.monotonicMs() - lastMs.get(site)!;
          if (silentMs <= TIMINGS.suspectMs)
            expect({ site, status, failedRounds }).toEqual({ site, status: 'up', failedRounds: 0 });
          if (status !== 'down' || was.status === 'down') continue;
          down.add(site);
          expect(isLate).toBe(false);
          expect(was.status).toBe('suspect');
          expect(was.failedRounds).toBe(TIMINGS.probeRounds - 1);
          const words = [...before.values()]
            .filter((observer) => observer.site !== site && observer.status === 'up')
            .map((observer) => answers[`${observer.site}>${site}`]);
          expect(words).toContain(false);
          expect(words).not.toContain(true);
          // It hears at least as many sites as it misses, of those that were not down before.
          const known = [...before.values()].filter((view) => view.status !== 'down');
          const missed = known.filter((view) => view.status !== 'up' || passedAtMs - view.lastMs > TIMINGS.suspectMs);
          expect(missed.length).toBeLessThanOrEqual(known.length - missed.length);
        }
      }
    }),
    { numRuns: 3_000 },
  );
  expect([...down].sort()).toEqual(SITES);
});

it('remembers since when an HSM has been gone, and forgets it when it is back', async () => {
  const clock = new FakeClock();
  const detector = new Detector({
    clock,
    log: silentLog,
    timings: PROFILES.default,
    loopDelayMs: () => 0,
    probe: async () => undefined,
  });
  const since = (errorCode: string, unansweredMs = 0): number | undefined => {
    const partitions = [{ serial: 's', errorCode, unansweredMs }];
    detector.heard(create(DescribeResponseSchema, { site: 'a', instance: 'i', partitions }), { address: 'a:1' });
    return detector.view('a')?.hsmLostMs?.get('s');
  };
  const first = clock.wallMs();
  expect(since('HSM_UNAVAILABLE')).toBe(first);
  await clock.advance(1_000);
  expect(since('PARTITION_NOT_FOUND')).toBe(first);
  for (const code of ['', 'PIN_REFUSED', 'DOMAIN_KEY_MISSING', 'FILE_BUSY']) expect(since(code)).toBeUndefined();
  expect(since('', PROFILES.default.hangMs * 5)).toBeUndefined();
  expect(since('', PROFILES.default.hangMs * 5 + 1)).toBe(clock.wallMs());
});
