/** The ports of effects: agents that answer as a test says, a store in process, and a record of what was ordered. */
import { AntipodeError } from '@antipode/runtime';
import { FakeClock } from '@antipode/runtime/testing';
import type { MoveQuestion } from '../hooks/hook.ts';
import type { Group } from '../model.ts';
import { EffectContext } from '../operations/context.ts';
import type { FailoverEffect } from '../operations/failover/machine.ts';
import type { SiteStatus, SiteView } from '../sites/detector.ts';
import { LeaseBook } from '../sites/leases.ts';
import type { Change, Store } from '../store/store.ts';
import type { Intent } from '../store/tables/intents.ts';
import { PROFILES } from '../timings.ts';
import { type Answer as AgentAnswer, fakeAgent } from './fake-agent.ts';
import { groupOf, SPEC } from './group.ts';
import { FakeLeadership } from './leader.ts';
import { type Said, type SaidOfMember, siteView } from './site-views.ts';
import { intent } from './situation.ts';

export interface Order {
  readonly site: string;
  readonly method: string;
  readonly request: Record<string, unknown>;
}
/** An answer of an agent: fields of its message, the code that its call throws, or a function of the order. */
export type Answer = AgentAnswer | ((order: Order) => Promise<AgentAnswer>);
type SaidOfPartition = Omit<NonNullable<Said['partitions']>[number], '$typeName' | '$unknown'>;

/** The group of SPEC, with its first domain key. */
export const GROUP: Group = { ...groupOf(SPEC), domainKeyVersion: 1, highestVersion: 1 };

/** A failover from a to b, as far as it is decided before it begins. */
export const CHOSEN = {
  from: 'a',
  wanted: '',
  acceptLoss: false,
  accepted: [],
  reason: 'automatic',
  outageStartedMs: 0,
  to: 'b',
  serial: 'serial-b',
  epoch: 2n,
  generation: undefined,
  lost: [],
  quorum: 2,
  excluded: [],
  overtaken: 0,
} as const satisfies Omit<Extract<FailoverEffect, { type: 'promote' }>, 'type'>;

/** An operation that is under way in the group, for a site or for none. */
export const intentOf = (site: string): Intent =>
  intent('capture', { id: 'i', requestId: 'i', site, createdMs: new FakeClock().wallMs() });

const absent = (): never => {
  throw new AntipodeError('INVARIANT_BROKEN', 'this test has no database');
};
const NO_STORE: Store = { query: absent, snapshot: absent, write: absent };

/** Every order has the term of its leader (sites/terms.ts): a test of one effect does not compare it. */
function withoutTerm(order: Order): Order {
  const fence = order.request['fence'] as { term?: bigint } | undefined;
  if (fence === undefined) return order;
  const { term: _, ...rest } = fence;
  return { ...order, request: { ...order.request, fence: rest } };
}

export class EffectsBench {
  readonly clock = new FakeClock();
  /** How far the clock on the wall is from the time of the stamps. */
  wallAheadMs = 0;
  readonly orders: Order[] = [];
  /** By `method site`, or by method for every site. */
  readonly answers = new Map<string, Answer>();
  /** The seats of each agent by its own account. */
  readonly members = new Map<string, SaidOfMember[]>();
  /** Sites that are not up. */
  readonly statuses = new Map<string, SiteStatus>();
  /** Sites that this leader has not heard yet. */
  readonly unheard = new Set<string>();
  /** Sites at whose address a copy of the agent answers, and not the process that is heard. */
  readonly copied = new Set<string>();
  /** A site's seat by its heartbeat, and why it is in quarantine. */
  readonly said = new Map<string, SaidOfMember>();
  readonly quarantined = new Map<string, string>();
  /** A site's partition by its heartbeat. */
  readonly partitions = new Map<string, SaidOfPartition>();
  /** The same of its scratch partition. */
  readonly scratch = new Map<string, SaidOfPartition>();
  /** Sites that guard their actions. */
  readonly guarded = new Set<string>();
  /** Sites whose journal was accepted. */
  readonly accepted: string[] = [];
  readonly leadership = new FakeLeadership();
  readonly leases = new LeaseBook({ clock: this.clock, leaseMs: PROFILES.default.leaseMs });
  /** Somebody else's work right before the next change of state begins. */
  beforeWrite: () => Promise<void> = async () => {};
  /** Reads the groups again for those who wait for no query. */
  refresh: () => Promise<void> = async () => {};
  /** The answer of the hooks to a move. */
  mayMove: (question: MoveQuestion) => Promise<void> = async () => {};
  readonly context: EffectContext;

  /** Without a database for effects that ask for none. */
  constructor(database: { readonly store: Store } = { store: NO_STORE }) {
    const { store } = database;
    const viewOf = (site: string): SiteView => this.#view(site);
    this.context = new EffectContext({
      store: {
        query: (look) => store.query(look),
        snapshot: (look) => store.snapshot(look),
        write: async <T>(leaderEpoch: bigint, change: Change<T>): Promise<T> => {
          const before = this.beforeWrite;
          this.beforeWrite = async () => {};
          await before();
          return store.write(leaderEpoch, change);
        },
      },
      election: this.leadership,
      agents: {
        address: (site) => ({ site, address: `${site}:1` }),
        client: (site) =>
          fakeAgent(async ({ method, request }) => this.#signed(site, await this.#answer({ site, method, request }))),
      },
      detector: { view: viewOf, snapshot: () => viewOf, isUp: (site) => this.#status(site) === 'up' },
      journals: { accept: (site) => void this.accepted.push(site), recordIn: async () => () => {} },
      leases: this.leases,
      cache: { refresh: () => this.refresh() },
      mayMove: (question) => this.mayMove(question),
      clock: this.clock,
      calendarMs: () => this.clock.wallMs() + this.wallAheadMs,
      timings: PROFILES.default,
    });
  }

  /** The orders, as `method site`. */
  get ordered(): string[] {
    return this.orders.map(({ method, site }) => `${method} ${site}`);
  }

  #answer(order: Order): AgentAnswer | Promise<AgentAnswer> {
    this.orders.push(withoutTerm(order));
    const answer = this.answers.get(`${order.method} ${order.site}`) ?? this.answers.get(order.method) ?? {};
    return typeof answer === 'function' ? answer(order) : answer;
  }

  /** Every answer that names a process names this one. */
  #signed(site: string, answer: AgentAnswer): AgentAnswer {
    const instance = this.copied.has(site) ? `copy of ${site}` : `process of ${site}`;
    return typeof answer === 'string' ? answer : { instance, ...answer };
  }

  #status(site: string): SiteStatus {
    return this.statuses.get(site) ?? (this.unheard.has(site) ? 'unknown' : 'up');
  }

  #view(site: string): SiteView {
    if (this.unheard.has(site)) return siteView(site, undefined, { status: this.#status(site) });
    const reason = this.quarantined.get(site);
    const partitions = [
      { serial: `serial-${site}`, said: this.partitions.get(site) },
      { serial: `scratch-${site}`, said: this.scratch.get(site) },
    ];
    return siteView(
      site,
      {
        instance: `process of ${site}`,
        members: this.members.get(site) ?? [{ group: 'payments', ...this.said.get(site) }],
        approvalRules: this.guarded.has(site) ? [{ group: '', required: 2, breakGlass: 3, operators: [] }] : [],
        journal: { quarantined: reason === undefined ? [] : [{ group: 'payments', reason }] },
        partitions: partitions.flatMap(({ serial, said }) => (said === undefined ? [] : [{ serial, ...said }])),
      },
      { status: this.#status(site), instance: `process of ${site}` },
    );
  }
}
