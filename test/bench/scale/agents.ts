/**
 * The agents of a whole fleet in one process, whose processor time does not count. Each site has its own certificate, its
 * own server and its own connection to the coordinator. It sends real heartbeats, and carries out every order at once.
 * The parent names sites that are lost: their ports accept connections and never answer, as after a power cut behind a
 * router.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type Client,
  CoordinatorService,
  createClient,
  HeartbeatRequestSchema,
  type HeartbeatResponse,
  MemberRole,
  RpcServer,
  SentHeartbeats,
  SiteAgentService,
  type TlsFiles,
} from '@antipode/protocol';
import { someHandlers } from '@antipode/protocol/testing';
import { AntipodeError, fromHex, hasCode, silentLog, systemClock } from '@antipode/runtime';
import { create } from '@bufbuild/protobuf';
import { DeadPort } from './dead-port.ts';
import { FIRST_NUMBER, type FleetSize, fleetGroups, fleetSites, generationOf } from './fleet.ts';

export interface AgentsConfig {
  readonly size: FleetSize;
  readonly folder: string;
  readonly coordinator: string;
  /** The share of captures that find a change. */
  readonly changes: number;
  readonly pace: number;
  /** As agents do that know how; those of earlier releases tell everything each time. */
  readonly tellsChanges: boolean;
}

export type AgentsOrder =
  | { readonly type: 'lose' | 'return'; readonly sites: readonly string[] }
  | { readonly type: 'report' };

export interface AgentsReport {
  readonly heartbeats: number;
  readonly failed: number;
  readonly latencyMs: { readonly median: number; readonly p99: number; readonly max: number };
  readonly orders: Readonly<Record<string, number>>;
  /** The first failure of a heartbeat since the report before. */
  readonly failure: string;
}

const HEARTBEAT_MS = 1_000;
const HEARTBEAT_TIMEOUT_MS = 4_000;
/** Handshakes that the coordinator takes from one address at a time. */
const START_PAUSE_MS = 25;
const RUN = 'run';

interface Seat {
  readonly group: string;
  readonly serial: string;
  role: MemberRole;
  epoch: bigint;
  owner: string;
  head: { epoch: bigint; number: bigint };
}

const config = JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as AgentsConfig;
const orders: Record<string, number> = {};
let latenciesMs: number[] = [];
let failed = 0;
let failure = '';
const lost = new Set<string>();

const refOf = (group: string, position: { epoch: bigint; number: bigint }) => {
  const { manifestDigest, contentDigest, number, ...rest } = generationOf(group, position);
  return {
    ...rest,
    generation: number,
    manifestDigest: fromHex(manifestDigest),
    contentDigest: fromHex(contentDigest),
    captureStartedMs: 0n,
  };
};

class Site {
  readonly name: string;
  readonly seats: ReadonlyMap<string, Seat>;
  /** Any free one at first, and the same again after a loss. */
  #port = 0;
  readonly #tls: TlsFiles;
  readonly #peers: readonly string[];
  #server: RpcServer | undefined;
  #wall: DeadPort | undefined;
  #client: Client<typeof CoordinatorService> | undefined;
  readonly #sent = new SentHeartbeats();
  #vouchees: HeartbeatResponse['vouchees'] = [];
  #vouchedGroups: string[] = [];
  #beat = 0n;
  #captures = 0;
  #timer: NodeJS.Timeout | undefined;
  #isBeating = false;

  constructor(options: { name: string; seats: readonly Seat[]; peers: readonly string[] }) {
    this.name = options.name;
    this.#peers = options.peers;
    this.seats = new Map(options.seats.map((seat) => [seat.group, seat]));
    const file = (name: string): string => join(config.folder, options.name, name);
    this.#tls = { caFile: file('ca.crt'), certificateFile: file('tls.crt'), keyFile: file('tls.key') };
  }

