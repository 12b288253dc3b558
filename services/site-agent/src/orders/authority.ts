/**
 * The safety rule of this agent: in which role it may act in a group, for the tenure that an order names (I1, I2). An
 * order asks when it arrives, when its turn at the partition has come, and before each step that cannot be taken back.
 * The answer comes from the journal and the leases of that moment. It is never kept.
 */
import type { Fence } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import type { Seat, TenureRecords } from '../storage/journal/tenure.ts';
import type { FenceKeeper } from '../tenure/fence.ts';
import type { LeaseKeeper } from '../tenure/lease.ts';

export interface AuthorityPorts {
  /** The name of this site. */
  readonly name: string;
  readonly tenure: Pick<TenureRecords, 'seat' | 'quarantine'>;
  readonly fences: Pick<FenceKeeper, 'check'>;
  readonly leases: Pick<LeaseKeeper, 'check'>;
}

export interface Tenure extends Pick<Fence, 'group' | 'epoch' | 'owner'> {
  /** The partition that an order has begun to work on: the seat may have gone to another one since. */
  readonly serial?: string;
}

export class Authority {
  readonly #ports: AuthorityPorts;

  constructor(ports: AuthorityPorts) {
    this.#ports = ports;
  }

  /** No higher epoch is persisted here. Enough to use a scratch partition. @throws EPOCH_STALE */
  inForce({ group, epoch }: Tenure): void {
    this.#ports.fences.check(group, epoch);
  }

  /** Also, the journal of this site is not suspected to be an older copy. @throws EPOCH_STALE, SITE_QUARANTINED */
  asSite(tenure: Tenure): void {
    this.inForce(tenure);
    const { tenure: records, name } = this.#ports;
    const reason = records.quarantine(tenure.group);
    if (reason === undefined) return;
    throw new AntipodeError('SITE_QUARANTINED', `site ${name} is in quarantine in group ${tenure.group}: ${reason}`, {
      details: { group: tenure.group, site: name },
    });
  }

  /** Active or standby. @throws EPOCH_STALE, SITE_QUARANTINED, NOT_FOUND, ROLE_REFUSED */
  asMember(tenure: Tenure): Seat {
    this.asSite(tenure);
    const seat = this.#seat(tenure);
    return seat.role === 'fenced' ? refuse(tenure, seat, 'an active or a standby member') : seat;
  }

  /** A member that receives generations. @throws EPOCH_STALE, SITE_QUARANTINED, NOT_FOUND, ROLE_REFUSED */
  asStandby(tenure: Tenure): Seat {
    const seat = this.asMember(tenure);
    return seat.role === 'standby' ? seat : refuse(tenure, seat, 'a standby');
  }

  /** The member that the epoch was issued to: it may become active. @throws as {@link asMember} */
  asSuccessor(tenure: Tenure): Seat {
    this.asSite(tenure);
    this.#requireOwner(tenure);
    return this.asMember(tenure);
  }

  /** The one that serves, while its lease lasts. @throws as {@link asMember}, LEASE_LAPSED */
  asActive(tenure: Tenure): Seat {
    const seat = this.asKeyMaker(tenure);
    this.#ports.leases.check(tenure.group, tenure.epoch);
    return seat;
  }

  /** Makes domain keys in a group without a distributor. It needs no lease. @throws as {@link asMember} */
  asKeyMaker(tenure: Tenure): Seat {
    this.asSite(tenure);
    const seat = this.#seat(tenure);
    if (seat.role !== 'active') return refuse(tenure, seat, 'the active member');
    this.#requireOwner(tenure);
    return seat;
  }

  #seat({ group, serial }: Tenure): Seat {
    const seat = this.#ports.tenure.seat(group);
    if (seat !== undefined && seat.serial === (serial ?? seat.serial)) return seat;
    if (seat !== undefined)
      throw new AntipodeError('ROLE_REFUSED', `partition ${seat.serial} has the seat in group ${group} now`, {
        details: { group, serial: seat.serial },
      });
    throw new AntipodeError('NOT_FOUND', `this site has no seat in group ${group}`, { details: { group } });
  }

  #requireOwner({ group, epoch, owner }: Tenure): void {
    if (owner === this.#ports.name) return;
    throw new AntipodeError('ROLE_REFUSED', `epoch ${epoch} of group ${group} belongs to ${owner}, not to this site`, {
      details: { group, owner },
    });
  }
}

function refuse({ group }: Tenure, { role }: Seat, needed: string): never {
  throw new AntipodeError('ROLE_REFUSED', `this site is ${role} in group ${group}, the order is for ${needed}`, {
    details: { group, role },
  });
}
