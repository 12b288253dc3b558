/** Two sites with one group: a is active, b stands by, all partitions hold one domain key, and a holds a lease. */
import { type GenerationRef, MemberRole, type Movement } from '@antipode/protocol';
import { hex, invariant } from '@antipode/runtime';
import { SimulatedNetwork, type SimulatedSite } from './simulated-site.ts';

export const GROUP = 'payments';
export const LEASE_MS = 15_000;

export type Ref = Pick<GenerationRef, 'manifestDigest'>;

type CaptureOrder = { readonly movement?: Movement; readonly domainKeyVersion?: number };

export const fence = (epoch = 1n, owner = 'a') => ({ group: GROUP, epoch, owner, requestId: 'r' });
export const address = (site: string) => ({ site, address: `${site}:1` });

export class TwoSites {
  readonly network = new SimulatedNetwork();
  a!: SimulatedSite;
  b!: SimulatedSite;

  static async make(): Promise<TwoSites> {
    const sites = new TwoSites();
    await sites.#start();
    return sites;
  }

  async #start(): Promise<void> {
    const [a, b] = [await this.network.add('a'), await this.network.add('b')];
    [this.a, this.b] = [a, b];
    for (const site of [a, b]) for (const peer of [a, b]) site.pin(GROUP, peer);
    await a.call('setRole', { fence: fence(), serial: 'a-1', role: MemberRole.ACTIVE });
    await b.call('setRole', { fence: fence(), serial: 'b-1', role: MemberRole.STANDBY });
    await this.rotate(a, 1);
    this.renew(a);
    a.member.hsm.addSecret('secret');
    a.member.hsm.addData('data', Buffer.from('value'));
  }

  close(): void {
    this.network.close();
  }

  async rotate(by: SimulatedSite, version: number, fenced = fence()): Promise<void> {
    const members = ['a-1', 'a-2', 'b-1', 'b-2'].map((serial) => ({ site: address(serial[0]!), serial }));
    const { failures } = await by.call('distributeDomainKey', { fence: fenced, version, members });
    invariant(failures?.length === 0, 'the domain key did not reach everybody');
  }

  /** As a heartbeat does. */
  renew({ site }: SimulatedSite, epoch = 1n): void {
    site.leases.grant({ group: GROUP, epoch, sentAtMs: this.network.clock.monotonicMs(), selfStopMs: LEASE_MS });
  }

  capture(site: SimulatedSite, by = fence(), order: CaptureOrder = {}) {
    return site.call('capture', { fence: by, domainKeyVersion: 1, ...order });
  }

  /** The generation of a capture that must find something new. */
  async captured(site = this.a, by = fence(), order: CaptureOrder = {}): Promise<Ref & { digest: string }> {
    const { generation, isNew } = await this.capture(site, by, order);
    invariant(isNew && generation?.manifestDigest !== undefined, 'the capture found nothing new');
    return { manifestDigest: generation.manifestDigest, digest: hex(generation.manifestDigest) };
  }

  apply(site: SimulatedSite, generation: Ref, by = fence(), retryRefused = false) {
    return site.call('apply', { fence: by, generation, sources: [address('a')], retryRefused });
  }

  verify(site: SimulatedSite, generation: Ref, by = fence()) {
    return site.call('verify', { fence: by, generation, everything: true });
  }

  promote(site: SimulatedSite, generation: Ref, by = fence(2n, 'b')) {
    return site.call('promote', { fence: by, generation });
  }

  drill(site: SimulatedSite, generation: Ref, scratchSerial = `${site.name}-2`) {
    const sources = [address('a')];
    return site.call('drill', { fence: fence(), drillId: 'd1', generation, scratchSerial, sources });
  }
}
