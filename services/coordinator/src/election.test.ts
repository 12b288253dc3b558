import { DatabaseSync } from 'node:sqlite';
import { AntipodeError, seededPrng, silentLog } from '@antipode/runtime';
import { FakeClock, rejection, thrown } from '@antipode/runtime/testing';
import fc from 'fast-check';
import { Kysely, SqliteDialect } from 'kysely';
import { describe, expect, it } from 'vitest';
import { Election, type ElectionOptions, inEpoch } from './election.ts';
import type { Schema } from './store/schema.ts';
import type { Look } from './store/store.ts';

const TTL_MS = 1_000;
const RUN = { numRuns: 200 };

/** The one row that all coordinators share, in memory, with the same SQL. */
function leaseTable(): Kysely<Schema> {
  const memory = new DatabaseSync(':memory:');
  memory.exec(`CREATE TABLE leader_lease (id int, epoch int, seq int, holder text);
    INSERT INTO leader_lease VALUES (1, 0, 0, '');`);
  return new Kysely<Schema>({
    dialect: new SqliteDialect({
      database: {
        close: () => memory.close(),
        prepare: (text) => {
          // A statement that is compiled once is compiled for PostgreSQL. Its parameters are in order, each of them once.
          const statement = memory.prepare(text.replaceAll(/\$\d+/g, '?'));
          statement.setReadBigInts(true);
          const bound = (given: readonly unknown[]) => given as (string | bigint)[];
          return {
            reader: statement.columns().length > 0,
            all: (given) => statement.all(...bound(given)),
            run: (given) => statement.run(...bound(given)),
            iterate: (given) => statement.iterate(...bound(given)),
          };
        },
      },
    }),
  });
}

class Coordinators {
  readonly clock = new FakeClock();
  readonly #db = leaseTable();
  /** How long each query of a coordinator is under way. */
  readonly latencyMs = new Map<string, number>();
  readonly cutOff = new Set<string>();
  /** Runs before anybody sees that a coordinator leads; and who ran it, in order. */
  lead: () => Promise<void> = async () => {};
  readonly madeReady: string[] = [];

  /** The row as an older copy of the database has it. */
  async putBack(row: { epoch: bigint; seq: bigint; holder: string }): Promise<void> {
    await this.#db.updateTable('leader_lease').set(row).execute();
  }