  async start(): Promise<void> {
    await this.#wall?.close();
    this.#wall = undefined;
    this.#server = new RpcServer({ tls: this.#tls, log: silentLog });
    this.#server.add(SiteAgentService, this.#handlers());
    this.#port = await this.#server.listen(`127.0.0.1:${this.#port}`);
    this.#client = createClient(CoordinatorService, {
      address: config.coordinator,
      tls: this.#tls,
      expected: { kind: 'coordinator', name: 'main' },
    });
    this.#timer = setInterval(() => void this.#heartbeat(), HEARTBEAT_MS / config.pace);
  }

  async lose(): Promise<void> {
    lost.add(this.name);
    clearInterval(this.#timer);
    this.#client?.close();
    await this.#server?.close(0);
    this.#wall = await DeadPort.open(this.#port);
  }

  async comeBack(): Promise<void> {
    lost.delete(this.name);
    await this.start();
  }

  #describe() {
    return {
      site: this.name,
      instance: `${this.name}-1`,
      version: '0.1.0',
      partitions: [...this.seats.values()].map(({ serial, group }) => ({
        name: group,
        serial,
        tokenLabel: group,
        module: '/usr/lib/softhsm/libsofthsm2.so',
        identitySha256: generationOf(serial, { epoch: 0n, number: 0n }).manifestDigest,
        domainKeys: [{ group, version: 1 }],
      })),
      members: [...this.seats.values()].map((seat) => this.#member(seat)),
      journal: { id: this.name, runs: [{ token: RUN, writes: 1n, place: this.name }] },
    };
  }

  #member({ group, serial, role, epoch, owner, head }: Seat) {
    const isActive = role === MemberRole.ACTIVE;
    return {
      group,
      serial,
      role,
      epoch,
      epochOwner: owner,
      domainKeyVersion: 1,
      ...(isActive ? { captured: refOf(group, head) } : { applied: refOf(group, head) }),
    };
  }

  async #heartbeat(): Promise<void> {
    if (this.#isBeating) return;
    this.#isBeating = true;
    const startMs = performance.now();
    try {
      const answer = await this.#ask();
      latenciesMs.push(performance.now() - startMs);
      for (const { group, epoch, owner } of answer.epochs) this.#learn({ group, epoch, owner });
      this.#vouchees = answer.vouchees;
      this.#vouchedGroups = answer.leases.flatMap(({ group, vouchers }) => (vouchers.length === 0 ? [] : [group]));
    } catch (thrown) {
      if (lost.has(this.name)) return;
      failed += 1;
      failure ||= (thrown as Error).message;
    } finally {
      this.#isBeating = false;
    }
  }

  /** As a real agent does. */
  async #ask(): Promise<HeartbeatResponse> {
    this.#beat += 1n;
    const whole = create(HeartbeatRequestSchema, {
      state: this.#describe(),
      address: `127.0.0.1:${this.#port}`,
      observations: this.#peers.map((site) => ({ site, reached: !lost.has(site), ageMs: 400n, sinceMs: 60_000n })),
      beat: this.#beat,
      vouchees: this.#vouchees,
      vouchedGroups: this.#vouchedGroups,
    });
    const request = config.tellsChanges ? this.#sent.shortened(whole) : whole;
    try {
      const answer = await this.#client!.heartbeat(request, { timeoutMs: HEARTBEAT_TIMEOUT_MS / config.pace });
      return this.#sent.completed(answer);
    } catch (thrown) {
      if (request === whole || !hasCode(thrown, 'HEARTBEAT_PARTIAL')) throw thrown;
      this.#sent.forget();
      return this.#ask();
    }
  }

  #learn({ group, epoch, owner }: { group: string; epoch: bigint; owner: string }): Seat {
    const seat = this.seats.get(group);
    if (seat === undefined) throw new AntipodeError('NOT_FOUND', `site ${this.name} has no seat in ${group}`);
    if (epoch < seat.epoch) throw new AntipodeError('EPOCH_STALE', `site ${this.name} is in epoch ${seat.epoch}`);
    if (epoch > seat.epoch && seat.role === MemberRole.ACTIVE) seat.role = MemberRole.FENCED;
    seat.epoch = epoch;
    seat.owner = owner;
    return seat;
  }

  #handlers() {
    const order = { running: false, ageMs: 0n, journal: { id: this.name, run: RUN, writes: 1n } };
    const counted = (name: string): void => {
      orders[name] = (orders[name] ?? 0) + 1;
    };
    const fenced = (name: string, fence: { group: string; epoch: bigint; owner: string } | undefined): Seat => {
      counted(name);
      return this.#learn(fence!);
    };
    const proof = { proved: 40, failed: 0 };
    return someHandlers(SiteAgentService, {
      describe: async () => {
        counted('describe');
        return this.#describe();
      },
      ping: async () => ({ site: this.name, instance: `${this.name}-1` }),
      probePeer: async ({ peer, timeoutMs }) => {
        counted('probePeer');
        const reachable = !lost.has(peer?.site ?? '');
        if (!reachable) await systemClock.sleep(timeoutMs);
        return { reachable, roundTripMs: 1, observerLoopDelayMs: 1 };
      },
      setRole: async ({ fence, role }) => {
        const seat = fenced('setRole', fence);
        seat.role = role;
        return { member: this.#member(seat) };
      },
      promote: async ({ fence }) => {
        const seat = fenced('promote', fence);
        seat.role = MemberRole.ACTIVE;
        return { member: this.#member(seat), proof, order };
      },
      capture: async ({ fence, reservedGeneration }) => {
        const seat = fenced('capture', fence);
        this.#captures += 1;
        const isNew = seat.head.epoch !== seat.epoch || this.#captures % Math.round(1 / config.changes) === 0;
        if (isNew) seat.head = { epoch: seat.epoch, number: reservedGeneration };
        return { generation: refOf(seat.group, seat.head), isNew, sealedObjects: isNew ? 1 : 0, order };
      },
      apply: async ({ fence, generation }) => {
        const seat = fenced('apply', fence);
        seat.head = { epoch: generation!.epoch, number: generation!.generation };
        return { appliedObjects: 1, pulledBlobs: 1, order };
      },
      verify: async ({ fence, generation }) => {
        const { group } = fenced('verify', fence);
        const at = { epoch: generation!.epoch, number: generation!.generation };
        return { contentDigest: fromHex(generationOf(group, at).contentDigest), proof, order };
      },
      scrub: async ({ fence }) => {
        const seat = fenced('scrub', fence);
        return { generation: refOf(seat.group, seat.head), proof, order };
      },
      cancelOrder: async () => ({ found: false }),
    });
  }
}

