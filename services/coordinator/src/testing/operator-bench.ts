/** The ports of the handlers for operators, around the store of a test. Sites announce themselves with their partitions. */
import { type CallContext, DescribeResponseSchema } from '@antipode/protocol';
import { seededPrng, silentLog } from '@antipode/runtime';
import { FakeClock } from '@antipode/runtime/testing';
import { create } from '@bufbuild/protobuf';
import type { Group } from '../model.ts';
import { Changes } from '../operations/changes.ts';
import { EffectContext } from '../operations/context.ts';
import type { Planned } from '../operations/planner.ts';
import type { RpcPorts } from '../rpc/ports.ts';
import { CoordinatorBook } from '../sites/coordinator-book.ts';
import { Detector } from '../sites/detector.ts';
import { ForgottenSites } from '../sites/forgotten.ts';
import { LeaseBook } from '../sites/leases.ts';
import { PROFILES } from '../timings.ts';
import type { TestDatabase } from './database.ts';
import { EffectsBench } from './effects-bench.ts';
import { type Answer, fakeAgent, type Order } from './fake-agent.ts';
import { FakeLeadership } from './leader.ts';

export const TIMINGS = PROFILES.default;

export const OPERATOR: CallContext = {
  identity: { trustDomain: 'd', kind: 'operator', name: 'alice' },
  signal: new AbortController().signal,
};

export class OperatorBench {
  readonly clock = new FakeClock();
  /** How far the clock on the wall is from the time of the stamps. */
  wallAheadMs = 0;
  readonly intended: Planned[] = [];
  /** The groups as the coordinator has read them last. */
  readonly cached: Group[] = [];
  readonly leadership = new FakeLeadership();
  readonly detector: Detector;
  readonly ports: RpcPorts;

  readonly coordinators = new CoordinatorBook();

  /** Answers every order to an agent. */
  answer: (order: Order, site: string) => Answer = () => ({});

  constructor(database: TestDatabase) {
    const { clock } = this;
    this.detector = new Detector({
      clock,
      log: silentLog,
      timings: TIMINGS,
      loopDelayMs: () => 0,
      probe: async () => undefined,
    });
    this.ports = {
      id: 'main',
      prng: seededPrng('operator bench'),
      clock,
      timeline: { toWallMs: (atMs) => atMs + this.wallAheadMs, lastStep: undefined },
      timings: TIMINGS,
      detector: this.detector,
      coordinators: this.coordinators,
      forgotten: new ForgottenSites({ clock }),
      leases: new LeaseBook({ clock, leaseMs: TIMINGS.leaseMs }),
      changes: new Changes(),
      roleChanges: { troubles: [] },
      store: database.store,
      cache: { all: this.cached, unreadable: [], refresh: async () => {} },
      election: this.leadership,
      context: new EffectContext({
        ...new EffectsBench(database).context.ports,
        calendarMs: () => clock.wallMs() + this.wallAheadMs,
      }),
      agents: { client: (site) => fakeAgent((order) => this.answer(order, site)) },
      runner: { isRunning: () => false },
      wakeUps: { isUp: () => true },
      log: silentLog,
      reconciler: {
        waitOf: () => undefined,
        troubles: [],
        isQueueMute: false,
        intend: async (planned) => {
          this.intended.push(planned);
          return { id: `intent-${this.intended.length}`, isNew: true };
        },
      },
    };
  }

  /** The site announces itself. */
  hear(site: string, { errorCode = '', epoch = 1n, epochOwner = 'a', isSeated = true, manifestFormat = 6 } = {}): void {
    const partitions = [
      { serial: `serial-${site}`, name: 'main', module: 'm.so', tokenLabel: 'main-token', errorCode },
      { serial: `scratch-${site}`, name: 'scratch', isScratch: true },
    ];
    const members = isSeated ? [{ group: 'payments', epoch, epochOwner }] : [];
    this.detector.heard(create(DescribeResponseSchema, { site, instance: site, partitions, members, manifestFormat }), {
      address: `${site}:1`,
    });
  }
}