  make(id: string, more: Pick<ElectionOptions, 'mayLead' | 'lost' | 'addressOf' | 'barred'> = {}): Election {
    const store = {
      query: async <T>(look: Look<T>): Promise<T> => {
        const latencyMs = this.latencyMs.get(id) ?? 0;
        if (latencyMs > 0) await this.clock.sleep(latencyMs);
        if (this.cutOff.has(id)) throw new AntipodeError('DATABASE_UNAVAILABLE', 'the link is cut');
        return look(this.#db);
      },
    };
    const lead = (): Promise<void> => {
      this.madeReady.push(id);
      return this.lead();
    };
    const { clock } = this;
    return new Election({ ...more, store, clock, prng: seededPrng(id), log: silentLog, id, ttlMs: TTL_MS, lead });
  }
}

describe('a coordinator', () => {
  it('leads at once where nobody does, and not before it has asked', async () => {
    const election = new Coordinators().make('a');
    expect(thrown(() => election.require()).code).toBe('LEADERSHIP_LOST');
    await election.pass();
    expect(election.require()).toBe(1n);
  });

  it('is not seen to lead before it has been made ready to, once for each time that it takes over', async () => {
    const all = new Coordinators();
    let ready = (): void => {};
    all.lead = () =>
      new Promise((resolve) => {
        ready = resolve;
      });
    const a = all.make('a');
    const first = a.pass();
    await all.clock.advance(1);
    expect([all.madeReady, a.epoch]).toEqual([['a'], undefined]);
    ready();
    await first;
    expect(a.epoch).toBe(1n);
    await a.pass();
    expect([all.madeReady, a.epoch]).toEqual([['a'], 1n]);
  });

  it('does not lead when it could not be made ready, and tries again in its turn', async () => {
    const all = new Coordinators();
    all.lead = () => Promise.reject(new AntipodeError('DATABASE_UNAVAILABLE', 'the link is cut'));
    const a = all.make('a');
    expect((await rejection(a.pass())).code).toBe('DATABASE_UNAVAILABLE');
    expect(a.epoch).toBeUndefined();
    all.lead = async () => {};
    await a.pass();
    expect(a.epoch).toBeUndefined();
    await all.clock.advance(TTL_MS * 1.1);
    await a.pass();
    expect([all.madeReady, a.epoch]).toEqual([['a', 'a'], 2n]);
  });

  it('that took too long to be made ready does not lead until it has renewed', async () => {
    const all = new Coordinators();
    all.lead = () => all.clock.sleep(TTL_MS);
    const a = all.make('a');
    const slow = a.pass();
    await all.clock.advance(TTL_MS);
    await slow;
    expect(a.epoch).toBeUndefined();
    await a.pass();
    expect(a.epoch).toBe(1n);
  });

  it('takes over only after the lease has stood still for longer than its time to live', async () => {
    const all = new Coordinators();
    const [a, b] = [all.make('a'), all.make('b')];
    await a.pass();
    await b.pass();
    await all.clock.advance(TTL_MS * 1.1 - 1);
    await b.pass();
    expect(b.epoch).toBeUndefined();
    await all.clock.advance(1);
    await b.pass();
    expect(b.require()).toBe(2n);
    expect(thrown(() => a.require()).code).toBe('LEADERSHIP_LOST');
  });

  it('gives way to a renewal that comes between its look and its grasp', async () => {
    const all = new Coordinators();
    const [a, b] = [all.make('a'), all.make('b')];
    await a.pass();
    await b.pass();
    await all.clock.advance(TTL_MS * 1.1);
    all.latencyMs.set('b', 10);
    const grasp = b.pass();
    await all.clock.advance(15);
    await a.pass();
    await all.clock.advance(5);
    await grasp;
    expect([a.epoch, b.epoch]).toEqual([1n, undefined]);
  });

  it('never takes over from one that renews', async () => {
    const all = new Coordinators();
    const [a, b] = [all.make('a'), all.make('b')];
    for (let count = 0; count < 20; count += 1) {
      await a.pass();
      await b.pass();
      await all.clock.advance(TTL_MS / 4);
    }
    expect([a.epoch, b.epoch]).toEqual([1n, undefined]);
  });

  it('does not lead any longer than its last renewal allows, counted from when that was sent', async () => {
    const all = new Coordinators();
    const a = all.make('a');
    await a.pass();
    all.latencyMs.set('a', 300);
    const renewal = a.pass();
    await all.clock.advance(300);
    await renewal;
    all.cutOff.add('a');
    await all.clock.advance(TTL_MS - 301);
    expect(a.epoch).toBe(1n);
    await all.clock.advance(1);
    expect(a.epoch).toBeUndefined();
  });

  it('leads no longer after its machine has slept, although its monotonic clock stood still', async () => {
    const all = new Coordinators();
    const a = all.make('a');
    await a.pass();
    all.clock.sleepMachine(TTL_MS);
    expect(a.epoch).toBeUndefined();
    await a.pass();
    expect(a.epoch).toBe(1n);
  });

  it('whose lease lapsed while it stood still leads again as soon as it is asked, unless another does by now', async () => {
    const all = new Coordinators();
    const [a, b] = [all.make('a'), all.make('b')];
    await a.pass();
    await b.pass();
    await all.clock.advance(TTL_MS);
    expect(a.epoch).toBeUndefined();
    await Promise.all([a.renewIfLapsed(), a.renewIfLapsed()]);
    expect(a.epoch).toBe(1n);
    // The other one has not led, and does not ask for it.
    await b.renewIfLapsed();
    expect(b.epoch).toBeUndefined();
    await b.pass();
    await all.clock.advance(TTL_MS * 2);
    await b.pass();
    await a.renewIfLapsed();
    expect([a.epoch, b.epoch]).toEqual([undefined, 2n]);
    all.cutOff.add('b');
    await all.clock.advance(TTL_MS);
    await b.renewIfLapsed();
    expect(b.epoch).toBeUndefined();
  });

  it('finds out that another has taken over, and waits its turn', async () => {
    const all = new Coordinators();
    const [a, b] = [all.make('a'), all.make('b')];
    await a.pass();
    await b.pass();
    await all.clock.advance(TTL_MS * 2);
    await b.pass();
    await a.pass();
    expect([a.epoch, b.epoch]).toEqual([undefined, 2n]);
  });

  it('that ends in order has the next one lead at once', async () => {
    const all = new Coordinators();
    const [a, b] = [all.make('a'), all.make('b')];
    await all.clock.advance(700);
    await a.pass();
    expect([a.sinceMs, b.sinceMs]).toEqual([all.clock.monotonicMs(), undefined]);
    await a.close();
    expect(a.epoch).toBeUndefined();
    await b.pass();
    expect(b.epoch).toBe(2n);
  });

  it('tells a caller who leads instead, and why nobody here knows it', async () => {
    const all = new Coordinators();
    const [a, b] = [all.make('a'), all.make('b')];
    expect(thrown(() => b.requireLead()).code).toBe('NOT_LEADER');
    await a.pass();
    await b.pass();
    expect(thrown(() => b.requireLead())).toMatchObject({ code: 'NOT_LEADER', details: { leader: 'a' } });
    expect([a.requireLead(), b.holder]).toEqual([1n, 'a']);
    const told = all.make('c', { addressOf: (coordinator) => `${coordinator}:1` });
    await told.pass();
    expect(thrown(() => told.requireLead())).toMatchObject({
      message: '[NOT_LEADER] coordinator c does not lead, coordinator a at a:1 does',
      details: { leader: 'a', leaderAddress: 'a:1' },
    });
    all.cutOff.add('b');
    await rejection(b.pass());
    expect(thrown(() => b.requireLead()).code).toBe('DATABASE_UNAVAILABLE');
  });

  it('begins a term above one that a site has heard, is made ready for it, and is the only one that leads', async () => {
    const all = new Coordinators();
    const [a, b] = [all.make('a'), all.make('b')];
    await a.pass();
    await b.pass();
    await a.outrun(7n);
    expect([a.epoch, all.madeReady]).toEqual([8n, ['a', 'a']]);
    await a.outrun(7n);
    await b.pass();
    await a.pass();
    expect([a.epoch, b.epoch]).toEqual([8n, undefined]);
    await b.outrun(20n);
    expect([a.epoch, b.epoch]).toEqual([8n, undefined]);
  });

  it('never leads in one term twice, though the database is put back to before it', async () => {
    const all = new Coordinators();
    const [a, b] = [all.make('a'), all.make('b')];
    await b.pass();
    await a.pass();
    await all.clock.advance(TTL_MS * 2);
    await a.pass();
    expect(a.epoch).toBe(2n);
    await all.putBack({ epoch: 1n, seq: 7n, holder: 'b' });
    await a.pass();
    expect(a.epoch).toBeUndefined();
    await all.clock.advance(TTL_MS * 2);
    await a.pass();
    expect(a.epoch).toBe(3n);
  });

  it('that is followed while it begins another term leads in none', async () => {
    const all = new Coordinators();
    const [a, b] = [all.make('a'), all.make('b')];
    await a.pass();
    await b.pass();
    await all.clock.advance(TTL_MS * 2);
    await b.pass();
    await a.outrun(7n);
    expect([a.epoch, b.epoch]).toEqual([undefined, 2n]);
  });

  it('takes over within one and a half times its time to live, however its looks fall', async () => {
    for (let offset = 0; offset < TTL_MS / 4; offset += TTL_MS / 40) {
      const all = new Coordinators();
      const [a, b] = [all.make('a'), all.make('b')];
      a.start();
      await all.clock.advance(offset);
      b.start();
      await all.clock.advance(TTL_MS * 3 + offset);
      all.cutOff.add('a');
      await all.clock.advance(TTL_MS * 1.35);
      expect(b.epoch).toBe(2n);
      await a.close();
      await b.close();
    }
  });

  it('does not ask for the lead where this program must not lead', async () => {
    const all = new Coordinators();
    const a = all.make('a', { mayLead: () => Promise.reject(new AntipodeError('CONFIG_INVALID', 'later tables')) });
    expect((await rejection(a.pass())).code).toBe('CONFIG_INVALID');
    await all.make('b').pass();
    expect(all.madeReady).toEqual(['b']);
  });

  it('gives the lead to another one when nobody would follow it any more', async () => {
    const all = new Coordinators();
    let refused: AntipodeError | undefined;
    let lost = 0;
    const a = all.make('a', { barred: () => refused, lost: () => (lost += 1) });
    const b = all.make('b');
    await a.pass();
    refused = new AntipodeError('CERTIFICATE_REVOKED', 'stolen');
    expect((await rejection(a.pass())).code).toBe('CERTIFICATE_REVOKED');
    expect([a.epoch, lost, thrown(() => a.requireLead()).code]).toEqual([undefined, 1, 'CERTIFICATE_REVOKED']);
    // At once: the lease was given back.
    await b.pass();
    expect(b.epoch).toBe(2n);
    await all.clock.advance(TTL_MS * 3);
    expect((await rejection(a.pass())).code).toBe('CERTIFICATE_REVOKED');
    expect(lost).toBe(1);
    refused = undefined;
    await a.pass();
    await all.clock.advance(TTL_MS * 1.1);
    await a.pass();
    expect(a.epoch).toBe(3n);
  });

  it('says when it leads no longer', async () => {
    const all = new Coordinators();
    const ends: string[] = [];
    const [a, b] = [all.make('a', { lost: () => ends.push('a') }), all.make('b')];
    await a.pass();
    await b.pass();
    await all.clock.advance(TTL_MS * 2);
    await b.pass();
    await a.pass();
    expect(ends).toEqual(['a']);
  });

  it('keeps leading while it runs, and stops when it is closed', async () => {
    const all = new Coordinators();
    const a = all.make('a');
    a.start();
    await all.clock.advance(TTL_MS * 5);
    expect(a.epoch).toBe(1n);
    await a.close();
    expect(all.clock.sleeperCount).toBe(0);
  });
});

const moment = fc.record({
  who: fc.constantFrom('a', 'b', 'c'),
  // The last one outlasts a lease: another one may lead then.
  afterMs: fc.constantFrom(0, 1, TTL_MS / 10, TTL_MS / 4, TTL_MS / 2, TTL_MS * 1.5),
  latencyMs: fc.nat(TTL_MS / 10),
});

/** Lets three coordinators look at the lease in any order; each look may be slow, and none overlaps itself. */
async function neverTwo(moments: readonly { who: string; afterMs: number; latencyMs: number }[]): Promise<bigint[]> {
  const all = new Coordinators();
  const elections = new Map(['a', 'b', 'c'].map((id) => [id, all.make(id)]));
  const looking = new Set<string>();
  const epochs: bigint[] = [];
  for (const { who, afterMs, latencyMs } of moments) {
    await all.clock.advance(afterMs);
    if (!looking.has(who)) {
      looking.add(who);
      all.latencyMs.set(who, latencyMs);
      void elections
        .get(who)!
        .pass()
        .finally(() => looking.delete(who));
      await all.clock.advance(0);
    }
    const leading = [...elections.values()].map(({ epoch }) => epoch).filter((epoch) => epoch !== undefined);
    expect(leading.length).toBeLessThanOrEqual(1);
    if (leading.length === 1 && epochs.at(-1) !== leading[0]) epochs.push(leading[0]!);
  }
  return epochs;
}

it('has at most one leader at any moment, each with a higher epoch than the one before', async () => {
  let changes = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(moment, { maxLength: 40, size: 'max' }), async (moments) => {
      const epochs = await neverTwo(moments);
      expect(epochs).toEqual([...epochs].sort((one, other) => Number(one - other)));
      expect(new Set(epochs).size).toBe(epochs.length);
      changes += Math.max(0, epochs.length - 1);
    }),
    RUN,
  );
  expect(changes).toBeGreaterThan(50);
});

// The row may have been renewed while the read was under way.
it('has no second leader where a challenger read the lease slowly', async () => {
  const all = new Coordinators();
  const [a, b] = [all.make('a'), all.make('b')];
  await a.pass();
  all.latencyMs.set('b', 900);
  const slow = b.pass();
  await all.clock.advance(899);
  await a.pass();
  await all.clock.advance(1);
  await slow;
  all.latencyMs.clear();
  await all.clock.advance(TTL_MS * 1.1 - 900);
  await b.pass();
  expect([a.epoch, b.epoch]).toEqual([1n, undefined]);
});

it('gives work of one epoch no leadership in a later one', async () => {
  const all = new Coordinators();
  const [a, b] = [all.make('a'), all.make('b')];
  await a.pass();
  const first = inEpoch(a, 1n);
  expect([first.epoch, first.require()]).toEqual([1n, 1n]);
  await b.pass();
  await all.clock.advance(TTL_MS * 2);
  await b.pass();
  await a.pass();
  await b.close();
  await a.pass();
  expect([a.epoch, first.epoch]).toEqual([3n, undefined]);
  expect(thrown(() => first.require()).code).toBe('LEADERSHIP_LOST');
});
