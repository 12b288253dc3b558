/**
 * Three sites with one group, whose agents guard it by the approvals of operators. Site a is active, b and c stand by, and
 * all of them have applied generation 1. The caller plays the coordinator, honest or not.
 */
import { type GenerationRef, MemberRole, type SignedApproval } from '@antipode/protocol';
import { type SomeOperators, someRequest } from '@antipode/protocol/testing';
import { hex, invariant } from '@antipode/runtime';
import { HeartbeatAnswers } from '../tenure/heartbeat-answers.ts';
import { SimulatedNetwork, type SimulatedSite } from './simulated-site.ts';
import { address, GROUP, LEASE_MS } from './two-sites.ts';

export const GUARDED_GROUP = GROUP;

const NAMES = ['a', 'b', 'c'] as const;
type Name = (typeof NAMES)[number];

export class GuardedSites {
  readonly network = new SimulatedNetwork();
  readonly operators: SomeOperators;
  readonly #sites = new Map<string, SimulatedSite>();
  /** The newest generation of site a. */
  newest!: Pick<GenerationRef, 'manifestDigest'> & { digest: string };

  private constructor(operators: SomeOperators) {
    this.operators = operators;
  }

  static async make(operators: SomeOperators): Promise<GuardedSites> {
    const sites = new GuardedSites(operators);
    await sites.#start();
    return sites;
  }

  get settings() {
    const { required, breakGlass, operators } = this.operators.policy;
    return { required, breakGlass, operators: [...operators], groups: {} };
  }

  at(name: string): SimulatedSite {
    const site = this.#sites.get(name);
    invariant(site !== undefined, 'no such site');
    return site;
  }

  /** An order under an epoch, with these approvals. */
  fence(epoch: bigint, owner: string, approvals: readonly SignedApproval[] = [], operationId = 'operation 1') {
    const order = { group: GROUP, epoch, owner, requestId: 'r' };
    return approvals.length === 0
      ? order
      : {
          ...order,
          approvals: {
            operationId,
            approvals: approvals.map(({ request, signatures }) => ({ request, signatures: [...signatures] })),
          },
        };
  }

  /** A request that is valid now. */
  request(changes: Parameters<typeof someRequest>[0] = {}) {
    return someRequest(changes, this.network.clock.wallMs());
  }

  async #start(): Promise<void> {
    for (const name of NAMES) this.#sites.set(name, await this.network.add(name));
    for (const site of this.#sites.values()) for (const peer of this.#sites.values()) site.pin(GROUP, peer);
    const fence = this.fence(1n, 'a');
    for (const name of NAMES)
      await this.at(name).call('setRole', {
        fence,
        serial: `${name}-1`,
        role: name === 'a' ? MemberRole.ACTIVE : MemberRole.STANDBY,
      });
    await this.distribute(1);
    this.renew('a', 1n);
    await this.capture();
    for (const name of ['b', 'c'] as const) await this.bring(name);
    for (const name of NAMES) await this.restart(name, { guarded: true });
  }

  /** Starts the agent again, guarding its actions from now on where it is said. */
  async restart(name: Name, { guarded = true }: { guarded?: boolean } = {}): Promise<void> {
    const site = this.at(name);
    site.stop();
    site.approvals = guarded ? this.settings : undefined;
    await site.start();
    this.introduce(name);
  }

  /** As the answer to a heartbeat does: where the others are. */
  introduce(name: string, others: readonly string[] = NAMES): void {
    this.at(name).site.mender.learn(GROUP, others.filter((other) => other !== name).map(address));
  }

  /** A further site that all others have pinned, and that is not a member yet. */
  async join(name: string, { guarded = true }: { guarded?: boolean } = {}): Promise<SimulatedSite> {
    const joined = await this.network.add(name, { approvals: guarded ? this.settings : undefined });
    this.#sites.set(name, joined);
    for (const site of this.#sites.values()) {
      if (site !== joined) joined.pin(GROUP, site);
      site.pin(GROUP, joined);
    }
    return joined;
  }

  distribute(version: number, serials: readonly string[] = ['a-1', 'b-1', 'c-1'], approvals: SignedApproval[] = []) {
    return this.at('a').call('distributeDomainKey', {
      fence: this.fence(1n, 'a', approvals),
      version,
      members: serials.map((serial) => ({ site: address(serial[0]!), serial })),
    });
  }

  renew(name: Name, epoch: bigint): void {
    const sentAtMs = this.network.clock.monotonicMs();
    this.at(name).site.leases.grant({ group: GROUP, epoch, sentAtMs, selfStopMs: LEASE_MS });
  }

  /** A new key at site a, and the generation that has it. */
  async capture(): Promise<void> {
    this.renew('a', 1n);
    this.at('a').member.hsm.addSecret('key');
    const { generation, isNew } = await this.at('a').call('capture', {
      fence: this.fence(1n, 'a'),
      domainKeyVersion: 1,
    });
    invariant(isNew && generation?.manifestDigest !== undefined, 'nothing new was captured');
    this.newest = { manifestDigest: generation.manifestDigest, digest: hex(generation.manifestDigest) };
  }

  /** The newest generation, applied and read back. */
  async bring(name: Name): Promise<void> {
    const order = { fence: this.fence(1n, 'a'), generation: this.newest };
    await this.at(name).call('apply', { ...order, sources: [address('a')] });
    await this.at(name).call('verify', { ...order, everything: true });
  }

  /** Every site that runs has persisted the epoch before, as in a failover. */
  async promote(name: Name, epoch: bigint, approvals: readonly SignedApproval[] = [], operationId?: string) {
    for (const other of NAMES.filter((one) => this.network.sites.has(one)))
      if ((this.at(other).site.journal.tenure.fence(GROUP)?.epoch ?? 0n) < epoch) await this.teach(other, epoch, name);
    return this.at(name).call('promote', { fence: this.fence(epoch, name, approvals, operationId) });
  }

  teach(name: Name, epoch: bigint, owner: string) {
    const role = name === 'a' ? MemberRole.FENCED : MemberRole.STANDBY;
    return this.at(name).call('setRole', { fence: this.fence(epoch, owner), serial: `${name}-1`, role });
  }

  /** The answer to a heartbeat that takes the seat of a site. */
  release(name: Name, approvals: readonly SignedApproval[] = []): void {
    const fence = this.fence(1n, 'a', approvals);
    new HeartbeatAnswers(this.at(name).site).take(
      {
        leases: [],
        epochs: [],
        released: [{ ...fence, serial: `${name}-1`, deleted: false } as never],
      },
      { sentAtMs: 0 },
    );
  }

  close(): void {
    this.network.close();
  }
}
