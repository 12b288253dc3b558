/**
 * A site agent without a network and without a worker process, for tests: real journal, store, fences, leases, pins and
 * handlers over partitions in memory. Sites call each other's handlers, with their messages encoded as on the wire.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { CaptureMemory, ReplicaMemory } from '@antipode/hsm-core';
import { SimulatedMember } from '@antipode/hsm-core/testing';
import { type CallContext, type CallOptions, type Handlers, SiteAgentService } from '@antipode/protocol';
import { AntipodeError, seededPrng, silentLog } from '@antipode/runtime';
import { FakeClock } from '@antipode/runtime/testing';
import { create, fromBinary, type MessageInitShape, type MessageShape, toBinary } from '@bufbuild/protobuf';
import type { PartitionSettings } from '../config.ts';
import { Authority } from '../orders/authority.ts';
import { Exchanges } from '../orders/exchange.ts';
import { OrderBook } from '../orders/order-book.ts';
import { siteAgentHandlers } from '../orders/rpc.ts';
import type { OpenPartition, Partition, Partitions } from '../partition/partitions.ts';
import { type Rank, Turns, yielding } from '../partition/turns.ts';
import { Mender } from '../peers/mending.ts';
import type { Peer, Peers } from '../peers/peers.ts';
import { type Pin, Pins } from '../peers/pins.ts';
import { Transfer } from '../peers/transfer.ts';
import { Trust } from '../peers/trust.ts';
import type { Site } from '../site.ts';
import { Collector } from '../storage/collector.ts';
import { Deletions } from '../storage/deletions.ts';
import { GenerationStore } from '../storage/generation-store.ts';
import { IdleCollection } from '../storage/idle-collection.ts';
import { Journal } from '../storage/journal.ts';
import { Retention } from '../storage/retention.ts';
import { FenceKeeper } from '../tenure/fence.ts';
import { LeaseKeeper } from '../tenure/lease.ts';
import { temporaryFolder } from './temporary-folder.ts';

type Method = keyof typeof SiteAgentService.method;
type Streaming = 'pullManifest' | 'pullBlobs';
type Request<Name extends Method> = MessageInitShape<(typeof SiteAgentService.method)[Name]['input']>;

/** What a peer changes in the messages that it sends. */
export type Distortion = (method: string, message: unknown) => void;

export class SimulatedNetwork {
  readonly clock = new FakeClock();
  readonly sites = new Map<string, SimulatedSite>();
  distort: Distortion = () => {};
  readonly #folders: string[] = [];

  /** A site with one member partition, `<name>-1`, or a distributor in its place; and one scratch partition, `<name>-2`. */
  async add(
    name: string,
    { role = 'member', retentionMsMin = 7 * 86_400_000 }: { role?: FirstRole; retentionMsMin?: number } = {},
  ): Promise<SimulatedSite> {
    const folder = temporaryFolder();
    this.#folders.push(folder);
    const site = new SimulatedSite(this, { name, folder, role, retentionMsMin });
    await site.start();
    return site;
  }

  close(): void {
    for (const site of this.sites.values()) site.stop();
    for (const folder of this.#folders) rmSync(folder, { recursive: true });
  }
}

type FirstRole = 'member' | 'distributor';

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
  #starts = -1;

  readonly #retentionMsMin: number;

  constructor(
    network: SimulatedNetwork,
    { name, folder, role, retentionMsMin }: { name: string; folder: string; role: FirstRole; retentionMsMin: number },
  ) {
    this.#network = network;
    this.role = role;
    this.#retentionMsMin = retentionMsMin;
    this.name = name;
    this.folder = folder;
    this.pins = new Pins(join(folder, 'pins.yaml'));
  }

