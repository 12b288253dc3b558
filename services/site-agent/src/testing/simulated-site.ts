/**
 * A site agent without sockets and without a worker process, for tests: real journal, store, fences, leases, pins and
 * handlers over partitions in memory. Sites call each other over a network in memory (protocol/testing).
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { SimulatedMember } from '@antipode/hsm-core/testing';
import { type CallContext, type Handlers, SiteAgentService } from '@antipode/protocol';
import { MemoryNetwork } from '@antipode/protocol/testing';
import { seededPrng, silentLog } from '@antipode/runtime';
import { FakeClock } from '@antipode/runtime/testing';
import { create, fromBinary, type MessageInitShape, type MessageShape, toBinary } from '@bufbuild/protobuf';
import { ApprovalRules, type ApprovalSettings } from '../approvals/approval-rules.ts';
import { siteAgentHandlers } from '../orders/rpc.ts';
import { Partitions } from '../partition/partition.ts';
import { type Pin, Pins } from '../peers/pins.ts';
import { buildSite, type Site } from '../site.ts';
import { GRACE_MS } from '../storage/collector.ts';
import { GenerationStore } from '../storage/generation-store.ts';
import { Journal } from '../storage/journal/journal.ts';
import { MemoryPeers } from './memory-peers.ts';
import { SimulatedPartition } from './simulated-partition.ts';
import { temporaryFolder } from './temporary-folder.ts';

type Method = keyof typeof SiteAgentService.method;
type Streaming = 'pullManifest' | 'pullBlobs';
type Request<Name extends Method> = MessageInitShape<(typeof SiteAgentService.method)[Name]['input']>;

export class SimulatedNetwork {
  readonly clock = new FakeClock();
  readonly wire = new MemoryNetwork({ clock: this.clock });
  readonly sites = new Map<string, SimulatedSite>();
  readonly #folders: string[] = [];

  /** A site with one member partition, `<name>-1`, or a distributor in its place; and one scratch partition, `<name>-2`. */
  async add(
    name: string,
    { role = 'member', retentionMsMin = 7 * 86_400_000, approvals }: SimulatedSiteOptions = {},
  ): Promise<SimulatedSite> {
    const folder = temporaryFolder();
    this.#folders.push(folder);
    const site = new SimulatedSite(this, { name, folder, role, retentionMsMin, approvals });
    await site.start();
    return site;
  }

  close(): void {
    for (const site of this.sites.values()) site.stop();
    for (const folder of this.#folders) rmSync(folder, { recursive: true });
  }
}

type FirstRole = 'member' | 'distributor';

export interface SimulatedSiteOptions {
  readonly role?: FirstRole;
  readonly retentionMsMin?: number;
  /** As its agent.yaml has them. */
  readonly approvals?: ApprovalSettings | undefined;
}

export class SimulatedSite {
  readonly name: string;
  readonly role: FirstRole;
  readonly #network: SimulatedNetwork;
  /** Where its databases are. */
  readonly folder: string;
  readonly pins: Pins;
  member!: SimulatedMember;
  scratch!: SimulatedMember;
  site!: Site;
  #handlers!: Handlers<typeof SiteAgentService>;
  #leave = (): void => {};
  #starts = -1;

  readonly #retentionMsMin: number;
  /** Its configuration at the next start. */
  approvals: ApprovalSettings | undefined;

  constructor(
    network: SimulatedNetwork,
    {
      name,
      folder,
      role,
      retentionMsMin,
      approvals,
    }: Required<Omit<SimulatedSiteOptions, 'approvals'>> & {
      name: string;
      folder: string;
      approvals: ApprovalSettings | undefined;
    },
  ) {
    this.#network = network;
    this.role = role;
    this.#retentionMsMin = retentionMsMin;
    this.approvals = approvals;
    this.name = name;
    this.folder = folder;
    this.pins = new Pins(join(folder, 'pins.yaml'));
  }

