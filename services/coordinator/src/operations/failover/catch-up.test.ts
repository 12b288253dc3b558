/** The last look before an active member that answers is left: its successor catches up with it, or nothing changes. */
import { type ErrorCode, fromHex } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import { testDatabase } from '../../testing/database.ts';
import { CHOSEN, EffectsBench, intentOf } from '../../testing/effects-bench.ts';
import { generation } from '../../testing/situation.ts';
import { failover } from './effects.ts';
import type { FailoverEffect } from './machine.ts';

const database = testDatabase();
const LAST = generation({ number: 6n, manifestDigest: 'cc', contentDigest: 'bb' });
const EFFECT: FailoverEffect = { ...CHOSEN, type: 'catch-up' };
const REF = { epoch: 1n, generation: 5n, manifestDigest: fromHex('aa'), contentDigest: fromHex('bb') };
const applied = (refusedObjects = 0) => ({
  ...{ appliedObjects: 1, pulledBlobs: 1, divergentObjects: 0, unaccountedObjects: 0, refusedObjects },
});
let bench: EffectsBench;
const catchUp = () => failover(bench.context, intentOf(''), EFFECT);
const hang = (site: string): void =>
  void bench.partitions.set(site, { errorCode: '', unansweredMs: bench.context.ports.timings.hangMs + 1 });
/** The numbers of what is on record. */
const captured = async (): Promise<bigint[]> => (await database.rows.generations()).map(({ number }) => number);
const acknowledged = (): Promise<string[]> => database.rows.acknowledgements();
/** b has acknowledged the generation before. */
beforeEach(async () => {
  bench = new EffectsBench(database);
  await database.rows.group();
  await database.rows.captured([generation()]);
  await database.rows.acknowledged('b', generation());
  bench.answers
    .set('capture', { generation: { ...REF, objectCount: 1, domainKeyVersion: 1, uncaptured: [] }, isNew: true })
    .set('apply', applied())
    .set('verify', { contentDigest: fromHex('bb'), proof: { proved: 1, failed: 0 } });
});

