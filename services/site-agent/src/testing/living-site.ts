/**
 * A whole agent in memory: its orders, heartbeats and loops, over a simulated HSM and peers in memory. Its databases are
 * in memory too, unless it has a folder. One with a folder can be killed and started again.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { SimulatedMember } from '@antipode/hsm-core/testing';
import { LeaderFinder, SiteAgentService } from '@antipode/protocol';
import type { MemoryNetwork, Party } from '@antipode/protocol/testing';
import { AntipodeError, type Clock, closeAll, type Log, seededPrng } from '@antipode/runtime';
import { AgentLoops } from '../agent-loops.ts';
import { ApprovalRules, type ApprovalSettings } from '../approvals/approval-rules.ts';
import { siteAgentHandlers } from '../orders/rpc.ts';
import { Partitions } from '../partition/partition.ts';
import { Link } from '../peers/link.ts';
import type { Pin } from '../peers/pins.ts';
import { buildSite, type Site } from '../site.ts';
import { GRACE_MS } from '../storage/collector.ts';
import { GenerationStore } from '../storage/generation-store.ts';
import { Journal } from '../storage/journal/journal.ts';
import { Heartbeat } from '../tenure/heartbeat.ts';
import { MemoryPeers } from './memory-peers.ts';
import { SimulatedPartition } from './simulated-partition.ts';
import { SimulatedVault } from './simulated-vault.ts';
import { watchedJournal } from './watched-journal.ts';

const RETENTION_MS_MIN = 7 * 86_400_000;

export interface LivingSiteOptions {
  readonly name: string;
  readonly seed: string;
  readonly clock: Clock;
  readonly network: MemoryNetwork;
  /** Names of all coordinators. */
  readonly coordinators: readonly string[];
  readonly log: Log;
  /** It has no partition. */
  readonly isWitness?: boolean;
  /** Serial numbers of Backup HSMs for its member partition. */
  readonly vaults?: readonly string[] | undefined;
  /** As its agent.yaml has them. */
  readonly approvals?: ApprovalSettings | undefined;
  /** For its databases. */
  readonly folder?: string;
  /** Called right after each durable change at the site: of its journal, or in a token. It may end the site. */
  readonly onStep?: (step: string) => void;
}

/** Names that a token gives to a change before it makes it. */
const BEFORE_A_CHANGE: ReadonlySet<string> = new Set(['destroy', 'unwrap', 'create', 'create data']);

/** From one start of the agent to its end. */
interface Life {
  readonly site: Site;
  readonly heartbeat: Heartbeat;
  readonly loops: AgentLoops;
  readonly partitions: readonly SimulatedPartition[];
  readonly leave: () => void;
  readonly stop: AbortController;
}

export class LivingSite {
  readonly name: string;
  readonly member: SimulatedMember;
  readonly scratch: SimulatedMember;
  readonly #options: LivingSiteOptions;
  readonly #pins = new Map<string, Pin[]>();
  #life: Life | undefined;
  #lives = 0;

  private constructor(options: LivingSiteOptions, { member, scratch }: Pick<LivingSite, 'member' | 'scratch'>) {
    this.name = options.name;
    this.member = member;
    this.scratch = scratch;
    this.#options = options;
  }

  /** Its member partition is `<name>-1`, and its scratch partition `<name>-2`. */
  static async start(options: LivingSiteOptions): Promise<LivingSite> {
    const { name, clock } = options;
    const member = await SimulatedMember.make(`${name}-1`, { clock });
    const scratch = await SimulatedMember.make(`${name}-2`, { clock });
    const living = new LivingSite(options, { member, scratch });
    await living.start();
    return living;
  }

