/** The seat and the epoch of a site as they are in its journal. */
import type { MemberFacts } from '../checkers/index.ts';
import { GROUP } from './groups.ts';
import type { SimulatedSite } from './site.ts';

export class Member implements MemberFacts {
  readonly site: string;
  role = '';
  epoch = 0n;
  owner = '';
  readonly #of: SimulatedSite;

  constructor(of: SimulatedSite) {
    this.#of = of;
    this.site = of.name;
  }

  get leaseMs(): number {
    return this.#of.process.hasEnded ? 0 : this.#of.site.leases.remainingMs(GROUP, this.epoch);
  }

  read(): void {
    const { disk } = this.#of;
    const seat = disk.rows('journal', `SELECT role FROM member WHERE grp = '${GROUP}'`)[0];
    const fence = disk.rows('journal', `SELECT epoch, owner FROM fence WHERE grp = '${GROUP}'`)[0];
    this.role = String(seat?.['role'] ?? '');
    this.epoch = BigInt((fence?.['epoch'] as number | undefined) ?? 0);
    this.owner = String(fence?.['owner'] ?? '');
  }
}
