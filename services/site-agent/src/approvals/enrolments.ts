/**
 * Partitions that may hold a group's domain key and be its sources, where this site guards the group. A pin names a
 * partition, and one person at a site can write it. An enrolment says that several operators have agreed to it.
 */
import { type Fence, parseApprovalBytes } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import type { Partition } from '../partition/partition.ts';
import type { Pins } from '../peers/pins.ts';
import type { EnrolledPartition } from '../storage/journal/approvals.ts';
import type { Journal } from '../storage/journal/journal.ts';
import { APPROVALS_MAX, type Approvals } from './approvals.ts';

export interface EnrolmentPorts {
  /** Our own name. */
  readonly site: string;
  readonly approvals: Approvals;
  readonly journal: Pick<Journal, 'approvals' | 'tenure' | 'domainKeys'>;
  readonly pins: Pick<Pins, 'of'>;
  readonly partitions: readonly Pick<Partition, 'serial' | 'identitySha256' | 'settings'>[];
}

export class Enrolments {
  readonly #ports: EnrolmentPorts;

  constructor(ports: EnrolmentPorts) {
    this.#ports = ports;
  }

  /**
   * A site that begins to guard its actions goes on trusting the partitions that it trusted before. It has pinned them for
   * the groups in which it has a seat or a domain key. Called before the first order of each run.
   */
  begin(): void {
    const { journal, pins, partitions, site } = this.#ports;
    if (journal.approvals.hasBegun) return;
    const seated = journal.tenure.seats().map(({ group }) => group);
    const keys = partitions.flatMap(({ serial = '' }) => journal.domainKeys.of(serial));
    const groups = new Set([...seated, ...keys.map(({ group }) => group)]);
    const known = [...groups].map((group): [string, EnrolledPartition[]] => {
      const own = partitions.flatMap(({ serial, identitySha256: identity = '', settings: { role } }) => {
        const isSeated = journal.tenure.seat(group)?.serial === serial;
        const holds = journal.domainKeys.of(serial ?? '').some((key) => key.group === group);
        return serial !== undefined && (isSeated || holds) ? [{ site, serial, role, identity }] : [];
      });
      return [group, [...own, ...pins.of(group)]];
    });
    journal.approvals.begin(new Map(known));
  }

  /** The other sites with a pinned and enrolled member. No coordinator says who they are. */
  otherMembers(group: string): string[] {
    const { pins, site } = this.#ports;
    const members = pins.of(group).filter((pin) => pin.role === 'member' && this.isEnrolled(group, pin));
    return [...new Set(members.map((pin) => pin.site))].filter((other) => other !== site);
  }

  /** Always true of a group that is not guarded. */
  isEnrolled(group: string, partition: EnrolledPartition): boolean {
    const { approvals, journal, site } = this.#ports;
    if (!approvals.isGuarded(group)) return true;
    if (partition.site === site) return journal.approvals.isOwnEnrolled(group, partition);
    return journal.approvals.isEnrolled(group, partition);
  }

  /**
   * Lets an order use these partitions. An approval that came with it first enrols all that it names, so that every member
   * that the order reaches knows of them. A partition that is neither ours nor pinned is not for this to judge.
   * @throws APPROVAL_REQUIRED and the other codes of an approval, if one of `seats` is still not enrolled
   */
  require(
    fence: Pick<Fence, 'group' | 'epoch' | 'approvals'>,
    seats: readonly { readonly site: string; readonly serial: string }[],
  ): void {
    const { group } = fence;
    if (!this.#ports.approvals.isGuarded(group)) return;
    this.#learn(fence);
    for (const seat of seats) {
      const candidate = this.#candidate(group, seat);
      if (candidate !== undefined && !this.isEnrolled(group, candidate)) this.#enrol(fence, candidate, fence.approvals);
    }
  }

  /** Uses each approval that enrols a partition of ours, or a pinned one. One that does not count is refused later. */
  #learn(fence: Pick<Fence, 'group' | 'epoch' | 'approvals'>): void {
    const { operationId = '', approvals = [] } = fence.approvals ?? {};
    for (const approval of approvals.slice(0, APPROVALS_MAX)) {
      try {
        const { action, partitions } = parseApprovalBytes(approval.request);
        const unknown = partitions.find((one) => {
          const known = this.#candidate(fence.group, one);
          const isMeant = known?.role === one.role && known.identity === one.identity;
          return isMeant && !this.isEnrolled(fence.group, one);
        });
        if (action === 'enrol' && unknown !== undefined)
          this.#enrol(fence, unknown, { operationId, approvals: [approval] });
      } catch (thrown) {
        if (!AntipodeError.from(thrown).code.startsWith('APPROVAL_')) throw thrown;
      }
    }
  }

  #enrol(
    { group, epoch }: Pick<Fence, 'group' | 'epoch'>,
    { site, serial, role, identity }: EnrolledPartition,
    given: Parameters<Approvals['use']>[1],
  ): void {
    const candidate = { site, serial, role, identity };
    this.#ports.approvals.use(
      {
        action: 'enrol',
        group,
        epoch,
        partition: { site, serial },
        scope: 'enrol',
        what: `the enrolment of ${role} partition ${serial} of site ${site}`,
        beyond: ({ partitions }) =>
          partitions.some((one) => one.serial === serial && one.role === role && one.identity === identity)
            ? undefined
            : `it names another identity or role for partition ${serial}`,
      },
      given,
      { enrols: ({ action, partitions }) => (action === 'enrol' ? partitions : [candidate]) },
    );
  }

  /** An identity that its site has pinned, and that nobody has approved. @throws APPROVAL_REQUIRED */
  refuseUnapproved(group: string, identity: string): void {
    const pin = this.#ports.pins.of(group).find((one) => one.identity === identity);
    if (pin === undefined || this.isEnrolled(group, pin)) return;
    throw new AntipodeError(
      'APPROVAL_REQUIRED',
      `partition ${pin.serial} of site ${pin.site} is pinned here, and its enrolment was not approved`,
      { details: { group, site: pin.site, serial: pin.serial } },
    );
  }

  /** By our own configuration and pins. */
  #candidate(group: string, seat: { site: string; serial: string }): EnrolledPartition | undefined {
    const { site, partitions, pins } = this.#ports;
    if (seat.site !== site) return pins.of(group).find((pin) => pin.site === seat.site && pin.serial === seat.serial);
    const own = partitions.find(({ serial }) => serial === seat.serial);
    if (own?.serial === undefined || own.identitySha256 === undefined) return undefined;
    return { site, serial: own.serial, role: own.settings.role, identity: own.identitySha256 };
  }
}
