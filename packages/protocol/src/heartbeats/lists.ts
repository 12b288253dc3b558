/**
 * The lists of a heartbeat and of its answer that grow with the seats of a site. Most of their items are the same each
 * time, so only the changes are sent (ADR 0054).
 */
import { type DescMessage, type Message, toBinary } from '@bufbuild/protobuf';
import { type HeartbeatRequest, type HeartbeatResponse, VoucheeSchema } from '../gen/antipode/v1/coordinator_pb.ts';
import {
  ApprovalRuleSchema,
  ApprovalUseSchema,
  type DescribeResponse,
  MemberStateSchema,
  PartitionStateSchema,
  WitnessedEpochSchema,
} from '../gen/antipode/v1/site_agent_pb.ts';

/** Items by the name of their list. */
export type Lists = ReadonlyMap<string, readonly unknown[]>;

interface ListOf<Holder> {
  readonly name: keyof Holder & string;
  readonly keyOf: (item: never) => string;
}

interface RequestList<Holder> extends ListOf<Holder> {
  /** Absent for a list of names. */
  readonly schema?: DescMessage;
}

interface AnswerList extends ListOf<HeartbeatResponse> {
  /** An answer names some groups at a time. Earlier answers still stand for the others. */
  readonly isCumulative?: true;
}

const byGroup = ({ group }: { readonly group: string }): string => group;
const byName = (name: string): string => name;
const byPlace = ({ group, site }: { readonly group: string; readonly site: string }): string => `${group} ${site}`;

export const ACCOUNT_LISTS: readonly RequestList<DescribeResponse>[] = [
  { name: 'members', schema: MemberStateSchema, keyOf: byGroup },
  { name: 'partitions', schema: PartitionStateSchema, keyOf: ({ name }: { name: string }) => name },
  { name: 'witnessed', schema: WitnessedEpochSchema, keyOf: byGroup },
  { name: 'approvalRules', schema: ApprovalRuleSchema, keyOf: byGroup },
  { name: 'approvalUses', schema: ApprovalUseSchema, keyOf: ({ digest }: { digest: string }) => digest },
];

export const REQUEST_LISTS: readonly RequestList<HeartbeatRequest>[] = [
  { name: 'groupsWithoutSeat', keyOf: byName },
  { name: 'vouchees', schema: VoucheeSchema, keyOf: byPlace },
  { name: 'vouchedGroups', keyOf: byName },
];

export const ANSWER_LISTS: readonly AnswerList[] = [
  { name: 'leases', keyOf: byGroup },
  { name: 'epochs', keyOf: byGroup },
  { name: 'peers', keyOf: byGroup },
  { name: 'vouchees', keyOf: byPlace },
  { name: 'needed', keyOf: byGroup, isCumulative: true },
  { name: 'places', keyOf: byGroup, isCumulative: true },
  { name: 'acknowledged', keyOf: byGroup, isCumulative: true },
];

/** An item with its encoding, by which it is compared. The item itself may be changed later by whoever made it. */
export interface Encoded {
  readonly key: string;
  readonly bytes: string;
  readonly item: unknown;
}

export function encoded({ schema, keyOf }: RequestList<never>, items: readonly unknown[]): Encoded[] {
  return items.map((item) => {
    if (schema === undefined) return { key: item as string, bytes: item as string, item };
    const bytes = toBinary(schema, item as Message);
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
    return { key: keyOf(item as never), bytes: text, item };
  });
}

/** The list that the next answer is compared with. Both sides make it alike. */
export function afterAnswer(
  { keyOf, isCumulative }: AnswerList,
  said: readonly unknown[],
  before: readonly unknown[],
): readonly unknown[] {
  if (isCumulative === undefined || said === before) return said;
  const all = [...before];
  const places = new Map(all.map((item, at) => [keyOf(item as never), at]));
  for (const item of said) {
    const key = keyOf(item as never);
    const at = places.get(key) ?? all.length;
    places.set(key, at);
    all[at] = item;
  }
  return all;
}