  /** The present life. */
  get site(): Site {
    if (this.#life === undefined)
      throw new AntipodeError('INVARIANT_BROKEN', `the agent of site ${this.name} has ended`);
    return this.#life.site;
  }

  get isAlive(): boolean {
    return this.#life !== undefined;
  }

  /** Also after {@link kill}. */
  async start(): Promise<void> {
    const { name, seed, clock, network, coordinators, log, isWitness = false, folder, onStep } = this.#options;
    const { member, scratch } = this;
    this.#lives += 1;
    const life = new AbortController();
    const { signal } = life;
    const isEnded = (): boolean => signal.aborted;
    const step = (what: string): void => {
      onStep?.(what);
      alive(isEnded, name);
    };
    const prng = seededPrng(`${seed} ${name}${this.#lives > 1 ? ` ${this.#lives}` : ''}`);
    if (folder !== undefined) mkdirSync(join(folder, name), { recursive: true });
    const own = folder === undefined ? Journal.inMemory({ prng }) : Journal.open(join(folder, name), { prng });
    own.beginRun({ place: name });
    const journal =
      onStep === undefined
        ? own
        : watchedJournal(own, { enter: () => alive(isEnded, name), wrote: (method) => step(`journal ${method}`) });
    if (onStep !== undefined)
      for (const [number, one] of [member, scratch].entries()) {
        one.domainKeys.splice(0, one.domainKeys.length, ...own.domainKeys.of(one.serial));
        await one.reopen((call) => {
          alive(isEnded, name);
          if (!BEFORE_A_CHANGE.has(call)) step(`token ${number + 1} ${call}`);
        });
      }
    const caller: Party = { kind: 'site', name };
    const partitions = isWitness
      ? []
      : [
          new SimulatedPartition({ member, journal, role: 'member' }),
          new SimulatedPartition({ member: scratch, journal, role: 'scratch' }),
        ];
    const site = buildSite({
      name,
      instance: `${name} of ${seed}, life ${this.#lives}`,
      version: '0',
      clock,
      prng,
      log: log.with({ site: name }),
      journal,
      store:
        folder === undefined
          ? GenerationStore.inMemory({ clock })
          : GenerationStore.open(join(folder, name), { clock }),
      partitions: new Partitions(partitions),
      vaults: (this.#options.vaults ?? []).map((serial) => new SimulatedVault(serial, { member, clock })),
      peers: new MemoryPeers({ network, caller: name, life: signal }),
      pins: { of: (group) => this.#pins.get(group) ?? [] },
      approvalRules: new ApprovalRules(this.#options.approvals),
      loopDelay: { maxMs: () => 0 },
      collectGarbage: () => {},
      deletedRetentionMsMin: RETENTION_MS_MIN,
      eraseGraceMs: GRACE_MS,
    });
    const leave = network.serve(caller, SiteAgentService, siteAgentHandlers(site));
    const loops = new AgentLoops({ site });
    const heartbeat = new Heartbeat({
      site,
      coordinators: new LeaderFinder({
        coordinators: coordinators.map((id) => ({ id, address: `${id}:1` })),
        clock,
        dial: (service, { id }) =>
          network.client(service, { caller, callee: { kind: 'coordinator', name: id }, life: signal }),
      }),
      advertise: () => `${name}:1`,
      link: new Link(),
    });
    this.#life = { site, heartbeat, loops, partitions, leave, stop: life };
    heartbeat.start();
    loops.start();
  }

  /** As SIGKILL does. The site loses its databases, its tokens and the network at once. */
  kill(): void {
    const life = this.#life;
    if (life === undefined) return;
    this.#life = undefined;
    life.stop.abort();
    life.leave();
    for (const partition of life.partitions) partition.lose();
    for (const { provider } of [this.member, this.scratch]) void provider.close();
    // They fail, and nobody hears of it.
    for (const one of [life.heartbeat, life.loops]) one.close().catch(() => {});
    life.site.store.close();
    life.site.journal.close();
  }

  /** Trusts the partitions of another site for a group. */
  pin(group: string, { name: site, member, scratch }: LivingSite): void {
    const pin = ({ serial, keyring }: SimulatedMember, role: Pin['role']): Pin => ({
      site,
      serial,
      identity: keyring.identity.sha256,
      role,
    });
    const known = this.#pins.get(group) ?? [];
    this.#pins.set(group, [...known, pin(member, 'member'), pin(scratch, 'scratch')]);
  }

  async close(): Promise<void> {
    if (this.#life === undefined) return;
    const { site, heartbeat, loops, leave } = this.#life;
    leave();
    loops.stop();
    const { journal, store, orders, idle, peers, partitions } = site;
    await closeAll([
      heartbeat,
      orders,
      idle,
      peers,
      loops,
      partitions,
      { close: async () => store.close() },
      { close: async () => journal.close() },
    ]);
  }
}

function alive(isEnded: () => boolean, name: string): void {
  if (isEnded()) throw new AntipodeError('HSM_WORKER_LOST', `the agent of site ${name} has ended`);
}