describe('a target that catches up', () => {
  it('has everything captured, applied, read back in whole and acknowledged, before service stops', async () => {
    bench.answers.set('verify', async () => {
      await bench.clock.advance(700);
      return { contentDigest: fromHex('bb'), proof: { proved: 1, failed: 0 } };
    });
    expect(await catchUp()).toEqual({
      type: 'caught-up',
      generation: { epoch: 1n, number: 5n, manifestDigest: 'aa' },
      startedMs: bench.clock.wallMs(),
    });
    expect(bench.ordered).toEqual(['capture a', 'apply b', 'verify b']);
    expect(bench.orders[2]?.request['everything']).toBe(true);
    expect([await captured(), await acknowledged()]).toEqual([[4n, 5n], ['b 5']]);
  });

  it('tries again what its token has refused, and stays a standby where it still does', async () => {
    bench.answers.set('apply', applied(2));
    const refused = await rejection(catchUp());
    expect([refused.code, refused.message]).toEqual([
      'FAILOVER_REFUSED',
      '[FAILOVER_REFUSED] the token of site b refuses 2 objects of the group, which would not be served there; nothing was changed',
    ]);
    expect(refused.hint).toContain('repeat the command with --accept-loss');
    expect([bench.orders[1]?.request['retryRefused'], await acknowledged()]).toEqual([true, ['b 4']]);
    const switchover = await rejection(
      failover(bench.context, intentOf(''), { ...EFFECT, planned: true } as FailoverEffect),
    );
    expect(switchover.hint).toContain('`antipode failover payments --to b --accept-loss`');
    const shown = { ...EFFECT, acceptedRefused: 2 } as FailoverEffect;
    expect((await failover(bench.context, intentOf(''), shown)).type).toBe('caught-up');
  });

  it('has the newest generation where the capture is held, but not in a planned move: what came since is in none', async () => {
    const { contentDigest } = generation();
    bench.answers
      .set('capture', 'CAPTURE_HELD')
      .set('verify', { contentDigest: fromHex(contentDigest), proof: { proved: 1, failed: 0 } });
    expect(await catchUp()).toMatchObject({ type: 'caught-up', generation: { number: 4n } });
    expect(bench.ordered).toEqual(['capture a', 'apply b', 'verify b']);
    bench.orders.length = 0;
    const refused = await rejection(
      failover(bench.context, intentOf(''), { ...EFFECT, planned: true } as FailoverEffect),
    );
    expect([refused.code, refused.disposition]).toEqual(['FAILOVER_REFUSED', 'operator']);
    expect(refused.message).toMatch(/the last capture of site a is held: .*; nothing was changed$/);
    expect(refused.hint).toContain('`antipode failover payments --to b`');
    expect([bench.ordered, await acknowledged()]).toEqual([['capture a'], ['b 4']]);
  });

  it('is given up at the deadline of a switchover, and nothing was acknowledged', async () => {
    const effect = { ...EFFECT, deadlineMs: 1_000 } as FailoverEffect;
    bench.answers.set('apply', () => new Promise(() => {}));
    let code = '';
    const ended = rejection(failover(bench.context, intentOf(''), effect)).then((error) => {
      code = error.code;
    });
    await bench.clock.advance(999);
    expect(code).toBe('');
    await bench.clock.advance(1);
    await ended;
    expect(code).toBe('FAILOVER_REFUSED');
    expect(await acknowledged()).toEqual(['b 4']);
  });

  it('does not begin after the deadline', async () => {
    await bench.clock.advance(1_000);
    const effect = { ...EFFECT, deadlineMs: 1_000 } as FailoverEffect;
    const refused = await rejection(failover(bench.context, intentOf(''), effect));
    expect(refused.code).toBe('FAILOVER_REFUSED');
    // The hint of the catalogue would have a person accept a loss, and nothing is wrong.
    expect(refused.hint).not.toContain('--accept-loss');
    expect(bench.orders).toEqual([]);
  });

  it.each([
    ['OBJECT_UNPROVEN', { contentDigest: fromHex('bb'), proof: { proved: 1, failed: 1 } }],
    ['DIGEST_MISMATCH', { contentDigest: fromHex('cc'), proof: { proved: 1, failed: 0 } }],
  ])(
    'ends it with %s where it does not prove what it has, and it has acknowledged nothing any more',
    async (code, verified) => {
      bench.answers.set('verify', verified);
      expect((await rejection(catchUp())).code).toBe(code);
      expect([await captured(), await acknowledged()]).toEqual([[4n, 5n], []]);
    },
  );

  it.each(['capture', 'apply', 'verify'])('is tried again where %s fails for a while', async (method) => {
    bench.answers.set(method, 'TIMED_OUT');
    bench.statuses.set('c', 'down');
    expect((await rejection(catchUp())).code).toBe('TIMED_OUT');
  });

  it('ends after some attempts, or some time, with its last cause, and changes nothing', async () => {
    bench.answers.set('apply', 'HSM_UNAVAILABLE');
    const trying = (rest: object) => failover(bench.context, { ...intentOf(''), ...rest }, EFFECT);
    expect((await rejection(trying({ attempts: 4 }))).code).toBe('HSM_UNAVAILABLE');
    const error = await rejection(trying({ attempts: 5 }));
    expect([error.code, error.message]).toEqual(['FAILOVER_REFUSED', expect.stringContaining('HSM_UNAVAILABLE')]);
    await bench.clock.advance(30 * 60_000);
    expect((await rejection(trying({ attempts: 0 }))).code).toBe('FAILOVER_REFUSED');
    expect(await acknowledged()).toEqual(['b 4']);
  });

  it.each(['a', 'b'])('ends it where site %s is lost meanwhile: that is for a person to look at', async (site) => {
    bench.answers.set('verify', 'SITE_UNREACHABLE');
    for (const status of ['suspect', 'down', 'unknown'] as const) {
      bench.statuses.set(site, status);
      expect((await rejection(catchUp())).code).toBe('FAILOVER_REFUSED');
    }
    expect(await acknowledged()).toEqual(['b 4']);
  });

  it.each(['a', 'b'])('is tried again where a new leader has not heard site %s yet', async (site) => {
    bench.answers.set('verify', 'SITE_UNREACHABLE');
    bench.unheard.add(site);
    expect((await rejection(catchUp())).code).toBe('SITE_UNREACHABLE');
    bench.statuses.set(site, 'suspect');
    expect((await rejection(catchUp())).code).toBe('FAILOVER_REFUSED');
  });

  it.each<[string, string, () => void]>([
    ['capture', 'the HSM at site a hangs', () => hang('a')],
    ['apply', 'the HSM at site b hangs', () => hang('b')],
    ['verify', 'the HSM at site b hangs', () => hang('b')],
    ['apply', 'site a is lost', () => bench.statuses.set('a', 'down')],
    ['apply', 'site b is lost', () => bench.statuses.set('b', 'down')],
  ])(
    'is not waited for in %s when %s: captures wait for the move, and so does any other failover',
    async (method, _what, strike) => {
      bench.answers.set(method, () => new Promise(() => {}));
      const given = rejection(catchUp());
      await bench.clock.advance(bench.context.ports.timings.heartbeatMs * 3);
      strike();
      await bench.clock.advance(bench.context.ports.timings.heartbeatMs * 2);
      const error = await given;
      expect([error.code, error.message]).toEqual(['FAILOVER_REFUSED', expect.stringContaining('nothing was changed')]);
      expect(await acknowledged()).toEqual(['b 4']);
    },
  );

  it('is waited for while its HSM answers, and while a site is only suspect', async () => {
    let finish: ((answer: Record<string, unknown>) => void) | undefined;
    bench.answers.set(
      'apply',
      () =>
        new Promise((resolve) => {
          finish = resolve;
        }),
    );
    bench.partitions.set('b', { errorCode: '', unansweredMs: bench.context.ports.timings.hangMs });
    bench.statuses.set('a', 'suspect');
    const given = catchUp();
    await bench.clock.advance(bench.context.ports.timings.heartbeatMs * 30);
    finish?.({ appliedObjects: 1, pulledBlobs: 1, divergentObjects: 0, unaccountedObjects: 0 });
    expect((await given).type).toBe('caught-up');
  });

  it('gets each obstacle under its own code, even if a site is lost', async () => {
    bench.statuses.set('b', 'down');
    for (const code of ['HSM_FULL', 'EPOCH_STALE', 'INVARIANT_BROKEN'] satisfies ErrorCode[]) {
      bench.answers.set('apply', code);
      expect((await rejection(catchUp())).code).toBe(code);
    }
  });
});