async function main(): Promise<void> {
  const groups = fleetGroups(config.size);
  const sites = fleetSites(config.size).map((name) => {
    const own = groups.filter(({ seats }) => seats.some(({ site }) => site === name));
    const peers = new Set(own.flatMap(({ seats }) => seats.map(({ site }) => site)));
    peers.delete(name);
    return new Site({
      name,
      peers: [...peers],
      seats: own.map(({ name: group, seats }) => ({
        group,
        serial: seats.find(({ site }) => site === name)!.serial,
        role: seats[0]!.site === name ? MemberRole.ACTIVE : MemberRole.STANDBY,
        epoch: 1n,
        owner: seats[0]!.site,
        head: { epoch: 1n, number: FIRST_NUMBER },
      })),
    });
  });
  for (const site of sites) {
    await site.start();
    await systemClock.sleep(START_PAUSE_MS);
  }
  const named = new Map(sites.map((site) => [site.name, site]));
  process.on('message', async (message: AgentsOrder) => {
    if (message.type === 'report') process.send!(report());
    if (message.type === 'lose') for (const name of message.sites) await named.get(name)!.lose();
    if (message.type === 'return')
      for (const name of message.sites) {
        await named.get(name)!.comeBack();
        await systemClock.sleep(START_PAUSE_MS);
      }
    if (message.type !== 'report') process.send!('done');
  });
  process.on('disconnect', () => process.exit(0));
  process.send!('ready');
}

function report(): AgentsReport {
  const sorted = latenciesMs.sort((a, b) => a - b);
  const at = (share: number): number => Math.round(sorted[Math.floor((sorted.length - 1) * share)] ?? 0);
  const result = {
    heartbeats: sorted.length,
    failed,
    latencyMs: { median: at(0.5), p99: at(0.99), max: at(1) },
    orders: { ...orders },
    failure,
  };
  latenciesMs = [];
  failed = 0;
  failure = '';
  for (const name of Object.keys(orders)) delete orders[name];
  return result;
}

await main();
