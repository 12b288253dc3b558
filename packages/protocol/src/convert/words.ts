/** Enum values as people read them: `active` for `MEMBER_ROLE_ACTIVE`, whatever message holds it. */
import { createRegistry, type DescEnum } from '@bufbuild/protobuf';
import { file_antipode_v1_coordinator } from '../gen/antipode/v1/coordinator_pb.ts';
import { file_antipode_v1_operator } from '../gen/antipode/v1/operator_pb.ts';
import { file_antipode_v1_site_agent } from '../gen/antipode/v1/site_agent_pb.ts';
import { file_antipode_v1_types } from '../gen/antipode/v1/types_pb.ts';

const registry = createRegistry(
  file_antipode_v1_types,
  file_antipode_v1_site_agent,
  file_antipode_v1_coordinator,
  file_antipode_v1_operator,
);

/** The word for the value of a message's field; undefined where that field is not an enum, or the value has no name here. */
export function enumWord(typeName: string, field: string, value: unknown): string | undefined {
  const found = registry.getMessage(typeName)?.fields.find(({ localName }) => localName === field);
  return found?.enum === undefined || typeof value !== 'number' ? undefined : wordOf(found.enum, value);
}

function wordOf(type: DescEnum, number: number): string | undefined {
  // `sharedPrefix` is what all names begin with, in lower case: `member_role_`.
  const name = type.values.find((one) => one.number === number)?.name;
  return name
    ?.slice((type.sharedPrefix ?? '').length)
    .toLowerCase()
    .replaceAll('_', '-');
}
