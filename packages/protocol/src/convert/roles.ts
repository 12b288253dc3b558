/** The roles of a seat by the names that journals, databases and people use, and as the wire numbers them. One map for all. */
import { AntipodeError } from '@antipode/runtime';
import { MemberRole } from '../gen/antipode/v1/types_pb.ts';

const NUMBERS = {
  active: MemberRole.ACTIVE,
  standby: MemberRole.STANDBY,
  fenced: MemberRole.FENCED,
} as const satisfies Record<string, MemberRole>;

export type RoleName = keyof typeof NUMBERS;

export const roleNumber = (role: RoleName): MemberRole => NUMBERS[role];

/** For people. Undefined for `_UNSPECIFIED` and for what only a newer peer knows: never taken for a role that it is not. */
export function roleName(role: MemberRole): RoleName | undefined {
  return (Object.keys(NUMBERS) as RoleName[]).find((name) => NUMBERS[name] === role);
}

/** For decisions. @throws REQUEST_INVALID for every role that `roleName` does not know */
export function roleOf(role: MemberRole): RoleName {
  const name = roleName(role);
  if (name !== undefined) return name;
  throw new AntipodeError('REQUEST_INVALID', `role ${role} is unknown to this version`, { details: { field: 'role' } });
}