describe('a target that is handed the last generation of the old tenure', () => {
  const HANDOVER = { newest: { epoch: 1n, number: 6n, manifestDigest: 'cc' }, holders: ['a'] };
  const handOver = (attempts = 0) =>
    failover(
      bench.context,
      { ...intentOf(''), attempts },
      { ...CHOSEN, type: 'hand-over', handover: HANDOVER, isOldActiveFenced: true },
    );
  beforeEach(async () => {
    await database.rows.captured([LAST]);
    // It was issued, and is not in force.
    await database.rows.epoch({ epoch: 2n, owner: 'b' });
  });

  it('applies, verifies and acknowledges it under the epoch that was issued', async () => {
    expect(await handOver()).toEqual({ type: 'handed-over' });
    expect(bench.ordered).toEqual(['apply b', 'verify b']);
    const fence = { group: 'payments', epoch: 2n, owner: 'b', requestId: 'i' };
    for (const { request } of bench.orders) expect(request).toMatchObject({ fence, generation: { generation: 6n } });
    expect(await acknowledged()).toEqual(['b 6']);
  });

  it.each([
    ['does not prove it', 'verify', { contentDigest: fromHex('bb'), proof: { proved: 1, failed: 1 } }],
    ['reads something else back', 'verify', { contentDigest: fromHex('cc'), proof: { proved: 1, failed: 0 } }],
    ['has no room for it', 'apply', 'HSM_FULL'],
    ['is given a manifest that is not valid', 'apply', 'MANIFEST_INVALID'],
  ] as const)('goes on without it where it %s', async (_why, method, answer) => {
    bench.answers.set(method, answer);
    expect(await handOver()).toEqual({ type: 'not-handed-over' });
    expect(await acknowledged()).toEqual(method === 'verify' ? [] : ['b 4']);
  });

  it('tries again while a holder is there, for a while', async () => {
    bench.answers.set('apply', 'SITE_UNREACHABLE');
    expect((await rejection(handOver())).code).toBe('SITE_UNREACHABLE');
    expect(await handOver(3)).toEqual({ type: 'not-handed-over' });
    bench.statuses.set('a', 'down');
    expect(await handOver()).toEqual({ type: 'not-handed-over' });
  });

  it('is tried again where a new leader has not heard it or the holder yet', async () => {
    bench.answers.set('apply', 'SITE_UNREACHABLE');
    bench.unheard.add('a').add('b');
    expect((await rejection(handOver())).code).toBe('SITE_UNREACHABLE');
  });

  it('is given up itself where it is lost meanwhile, and the attempt where another epoch is known', async () => {
    bench.answers.set('apply', 'SITE_UNREACHABLE');
    bench.statuses.set('b', 'down');
    expect(await handOver()).toEqual({ type: 'target-lost', code: 'SITE_UNREACHABLE' });
    bench.answers.set('apply', 'EPOCH_STALE');
    expect((await rejection(handOver())).code).toBe('EPOCH_STALE');
  });

  it('is given up where its HSM does not answer, and another member may take its place', async () => {
    const { hangMs, heartbeatMs } = bench.context.ports.timings;
    for (const site of ['a', 'b', 'c']) bench.partitions.set(site, { errorCode: '', unansweredMs: 0 });
    bench.partitions.set('b', { errorCode: '', unansweredMs: hangMs + 1 });
    bench.answers.set('apply', () => new Promise(() => {}));
    const handing = handOver();
    await bench.clock.advance(heartbeatMs * 3);
    expect(await handing).toEqual({ type: 'target-lost', code: 'HSM_WORKER_LOST' });
  });
});

