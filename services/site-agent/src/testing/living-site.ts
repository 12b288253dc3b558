/** A whole agent in memory: its orders, heartbeats and loops, over a simulated HSM, with databases and peers in memory. */
import { SimulatedMember } from '@antipode/hsm-core/testing';
import { LeaderFinder, SiteAgentService } from '@antipode/protocol';
import type { MemoryNetwork, Party } from '@antipode/protocol/testing';
import { type Clock, closeAll, type Log, seededPrng } from '@antipode/runtime';
import { AgentLoops } from '../agent-loops.ts';
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
}

export class LivingSite {
  readonly name: string;
  readonly site: Site;
  readonly member: SimulatedMember;
  readonly scratch: SimulatedMember;
  readonly #pins: Map<string, Pin[]>;
  readonly #heartbeat: Heartbeat;
  readonly #loops: AgentLoops;
  readonly #leave: () => void;

  private constructor(
    { name, seed, clock, network, coordinators, log: of, isWitness = false }: LivingSiteOptions,
    { member, scratch }: { member: SimulatedMember; scratch: SimulatedMember },
  ) {
    this.name = name;
    this.member = member;
    this.scratch = scratch;
    const prng = seededPrng(`${seed} ${name}`);
    const pins = new Map<string, Pin[]>();
    this.#pins = pins;
    const journal = Journal.inMemory({ prng });
    journal.beginRun({ place: name });
    const caller: Party = { kind: 'site', name };
    this.site = buildSite({
      name,
      instance: `${name} of ${seed}`,
      version: '0',
      clock,
      prng,
      log: of.with({ site: name }),
      journal,
      store: GenerationStore.inMemory({ clock }),
      partitions: new Partitions(
        isWitness
          ? []
          : [
              new SimulatedPartition({ member, journal, role: 'member' }),
              new SimulatedPartition({ member: scratch, journal, role: 'scratch' }),
            ],
      ),
      peers: new MemoryPeers({ network, caller: name }),
      pins: { of: (group) => pins.get(group) ?? [] },
      loopDelay: { maxMs: () => 0 },
      collectGarbage: () => {},
      deletedRetentionMsMin: RETENTION_MS_MIN,
      eraseGraceMs: GRACE_MS,
    });
    this.#leave = network.serve(caller, SiteAgentService, siteAgentHandlers(this.site));
    this.#loops = new AgentLoops({ site: this.site });
    this.#heartbeat = new Heartbeat({
      site: this.site,
      coordinators: new LeaderFinder({
        coordinators: coordinators.map((id) => ({ id, address: `${id}:1` })),
        clock,
        dial: (service, { id }) => network.client(service, { caller, callee: { kind: 'coordinator', name: id } }),
      }),
      advertise: () => `${name}:1`,
      link: new Link(),
    });
  }

  /** Its member partition is `<name>-1`, and its scratch partition `<name>-2`. */
  static async start(options: LivingSiteOptions): Promise<LivingSite> {
    const { name, clock } = options;
    const member = await SimulatedMember.make(`${name}-1`, { clock });
    const scratch = await SimulatedMember.make(`${name}-2`, { clock });
    const living = new LivingSite(options, { member, scratch });
    living.#heartbeat.start();
    living.#loops.start();
    return living;
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
    this.#leave();
    this.#loops.stop();
    const { journal, store, orders, idle, peers, partitions } = this.site;
    await closeAll([
      this.#heartbeat,
      orders,
      idle,
      peers,
      this.#loops,
      partitions,
      { close: async () => store.close() },
      { close: async () => journal.close() },
    ]);
  }
}
