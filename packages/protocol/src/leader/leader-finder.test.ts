import { AntipodeError, silentLog } from '@antipode/runtime';
import { FakeClock, rejection } from '@antipode/runtime/testing';
import { describe, expect, it } from 'vitest';
import { CoordinatorService } from '../gen/antipode/v1/coordinator_pb.ts';
import { OperatorService } from '../gen/antipode/v1/operator_pb.ts';
import { MemoryNetwork, type Party } from '../testing/memory-network.ts';
import { someHandlers } from '../testing/some-handlers.ts';
import { coordinatorsFrom } from './coordinators.ts';
import { LeaderFinder } from './leader-finder.ts';

const IDS = ['main', 'south', 'west'];
const caller: Party = { kind: 'operator', name: 'olga' };

/** Coordinators of which one leads, and somebody who looks for it. */
class Bench {
  readonly clock = new FakeClock();
  readonly network = new MemoryNetwork({ clock: this.clock, log: silentLog });
  readonly terms = new Map<string, bigint>();
  /** Coordinators that take a question and never answer it. */
  readonly silent = new Set<string>();
  readonly served: string[] = [];
  readonly asked: string[] = [];
  readonly #leave = new Map<string, () => void>();
  readonly finder: LeaderFinder;

  constructor({ ids = IDS, patienceMs = 0 }: { ids?: readonly string[]; patienceMs?: number } = {}) {
    for (const id of ids) this.serve(id);
    this.finder = new LeaderFinder({
      coordinators: ids.map((id) => ({ id, address: `${id}:1` })),
      clock: this.clock,
      patienceMs,
      dial: (service, { id }) => this.network.client(service, { caller, callee: { kind: 'coordinator', name: id } }),
    });
  }

  /** Both services of a coordinator. Its answers say which one it is. */
  serve(id: string): void {
    const party: Party = { kind: 'coordinator', name: id };
    const silence = async (): Promise<void> => {
      if (this.silent.has(id)) await new Promise(() => {});
    };
    const leave = [
      this.network.serve(party, CoordinatorService, {
        heartbeat: async () => ({}),
        getLeader: async () => {
          this.asked.push(id);
          await silence();
          return { coordinator: id, term: this.terms.get(id) ?? 0n, leader: '' };
        },
      }),
      this.network.serve(
        party,
        OperatorService,
        someHandlers(OperatorService, {
          getStatus: async () => {
            this.served.push(id);
            await silence();
            if ((this.terms.get(id) ?? 0n) === 0n) throw new AntipodeError('NOT_LEADER', `${id} does not lead`);
            return { coordinator: id };
          },
        }),
      ),
    ];
    this.#leave.set(id, () => {
      for (const one of leave) one();
    });
  }

  kill(id: string): void {
    this.#leave.get(id)!();
  }

  lead(id: string, term: bigint): void {
    this.terms.clear();
    this.terms.set(id, term);
  }

  /** Lets time pass until the call has ended. */
  async until<T>(work: Promise<T>): Promise<T> {
    let isDone = false;
    const done = work.finally(() => {
      isDone = true;
    });
    done.catch(() => {});
    while (!isDone) await this.clock.advance(10);
    return done;
  }

  async call(timeoutMs?: number): Promise<string> {
    const client = this.finder.client(OperatorService);
    return (await this.until(client.getStatus({}, timeoutMs === undefined ? {} : { timeoutMs }))).coordinator;
  }
}

