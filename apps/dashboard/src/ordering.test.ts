import type { Client } from '@antipode/protocol';
import {
  FailoverResponseSchema,
  GetGroupResponseSchema,
  type OperatorService,
  PauseAutomationResponseSchema,
  PlanFailoverResponseSchema,
  RunDrillResponseSchema,
} from '@antipode/protocol';
import { AntipodeError, seededPrng } from '@antipode/runtime';
import { FakeClock, rejection } from '@antipode/runtime/testing';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import type { Plan, Viewer } from './model/entries.ts';
import { Orders } from './ordering.ts';

const OPERATOR: Viewer = { name: 'alice', role: 'operator', mayOrder: true, whyNot: '', approver: '' };
const WATCHER: Viewer = { ...OPERATOR, role: 'viewer', mayOrder: false, whyNot: 'only looks' };
const LOSS = { epoch: 1n, generation: 8n, objectCount: 0, domainKeyVersion: 1, uncaptured: [] };

class Bench {
  readonly clock = new FakeClock();
  readonly ordered: unknown[] = [];
  /** Of every order. */
  failure: AntipodeError | undefined;
  readonly #orders: Orders;

  constructor(plan: MessageInitShape<typeof PlanFailoverResponseSchema> = {}, viewer = OPERATOR) {
    const note = (kind: string, request: object): void => {
      if (this.failure !== undefined) throw this.failure;
      this.ordered.push({ kind, ...request });
    };
    const operator = {
      planFailover: async () =>
        create(PlanFailoverResponseSchema, { fromSite: 'a', toSite: 'b', catchesUp: true, ...plan }),
      getGroup: async () => create(GetGroupResponseSchema, {}),
      failover: async (request: object) => {
        note('failover', request);
        return create(FailoverResponseSchema, { operationId: 'op-1' });
      },
      runDrill: async (request: object) => {
        note('drill', request);
        return create(RunDrillResponseSchema, { operationId: 'op-2' });
      },
      pauseAutomation: async (request: object) => {
        note('pause', request);
        return create(PauseAutomationResponseSchema, {});
      },
    } as Partial<Client<typeof OperatorService>> as Client<typeof OperatorService>;
    const prng = seededPrng('orders');
    this.#orders = new Orders({ operator, clock: this.clock, prng, viewer, approver: undefined });
  }

  #call(path: string, body: unknown): Promise<unknown> {
    return this.#orders.routes[path]!({ query: new URLSearchParams(), body });
  }

  plan(kind: string, more: object = {}): Promise<Plan> {
    return this.#call('POST /api/plan', { kind, group: 'payments', ...more }) as Promise<Plan>;
  }

  order(plan: Plan, more: object = { typed: 'payments' }): Promise<unknown> {
    return this.#call('POST /api/order', { plan: plan.id, ...more });
  }
}

describe('an order from the page', () => {
  it('is what was shown, with the consequences that the command prints', async () => {
    const bench = new Bench();
    const plan = await bench.plan('switchover', { to: 'b' });
    expect(plan.lines).toContain(
      'Site b first catches up with a and proves every key. If it cannot, nothing is changed.',
    );
    expect(plan.confirm).toEqual({ name: 'payments', question: 'Type the name of the group to continue' });
    expect(await bench.order(plan)).toEqual({ operationId: 'op-1' });
    expect(bench.ordered).toMatchObject([{ kind: 'failover', toSite: 'b', planned: true, acceptLoss: false }]);
  });

  it.each([undefined, '', 'payment', 'accounts'])('is refused with "%s" typed instead of the name', async (typed) => {
    const bench = new Bench();
    const plan = await bench.plan('failover');
    expect((await rejection(bench.order(plan, { typed }))).code).toBe('USAGE');
    expect(bench.ordered).toEqual([]);
  });

  it('accepts the losses that were shown, and only if that is said', async () => {
    const bench = new Bench({ needsAcceptLoss: true, losses: [LOSS], catchesUp: false });
    const plan = await bench.plan('failover');
    expect(plan.acceptance).toContain('loss of the generations');
    expect((await rejection(bench.order(plan))).code).toBe('FAILOVER_REFUSED');
    expect(bench.ordered).toEqual([]);
    await bench.order(plan, { typed: 'payments', acceptLoss: true });
    expect(bench.ordered).toMatchObject([{ acceptLoss: true, acceptedLosses: [{ generation: 8n }] }]);
  });

  it('accepts nothing that was not asked for', async () => {
    const bench = new Bench();
    await bench.order(await bench.plan('failover'), { typed: 'payments', acceptLoss: true });
    expect(bench.ordered).toMatchObject([{ acceptLoss: false, acceptedLosses: [] }]);
  });

  it('is taken once', async () => {
    const bench = new Bench();
    const plan = await bench.plan('drill');
    await bench.order(plan);
    expect((await rejection(bench.order(plan))).code).toBe('NOT_FOUND');
    expect(bench.ordered).toHaveLength(1);
  });

  it('is taken once by two clicks at the same moment', async () => {
    const bench = new Bench();
    const plan = await bench.plan('drill');
    const [one, other] = await Promise.allSettled([bench.order(plan), bench.order(plan)]);
    expect([one.status, other.status]).toEqual(['fulfilled', 'rejected']);
    expect(bench.ordered).toHaveLength(1);
  });

  it('may be given again if it failed, and its limits stay', async () => {
    const bench = new Bench();
    const plan = await bench.plan('pause');
    bench.failure = new AntipodeError('SITE_UNREACHABLE', 'no answer');
    expect((await rejection(bench.order(plan))).code).toBe('SITE_UNREACHABLE');
    bench.failure = undefined;
    await bench.order(plan);
    expect(bench.ordered).toHaveLength(1);
  });

  it('is refused when its plan is older than five minutes', async () => {
    const bench = new Bench();
    const plan = await bench.plan('failover');
    await bench.clock.advance(5 * 60_000 + 1);
    expect((await rejection(bench.order(plan))).code).toBe('NOT_FOUND');
    expect(bench.ordered).toEqual([]);
  });

  it('is refused to who only looks, whatever the page sends', async () => {
    const bench = new Bench({}, WATCHER);
    const plan = await bench.plan('failover');
    expect(plan.mayOrder).toBe(false);
    expect((await rejection(bench.order(plan))).code).toBe('DASHBOARD_READ_ONLY');
    expect(bench.ordered).toEqual([]);
  });

  it('carries the reason of a pause', async () => {
    const bench = new Bench();
    await bench.order(await bench.plan('pause'), { reason: 'firmware' });
    expect(bench.ordered).toEqual([{ kind: 'pause', group: 'payments', reason: 'firmware' }]);
  });

  it.each(['reseat', 'constructor', ''])('of another kind is refused: %s', async (kind) => {
    expect((await rejection(new Bench().plan(kind))).code).toBe('REQUEST_INVALID');
  });

  it('shows an obstacle and not a plan, where the move is not possible', async () => {
    expect((await rejection(new Bench({ obstacle: 'no majority' }).plan('failover'))).code).toBe('FAILOVER_REFUSED');
  });
});
