/**
 * Two sites after a failover that lost something: a made two keys after what b got, one of them captured. B is active
 * and has captured since, and a has caught up as its standby.
 */
import { MemberRole } from '@antipode/protocol';
import type { SimulatedSite } from './simulated-site.ts';
import { address, fence, GROUP, type Ref, TwoSites } from './two-sites.ts';

export const OF_B = fence(2n, 'b');

type Merge = Record<string, unknown>;

export interface Offered {
  readonly ids: string[];
  readonly manifestDigests: Uint8Array[];
}

export class DivergentSites {
  readonly sites: TwoSites;

  private constructor(sites: TwoSites) {
    this.sites = sites;
  }

  static async make(): Promise<DivergentSites> {
    const sites = await TwoSites.make();
    await moveWithLoss(sites);
    const made = new DivergentSites(sites);
    await made.catchUp('made at b');
    return made;
  }

  /** The counts in the answers to the last apply and its verification. */
  told = { divergent: 0, unaccounted: 0 };

  get a(): SimulatedSite {
    return this.sites.a;
  }

  get b(): SimulatedSite {
    return this.sites.b;
  }

  /** The next generation of b at a. */
  async catchUp(label?: string): Promise<Ref & { digest: string }> {
    if (label !== undefined) this.b.member.hsm.addSecret(label);
    const generation = await this.sites.captured(this.b, OF_B);
    const applied = await this.a.call('apply', { fence: OF_B, generation, sources: [address('b')] });
    this.told = { divergent: applied.divergentObjects ?? 0, unaccounted: applied.unaccountedObjects ?? 0 };
    const verified = await this.sites.verify(this.a, generation, OF_B);
    const { divergentObjects = this.told.divergent, unaccountedObjects = this.told.unaccounted } = verified;
    this.told = { divergent: divergentObjects, unaccounted: unaccountedObjects };
    return generation;
  }

  offer(keptObjectIds: string[] = []) {
    return this.a.call('offerDivergence', { fence: OF_B, keptObjectIds });
  }

  /** The offer of a, as the coordinator passes it on. */
  async offered() {
    const { objects = [], manifestDigests = [] } = await this.offer();
    return { ids: objects.map(({ objectId = '' }) => objectId), manifestDigests: [...manifestDigests], objects };
  }

  merge({ ids, manifestDigests }: Offered, more: Merge = {}) {
    const request = { fence: OF_B, source: address('a'), manifestDigests, objectIds: ids, ...more };
    return this.b.call('mergeDivergence', request);
  }

  /** Sorted. */
  async verdicts(offered: Offered, more: Merge = {}): Promise<string[]> {
    const { objects = [] } = await this.merge(offered, more);
    return objects.map(({ verdict = '' }) => verdict).sort();
  }

  counts() {
    const { divergent, unaccounted } = this.a.site.journal.tenure.seat(GROUP)!;
    return { divergent, unaccounted };
  }

  close(): void {
    this.sites.close();
  }
}

/** Of every object with this label. */
export const valuesAt = ({ member }: SimulatedSite, label: string) =>
  member.hsm.labelled(label).map(({ value }) => value);

/** A made two keys after what b got, one of them captured. B is active, and a stands by. */
export async function moveWithLoss(sites: TwoSites): Promise<void> {
  const { a, b } = sites;
  const shared = await sites.captured();
  await sites.apply(b, shared);
  await sites.verify(b, shared);
  a.member.hsm.addSecret('captured at a only');
  await sites.captured();
  a.member.hsm.addSecret('never captured');
  await b.call('setRole', { fence: OF_B, serial: 'b-1', role: MemberRole.STANDBY });
  await sites.promote(b, shared, OF_B);
  sites.renew(b, 2n);
  await a.call('setRole', { fence: OF_B, serial: 'a-1', role: MemberRole.STANDBY });
}
