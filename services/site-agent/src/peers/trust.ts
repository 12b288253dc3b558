/**
 * Decides which partition an identity key belongs to, and what the key may do for it, by our own pins and our own
 * journal. A stolen key counts only from its own site and in its own role. So does one that somebody uses by raw calls
 * with its partition's PIN.
 */
import type { SealedGeneration } from '@antipode/hsm-core';
import { AntipodeError } from '@antipode/runtime';
import type { Enrolments } from '../approvals/enrolments.ts';
import type { Partition } from '../partition/partition.ts';
import type { TenureRecords } from '../storage/journal/tenure.ts';
import type { Pin, Pins } from './pins.ts';

export type Trusted = Pick<Pin, 'site' | 'serial' | 'role'>;

export interface TrustPorts {
  /** Our own name. */
  readonly site: string;
  readonly partitions: readonly Pick<Partition, 'serial' | 'identitySha256' | 'settings' | 'formerIdentities'>[];
  readonly pins: Pick<Pins, 'of'>;
  readonly tenure: Pick<TenureRecords, 'fence'>;
  /** A partition counts only while it is enrolled, where this site guards the group. */
  readonly enrolments: Pick<Enrolments, 'isEnrolled' | 'refuseUnapproved'>;
}

export class Trust {
  readonly #ports: TrustPorts;

  constructor(ports: TrustPorts) {
    this.#ports = ports;
  }

  /** Undefined for whom nobody here has pinned, or whose enrolment was not approved. @throws CONFIG_INVALID */
  find(group: string, identitySha256: string): Trusted | undefined {
    const { site, partitions, enrolments } = this.#ports;
    const own =
      partitions.find((partition) => partition.identitySha256 === identitySha256) ??
      partitions.find((partition) => partition.formerIdentities.includes(identitySha256));
    if (own?.serial !== undefined) {
      const partition = { site, serial: own.serial, role: own.settings.role };
      return enrolments.isEnrolled(group, { ...partition, identity: identitySha256 }) ? partition : undefined;
    }
    return this.#pins(group).find(({ identity }) => identity === identitySha256);
  }

  /** Whether a partition of this site has been pinned for the group that may hold its keys: a distributor holds none. */
  knowsSite(group: string, site: string): boolean {
    return (
      site === this.#ports.site || this.#pins(group).some((pin) => pin.site === site && pin.role !== 'distributor')
    );
  }

  /**
   * Partitions that alone bring domain keys to the group; none where its active member makes them. Of our own site too a
   * distributor is pinned: a partition of that role may serve some groups and not others.
   */
  distributors(group: string): readonly Trusted[] {
    return this.#pins(group).filter(({ role }) => role === 'distributor');
  }

  #pins(group: string): Pin[] {
    return this.#ports.pins.of(group).filter((pin) => this.#ports.enrolments.isEnrolled(group, pin));
  }

  /**
   * Generations are captured by members, and under the epoch in force by its owner alone. Of earlier epochs nobody here
   * knows the owners: a member's signature has to do.
   * @throws PEER_NOT_PINNED, PEER_REFUSED, APPROVAL_REQUIRED
   */
  checkSource({ generation, signerSha256 }: SealedGeneration): void {
    const { group, epoch, source } = generation;
    const signer = this.find(group, signerSha256);
    const details = { group, epoch, identity: signerSha256 };
    if (signer === undefined) this.#ports.enrolments.refuseUnapproved(group, signerSha256);
    if (signer === undefined)
      throw new AntipodeError('PEER_NOT_PINNED', `the manifest is signed by ${signerSha256}, which is not pinned`, {
        details,
      });
    const fence = this.#ports.tenure.fence(group);
    const refusal =
      signer.role !== 'member'
        ? `a ${signer.role} partition captures nothing`
        : signer.serial !== source.serial
          ? `it names partition ${source.serial} as its source`
          : fence !== undefined && epoch > fence.epoch
            ? `its epoch ${epoch} is above ${fence.epoch}, the highest known here`
            : fence?.epoch === epoch && fence.owner !== signer.site
              ? `epoch ${epoch} belongs to site ${fence.owner}`
              : undefined;
    if (refusal === undefined) return;
    throw new AntipodeError(
      'PEER_REFUSED',
      `the manifest is signed by partition ${signer.serial} of site ${signer.site}: ${refusal}`,
      { details },
    );
  }
}
