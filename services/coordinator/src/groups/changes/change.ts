/** A change of a group, as an operator orders it, and the plan for it. */
import type { GroupChange as GroupChangeMessage, GroupSettings } from '@antipode/protocol';
import { AntipodeError, type ErrorCode } from '@antipode/runtime';
import type { GroupSpec, Seat } from '../../model.ts';

export interface SettingsChange {
  readonly kind: 'settings';
  readonly settings: GroupSettings;
}

export interface MemberAddition {
  readonly kind: 'add-member';
  readonly seat: Seat;
}

export interface MemberRemoval {
  readonly kind: 'remove-member';
  readonly seat: Seat;
}

export interface ScratchChange {
  readonly kind: 'scratch';
  readonly seats: readonly Seat[];
}

export interface WitnessAddition {
  readonly kind: 'add-witness';
  readonly site: string;
}

export interface WitnessRemoval {
  readonly kind: 'remove-witness';
  readonly site: string;
}

export interface ArchiveChange {
  readonly kind: 'archives';
  readonly vaults: readonly Seat[];
}

export interface Deletion {
  readonly kind: 'delete';
}

export type GroupChange =
  | SettingsChange
  | MemberAddition
  | MemberRemoval
  | WitnessAddition
  | WitnessRemoval
  | ScratchChange
  | ArchiveChange
  | Deletion;

export interface ChangePlan {
  /** The declaration that the plan was made for. */
  readonly revision: number;
  /** The declaration after the change. */
  readonly spec: GroupSpec;
  /** One line for each field that differs. Empty where the group is declared like this already. */
  readonly changes: readonly string[];
  /** Sentences for the person who is about to order it. */
  readonly consequences: readonly string[];
  readonly needsConfirmation: boolean;
  readonly obstacle?: Obstacle;
}

/** Why a change is refused in the present state, and the code of the error that says so. */
export interface Obstacle {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint?: string;
}

/** @throws REQUEST_INVALID */
export function changeFrom(message: GroupChangeMessage | undefined): GroupChange {
  const { kind } = message ?? {};
  if (kind?.case === 'settings') return { kind: 'settings', settings: kind.value };
  if (kind?.case === 'addMember') return { kind: 'add-member', seat: seatOf(kind.value) };
  if (kind?.case === 'removeMember') return { kind: 'remove-member', seat: seatOf(kind.value) };
  if (kind?.case === 'addWitness') return { kind: 'add-witness', site: kind.value.site };
  if (kind?.case === 'removeWitness') return { kind: 'remove-witness', site: kind.value.site };
  if (kind?.case === 'scratch') return { kind: 'scratch', seats: kind.value.partitions.map(seatOf) };
  if (kind?.case === 'archives') return { kind: 'archives', vaults: kind.value.vaults.map(seatOf) };
  if (kind?.case === 'delete') return { kind: 'delete' };
  throw new AntipodeError('REQUEST_INVALID', 'change is missing, or unknown to this version of the coordinator', {
    details: { field: 'change' },
  });
}

const seatOf = ({ site, serial }: Seat): Seat => ({ site, serial });

export const obstacleError = (group: string, { code, message, hint }: Obstacle): AntipodeError =>
  new AntipodeError(code, `group ${group}: ${message}`, { details: { group }, hint });
