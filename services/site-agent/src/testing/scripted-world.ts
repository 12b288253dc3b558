/**
 * Sites that share one clock and one network in memory, and a coordinator that follows a script. Every event is a line
 * of the log. Chance comes from the seed, so two worlds with the same seed and script have the same lines.
 */
import { type CallOptions, CoordinatorService, MemberRole, SiteAgentService } from '@antipode/protocol';
import { MemoryNetwork, type Party } from '@antipode/protocol/testing';
import { AntipodeError, Log, type Prng, seededPrng } from '@antipode/runtime';
import { FakeClock } from '@antipode/runtime/testing';
import { LivingSite } from './living-site.ts';

export const GROUP = 'payments';
const LEASE_MS = 15_000;
const HEARTBEAT_MS = 500;
const LATENCY_MS_MAX = 50;
/** A call of an order waits so long, and asks again. */
const WAIT_MS = 1_000;
const STEP_MS = 10;

const coordinator: Party = { kind: 'coordinator', name: 'main' };

/** The answer to an order: the script asks again while the order runs. */
interface Asked {
  readonly order?: { readonly running: boolean } | undefined;
}

export class ScriptedWorld {
  readonly clock: FakeClock;
  readonly lines: string[] = [];
  readonly prng: Prng;
  readonly sites = new Map<string, LivingSite>();
  readonly #seed: string;
  readonly #log: Log;
  readonly #network: MemoryNetwork;
  #epoch = 1n;
  #owner: string;
  #orders = 0;

  constructor({ seed, owner, turnsToSettle }: { seed: string; owner: string; turnsToSettle: number }) {
    this.clock = new FakeClock({ turnsToSettle });
    this.#seed = seed;
    this.#owner = owner;
    this.prng = seededPrng(seed);
    const { clock } = this;
    this.#log = new Log({ level: 'debug', format: 'json', clock, write: (line) => this.lines.push(line) });
    const latency = seededPrng(`${seed} latency`);
    this.#network = new MemoryNetwork({
      clock,
      log: this.#log,
      latencyMs: () => 1 + Math.floor(latency.fraction() * LATENCY_MS_MAX),
    });
    this.#network.serve(coordinator, CoordinatorService, {
      heartbeat: async (_request, { identity }) => this.#answer(identity.name),
      getLeader: async () => ({ coordinator: coordinator.name, term: 1n, leader: coordinator.name }),
    });
  }

  async add(name: string): Promise<LivingSite> {
    const { clock } = this;
    const options = {
      name,
      seed: this.#seed,
      clock,
      network: this.#network,
      coordinators: [coordinator.name],
      log: this.#log,
    };
    const site = await LivingSite.start(options);
    this.sites.set(name, site);
    return site;
  }

  get fence() {
    this.#orders += 1;
    return { group: GROUP, epoch: this.#epoch, owner: this.#owner, requestId: `r${this.#orders}` };
  }

  /** Another site becomes the owner of the next epoch. */
  issue(owner: string): void {
    this.#epoch += 1n;
    this.#owner = owner;
  }

  seat(site: string, role = site === this.#owner ? MemberRole.ACTIVE : MemberRole.STANDBY) {
    return this.client(site).setRole({ fence: this.fence, serial: `${site}-1`, role });
  }

  client(site: string) {
    return this.#network.client(SiteAgentService, { caller: coordinator, callee: { kind: 'site', name: site } });
  }

  address(site: string) {
    return { site, address: `${site}:1` };
  }

  /** Starts an order and asks for it until it has ended. Its failure is a line, and not the end of the script. */
  async order<Response extends Asked>(
    what: string,
    ask: (waitMs: number, options: CallOptions) => Promise<Response>,
  ): Promise<Response | undefined> {
    try {
      for (;;) {
        const response = await ask(WAIT_MS, {});
        if (response.order?.running === true) continue;
        this.#log.info('order done', { what, response: textOf(response) });
        return response;
      }
    } catch (thrown) {
      const { code } = AntipodeError.from(thrown);
      this.#log.info('order failed', { what, code });
      return undefined;
    }
  }

  note(message: string, fields: Record<string, unknown> = {}): void {
    this.#log.info(message, fields);
  }

  /** Lets time pass until the work is done, and not a step longer. */
  async until<T>(work: Promise<T>): Promise<T> {
    let isDone = false;
    const done = work.finally(() => {
      isDone = true;
    });
    done.catch(() => {});
    while (!isDone) await this.clock.advance(STEP_MS);
    return done;
  }

  async close(): Promise<void> {
    await this.until(Promise.all([...this.sites.values()].map((site) => site.close())));
  }

  #answer(site: string) {
    const { group, epoch, owner } = { group: GROUP, epoch: this.#epoch, owner: this.#owner };
    const others = [...this.sites.keys()].filter((name) => name !== site);
    return {
      intervalMs: HEARTBEAT_MS,
      leases: site === owner ? [{ group, epoch, leaseMs: 20_000n, selfStopMs: BigInt(LEASE_MS) }] : [],
      epochs: [{ group, epoch, owner, requestId: 'heartbeat' }],
      peers: [{ group, sites: others.map((name) => this.address(name)) }],
      roundTripMsMax: 2 * LATENCY_MS_MAX,
    };
  }
}

/** Everything in it, but for signatures, which no two runs have alike: ECDSA takes chance of its own. */
const textOf = (response: object): string =>
  JSON.stringify(response, (key, value: unknown) => {
    if (key === 'signature') return undefined;
    return typeof value === 'bigint' ? value.toString() : value;
  });