  /** Also after `stop`: what was not durable is gone, as after a kill. */
  async start(): Promise<void> {
    const { name } = this;
    const { clock, sites } = this.#network;
    this.#starts += 1;
    const journal = new Journal(this.folder);
    journal.beginRun();
    const store = new GenerationStore(this.folder);
    this.member ??= await SimulatedMember.make(`${name}-1`, { clock });
    this.scratch ??= await SimulatedMember.make(`${name}-2`, { clock });
    const all = [
      new SimulatedPartition({ member: this.member, journal, role: this.role }),
      new SimulatedPartition({ member: this.scratch, journal, role: 'scratch' }),
    ] as unknown as Partition[];
    const partitions = {
      all,
      bySerial: (serial: string) => {
        const found = all.find((partition) => partition.serial === serial);
        if (found === undefined) throw new AntipodeError('NOT_FOUND', 'no such partition', { details: { serial } });
        return found;
      },
    } as unknown as Partitions;
    const trust = new Trust({ site: name, partitions: all, pins: this.pins, journal });
    const peers = {
      client: ({ site }: { site: string }) => this.#clientOf(site),
      learn: () => {},
    } as unknown as Peers;
    const transfer = new Transfer({ store, peers, trust, log: silentLog, clock });
    const deletions = new Deletions({ journal, clock, retentionMsMin: this.#retentionMsMin });
    const retention = new Retention({ journal, store, log: silentLog, clock });
    const fences = new FenceKeeper({ journal });
    const leases = new LeaseKeeper({ clock });
    this.site = {
      name,
      instance: name,
      version: '0',
      clock,
      // Chance does not repeat itself after a restart.
      prng: seededPrng(`${name}${this.#starts > 0 ? ` ${this.#starts}` : ''}`),
      log: silentLog,
      journal,
      store,
      fences,
      leases,
      authority: new Authority({ name, journal, fences, leases }),
      deletions,
      partitions,
      peers,
      trust,
      transfer,
      mender: new Mender({ journal, store, transfer, log: silentLog }),
      retention,
      collector: new Collector({ journal, store, deletions, retention, clock, log: silentLog }),
    };
    this.#handlers = siteAgentHandlers({
      site: this.site,
      exchanges: new Exchanges(this.site),
      orders: new OrderBook({ clock, mark: () => journal.mark }),
      loopDelay: { maxMs: () => 0, close: () => {} },
      idle: new IdleCollection({ clock: new FakeClock(), collect: () => {} }),
    });
    sites.set(name, this);
  }

  stop(): void {
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

  #clientOf(name: string): Peer {
    const { sites } = this.#network;
    const reach = (): SimulatedSite => {
      const peer = sites.get(name);
      if (peer === undefined) throw new AntipodeError('SITE_UNREACHABLE', `no answer from ${name}`);
      return peer;
    };
    const network = this.#network;
    const caller = this.name;
    const methods = SiteAgentService.methods.map(({ localName, methodKind }) => [
      localName,
      methodKind === 'unary'
        ? async (request: never, options: CallOptions = {}) => {
            const message = await reach().call(localName as 'ping', request, { ...options, site: caller });
            network.distort(localName, message);
            return message;
          }
        : async function* (request: never, options: CallOptions = {}) {
            const checkSignal = (): void => {
              if (options.signal?.aborted)
                throw new AntipodeError('SITE_UNREACHABLE', `the call to ${name} was cancelled`);
            };
            checkSignal();
            for await (const message of reach().stream(localName as 'pullBlobs', request, {
              ...options,
              site: caller,
            })) {
              network.distort(localName, message);
              yield message;
              checkSignal();
            }
          },
    ]);
    return Object.fromEntries(methods) as Peer;
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

/** What orders use of a partition. Its work runs in turn; `reopen` is what the loss of its worker does. */
class SimulatedPartition {
  readonly settings: Pick<PartitionSettings, 'name' | 'module' | 'tokenLabel' | 'role' | 'exclude'>;
  readonly #member: SimulatedMember;
  readonly #journal: Journal;
  readonly #turns = new Turns();
  readonly #open: OpenPartition;

  constructor(options: { member: SimulatedMember; journal: Journal; role: PartitionSettings['role'] }) {
    const { member, journal, role } = options;
    this.#member = member;
    this.#journal = journal;
    this.settings = { name: member.serial, module: 'simulated', tokenLabel: member.serial, role };
    this.#open = {
      get provider() {
        return member.provider;
      },
      get keyring() {
        return member.keyring;
      },
      description: {
        serial: member.serial,
        label: member.serial,
        manufacturer: '',
        model: 'simulated',
        firmware: '1',
        unenforced: [],
        silentSlots: [],
        freeSlots: 0,
      },
      captures: new CaptureMemory(),
      replica: new ReplicaMemory(),
      refreshKeyring: async () => {
        member.domainKeys.splice(0, member.domainKeys.length, ...this.#journal.domainKeys(member.serial));
        await member.refresh();
      },
    };
  }
  readonly unenforced = [];
  readonly hasReceivingKey = true;
  readonly silentSlots = [];

  get serial(): string {
    return this.#member.serial;
  }

  get identitySha256(): string {
    return this.#member.keyring.identity.sha256;
  }

  readonly unansweredMs = 0;

  use<T>(work: (open: OpenPartition) => Promise<T>, signal?: AbortSignal, rank: Rank = 'normal'): Promise<T> {
    const open = this.#open;
    return this.#turns.take(
      (makeWay) =>
        work(
          rank === 'yielding' ? { ...open, provider: yielding(open.provider, makeWay), keyring: open.keyring } : open,
        ),
      signal,
      rank,
    );
  }
}
