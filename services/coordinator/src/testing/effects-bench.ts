/** The ports of effects: agents that answer as a test says, and a record of what was ordered, written and told. */
import { AntipodeError, type ErrorCode, isErrorCode } from '@antipode/runtime';
import { FakeClock } from '@antipode/runtime/testing';
import type { Election } from '../election.ts';
import type { GroupCache } from '../groups/group-cache.ts';
import type { Group } from '../model.ts';
import { EffectContext } from '../operations/context.ts';
import type { Agents } from '../sites/agents.ts';
import type { Detector, SiteStatus } from '../sites/detector.ts';
import { LeaseBook } from '../sites/leases.ts';
import type { Store } from '../store/store.ts';
import type { Intent } from '../store/tables/intents.ts';
import { PROFILES } from '../timings.ts';
import { groupOf, SPEC } from './group.ts';

export interface Order {
  readonly site: string;
  readonly method: string;
  readonly request: Record<string, unknown>;
}
/** What an agent answers: a message, the code of what its call throws, or what the test makes of the order. */
export type Answer = object | ErrorCode | ((order: Order) => Promise<object>);

/** The group of SPEC, with its first domain key. */
export const GROUP: Group = { ...groupOf(SPEC), domainKeyVersion: 1, highestVersion: 1 };

export const intentOf = (site: string): Intent =>
  ({ id: 'i', requestId: 'i', attempts: 0, createdMs: new FakeClock().wallMs(), group: 'payments', site }) as Intent;

export class EffectsBench {
  readonly clock = new FakeClock();
  readonly orders: Order[] = [];
  /** By `method site`, or by method for every site. */
  readonly answers = new Map<string, Answer>();
  /** What each agent says of its own seats. */
  readonly members = new Map<string, object[]>();
  /** Sites that are not up. */
  readonly statuses = new Map<string, SiteStatus>();
  /** What a heartbeat has said of a site's seat, and why it is in quarantine. */
  readonly said = new Map<string, object>();
  readonly quarantined = new Map<string, string>();
  /** What a heartbeat has said of a site's partition. */
  readonly partitions = new Map<string, object>();
  /** Sites whose journal was accepted. */
  readonly accepted: string[] = [];
  readonly events: string[] = [];
  readonly context: EffectContext;

  constructor() {
    const call = async (order: Order): Promise<object> => {
      this.orders.push(order);
      const answer = this.answers.get(`${order.method} ${order.site}`) ?? this.answers.get(order.method) ?? {};
      if (typeof answer === 'function') return (answer as (order: Order) => Promise<object>)(order);
      if (typeof answer === 'string' && isErrorCode(answer)) throw new AntipodeError(answer, 'no');
      return answer as object;
    };
    const status = (site: string): SiteStatus => this.statuses.get(site) ?? 'up';
    const viewOf = (site: string): object => {
      const reason = this.quarantined.get(site);
      return {
        status: status(site),
        state: {
          members: this.members.get(site) ?? [{ group: 'payments', epoch: 0n, epochOwner: '', ...this.said.get(site) }],
          journal: { quarantined: reason === undefined ? [] : [{ group: 'payments', reason }] },
          partitions: this.partitions.has(site) ? [{ serial: `serial-${site}`, ...this.partitions.get(site) }] : [],
        },
      };
    };
    this.context = new EffectContext({
      store: {
        query: (work: (db: unknown) => unknown) => work(undefined),
        snapshot: (work: (db: unknown) => unknown) => work(undefined),
        write: async (_epoch: bigint, work: (trx: unknown, record: (event: { kind: string }) => void) => unknown) =>
          work(undefined, ({ kind }) => this.events.push(kind)),
      } as unknown as Store,
      election: { require: () => 1n } as unknown as Election,
      agents: {
        address: (site: string) => ({ site, address: `${site}:1` }),
        client: (site: string) =>
          new Proxy(
            {},
            { get: (_client, method: string) => (request: Order['request']) => call({ site, method, request }) },
          ),
      } as unknown as Agents,
      detector: {
        view: (site: string) => viewOf(site),
        snapshot: () => viewOf,
        isUp: (site: string) => status(site) === 'up',
      } as unknown as Detector,
      journals: { accept: (site: string) => void this.accepted.push(site), recordIn: async () => () => {} },
      leases: new LeaseBook({ clock: this.clock, leaseMs: PROFILES.default.leaseMs }),
      cache: { refresh: async () => {} } as unknown as GroupCache,
      clock: this.clock,
      timings: PROFILES.default,
    });
  }

  /** What was ordered, of whom. */
  get ordered(): string[] {
    return this.orders.map(({ method, site }) => `${method} ${site}`);
  }
}