describe('a caller with a list of coordinators', () => {
  it('calls the one that leads, and nobody else', async () => {
    const bench = new Bench();
    bench.lead('south', 3n);
    expect(await bench.call()).toBe('south');
    expect(bench.served).toEqual(['south']);
  });

  it('does not ask again who leads while that one answers', async () => {
    const bench = new Bench();
    bench.lead('south', 3n);
    await bench.call();
    await bench.call();
    expect(bench.asked.length).toBe(IDS.length);
  });

  it('follows the leadership to another one, which the call reaches once', async () => {
    const bench = new Bench();
    bench.lead('south', 3n);
    await bench.call();
    bench.lead('west', 4n);
    expect(await bench.call()).toBe('west');
    expect(bench.served).toEqual(['south', 'south', 'west']);
  });

  it('does not wait for a coordinator that is silent', async () => {
    const bench = new Bench();
    bench.silent.add('main');
    bench.lead('south', 3n);
    expect(await bench.call(1_000)).toBe('south');
  });

  it('leaves to its caller a call whose outcome is unknown, and asks again for the next one', async () => {
    const bench = new Bench();
    bench.lead('south', 3n);
    await bench.call();
    bench.kill('south');
    bench.lead('west', 4n);
    expect((await rejection(bench.call())).code).toBe('SITE_UNREACHABLE');
    expect(bench.served).toEqual(['south']);
    expect(await bench.call()).toBe('west');
  });

  it('says of each coordinator why nobody leads', async () => {
    const bench = new Bench();
    bench.kill('west');
    const error = await rejection(bench.call());
    expect(error.code).toBe('NOT_LEADER');
    for (const id of IDS) expect(error.message).toContain(id);
  });

  it('that reaches none of them fails as the one address did, and not as if nobody led', async () => {
    const bench = new Bench();
    for (const id of IDS) bench.kill(id);
    expect((await rejection(bench.call())).code).toBe('SITE_UNREACHABLE');
  });

  it('waits for a takeover for its patience, and no longer', async () => {
    const bench = new Bench({ patienceMs: 5_000 });
    bench.kill('south');
    const call = bench.finder.client(OperatorService).getStatus({});
    await bench.clock.advance(3_000);
    bench.lead('west', 4n);
    expect((await bench.until(call)).coordinator).toBe('west');
    const impatient = new Bench({ patienceMs: 1_000 });
    expect((await rejection(impatient.call())).code).toBe('NOT_LEADER');
    expect(impatient.clock.monotonicMs()).toBeGreaterThanOrEqual(1_000);
  });

  it('leaves a leader that has gone silent once another one leads', async () => {
    const bench = new Bench();
    bench.lead('south', 3n);
    await bench.call();
    bench.silent.add('south');
    const hanging = bench.finder.client(OperatorService).getStatus({}, { timeoutMs: 10_000 });
    const ended = rejection(hanging);
    await bench.clock.advance(10);
    bench.terms.set('west', 4n);
    await bench.until(bench.finder.look({ timeoutMs: 1_000 }));
    expect((await ended).code).toBe('SITE_UNREACHABLE');
    expect(bench.clock.monotonicMs()).toBeLessThan(10_000);
    expect(await bench.call()).toBe('west');
  });

  it('is not turned to an earlier leader that has not noticed its end', async () => {
    const bench = new Bench();
    bench.lead('west', 4n);
    await bench.call();
    bench.terms.set('south', 3n);
    await bench.until(bench.finder.look());
    expect(bench.finder.leader?.id).toBe('west');
  });
});

describe('a caller with one coordinator', () => {
  it('calls it, without asking who leads', async () => {
    const bench = new Bench({ ids: ['main'] });
    bench.lead('main', 1n);
    expect(await bench.call()).toBe('main');
    await bench.finder.look();
    expect(bench.asked).toEqual([]);
  });

  it('hears from it that it does not lead', async () => {
    const bench = new Bench({ ids: ['main'] });
    expect((await rejection(bench.call())).code).toBe('NOT_LEADER');
    expect(bench.served).toEqual(['main']);
  });
});

describe('the coordinators of a configuration', () => {
  const [main, south] = IDS.map((id) => ({ id, address: `${id}:1` }));
  it.each([
    [{ coordinator: main! }, [main]],
    [{ coordinators: [main!, south!] }, [main, south]],
  ])('are one or a list: %o', (configured, list) => {
    expect(coordinatorsFrom(configured)).toEqual({ list });
  });

  it.each([
    [{}],
    [{ coordinator: main!, coordinators: [main!] }],
    [{ coordinators: [main!, { id: 'main', address: 'other:1' }] }],
    [{ coordinators: [main!, { id: 'south', address: main!.address }] }],
  ])('are refused: %o', (configured) => {
    expect(coordinatorsFrom(configured)).toEqual({ fault: expect.stringContaining('expected') });
  });
});

describe('what is known of the coordinators', () => {
  it('is the outcome of the last call to each, since when it is like that, and the last answer', async () => {
    const bench = new Bench();
    bench.lead('south', 3n);
    bench.kill('west');
    expect(bench.finder.observed).toEqual([]);
    await bench.call();
    await bench.until(bench.finder.look());
    const outcomes = () => bench.finder.observed.map(({ id, outcome }) => `${id} ${outcome}`);
    expect(outcomes()).toEqual(['main stands-by', 'south leads', 'west silent']);
    await bench.clock.advance(5_000);
    await bench.until(bench.finder.look());
    const [main, , west] = bench.finder.observed;
    expect(main).toMatchObject({ address: 'main:1' });
    expect(main?.answeredMs).toBeLessThan(100);
    expect(main?.sinceMs).toBeGreaterThanOrEqual(5_000);
    expect(west?.answeredMs).toBeUndefined();
    bench.kill('south');
    await rejection(bench.call());
    expect(outcomes()).toEqual(['main stands-by', 'south silent', 'west silent']);
    expect(bench.finder.observed[1]?.answeredMs).toBeGreaterThanOrEqual(5_000);
  });

  it('is not changed by a question that was withdrawn since another one has answered', async () => {
    const bench = new Bench();
    bench.silent.add('main');
    bench.lead('south', 3n);
    await bench.call();
    expect(bench.finder.observed.map(({ id }) => id)).not.toContain('main');
  });
});