describe('a target that fetches what must not be lost before anything is changed', () => {
  const FETCH = { newest: { epoch: 1n, number: 6n, manifestDigest: 'cc' }, holders: ['c'] };
  const fetching = (attempts = 0) =>
    failover(bench.context, { ...intentOf(''), attempts }, { ...CHOSEN, type: 'fetch', epoch: 3n, fetch: FETCH });

  it.each([
    [1n, 'a'],
    [2n, 'c'],
  ])('applies, verifies and acknowledges it under the epoch that is the highest by then: %s', async (epoch, owner) => {
    await database.rows.captured([LAST]);
    if (epoch > 1n) await database.rows.epoch({ epoch, owner });
    expect(await fetching()).toEqual({ type: 'fetched' });
    expect(bench.ordered).toEqual(['apply b', 'verify b']);
    const fence = { group: 'payments', epoch, owner, requestId: 'i' };
    for (const { request } of bench.orders) expect(request).toMatchObject({ fence, generation: { generation: 6n } });
    expect(await acknowledged()).toEqual(['b 6']);
  });

  it('says why it could not, and has changed nothing', async () => {
    expect(await fetching()).toEqual({ type: 'not-fetched', code: 'GENERATION_UNKNOWN' });
    await database.rows.captured([LAST]);
    bench.answers.set('apply', 'BLOB_INVALID');
    expect(await fetching(3)).toEqual({ type: 'not-fetched', code: 'BLOB_INVALID' });
    expect(await acknowledged()).toEqual(['b 4']);
  });

  it('is given up itself where it is lost meanwhile', async () => {
    await database.rows.captured([LAST]);
    bench.answers.set('apply', 'SITE_UNREACHABLE');
    bench.statuses.set('b', 'down');
    expect(await fetching()).toEqual({ type: 'target-lost', code: 'SITE_UNREACHABLE' });
  });
});