  /** Also after `stop`: what was not durable is gone, as after a kill. */
  async start(): Promise<void> {
    const { name } = this;
    const { clock, sites, wire } = this.#network;
    this.#starts += 1;
    const journal = Journal.open(this.folder);
    journal.beginRun();
    const store = GenerationStore.open(this.folder, { clock });
    this.member ??= await SimulatedMember.make(`${name}-1`, { clock });
    this.scratch ??= await SimulatedMember.make(`${name}-2`, { clock });
    this.site = buildSite({
      name,
      instance: name,
      version: '0',
      clock,
      // Chance does not repeat itself after a restart.
      prng: seededPrng(`${name}${this.#starts > 0 ? ` ${this.#starts}` : ''}`),
      log: silentLog,
      journal,
      store,
      partitions: new Partitions([
        new SimulatedPartition({ member: this.member, journal, role: this.role }),
        new SimulatedPartition({ member: this.scratch, journal, role: 'scratch' }),
      ]),
      peers: new MemoryPeers({ network: wire, caller: name }),
      pins: this.pins,
      approvalRules: new ApprovalRules(this.approvals),
      loopDelay: { maxMs: () => 0 },
      collectGarbage: () => {},
      deletedRetentionMsMin: this.#retentionMsMin,
      eraseGraceMs: GRACE_MS,
    });
    this.#handlers = siteAgentHandlers(this.site);
    this.#leave = this.serveAs(name);
    sites.set(name, this);
  }

  get handlers(): Handlers<typeof SiteAgentService> {
    return this.#handlers;
  }

  /** Answers the calls to a site of this name, which is its own where it is honest. Returns what ends that. */
  serveAs(name: string): () => void {
    return this.#network.wire.serve({ kind: 'site', name }, SiteAgentService, this.#handlers);
  }

  stop(): void {
    this.#leave();
    this.site.journal.close();
    this.site.store.close();
    this.#network.sites.delete(this.name);
  }

  /** Trusts the partitions of a site for a group. */
  pin(group: string, { name: site, member, scratch, role: first }: SimulatedSite): void {
    const pin = ({ serial, keyring }: SimulatedMember, role: Pin['role']): Pin => ({
      site,
      serial,
      identity: keyring.identity.sha256,
      role,
    });
    this.pins.add(group, [pin(member, first), pin(scratch, 'scratch')]);
  }

  /** Calls a method that answers once: as the coordinator does, or as the site that is named. */
  async call<Name extends Exclude<Method, Streaming>>(name: Name, request: Request<Name>, caller: Caller = {}) {
    const handler = this.#handlers[name] as (message: unknown, context: CallContext) => Promise<never>;
    return (await handler(encoded(SiteAgentService.method[name].input, request), contextOf(caller))) as Awaited<
      ReturnType<Handlers<typeof SiteAgentService>[Name]>
    >;
  }

  async *stream<Name extends Streaming>(
    name: Name,
    request: Request<Name>,
    caller: Caller = {},
  ): AsyncIterable<MessageShape<(typeof SiteAgentService.method)[Name]['output']>> {
    const handler = this.#handlers[name] as (message: unknown, context: CallContext) => AsyncIterable<object>;
    for await (const part of handler(encoded(SiteAgentService.method[name].input, request), contextOf(caller)))
      yield encoded(SiteAgentService.method[name].output, part) as never;
  }
}

/** Who calls; the coordinator where no site is named. */
interface Caller {
  readonly site?: string;
  readonly signal?: AbortSignal;
}

const contextOf = ({ site, signal = new AbortController().signal }: Caller): CallContext => ({
  identity: { trustDomain: 'test', kind: site === undefined ? 'coordinator' : 'site', name: site ?? 'main' },
  signal,
});

function encoded(schema: Parameters<typeof create>[0], message: never | object): object {
  return fromBinary(schema, toBinary(schema, create(schema, message as never)));
}
