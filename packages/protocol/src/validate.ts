/**
 * The rules for every request, whatever its method: no enum left at `_UNSPECIFIED`, and a complete fence if its type
 * has one. The handler checks the meaning of the fields.
 */
import { AntipodeError } from '@antipode/runtime';
import type { DescEnum, DescMessage, Message } from '@bufbuild/protobuf';
import { type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import { FeatureSet_FieldPresence } from '@bufbuild/protobuf/wkt';

/**
 * Checks a received request. A message field that is unset is fine: what is inside it was not said.
 * @throws REQUEST_INVALID, naming the field
 */
export function validateRequest(schema: DescMessage, message: Message): void {
  const reflected = reflect(schema, message, false);
  checkFence(reflected);
  checkEnums(reflected, schema.name);
}

/**
 * Refuses a request with a field that this release does not know. An agent skips such a field of an order, since a
 * coordinator of the next release speaks to it every second. But an operator who has asked for something must not get
 * the rest of it without a word.
 * @throws REQUEST_INVALID, naming the message and the number of the field
 */
export function requireKnownFields(schema: DescMessage, message: Message): void {
  checkKnown(reflect(schema, message, false), schema.name);
}

function checkKnown(reflected: ReflectMessage, path: string): void {
  const [unknown] = reflected.getUnknown() ?? [];
  if (unknown !== undefined)
    throw new AntipodeError('REQUEST_INVALID', `${path} has field ${unknown.no}, which this release does not know`, {
      details: { field: `${path}.${unknown.no}` },
      hint: 'The command is of a later release than the coordinator. Upgrade the coordinators, or leave this option out.',
    });
  for (const field of reflected.fields) {
    if (!reflected.isSet(field)) continue;
    const at = `${path}.${field.name}`;
    if (field.fieldKind === 'message') checkKnown(reflected.get(field) as ReflectMessage, at);
    if (field.fieldKind === 'list' && field.listKind === 'message')
      for (const item of reflected.get(field) as Iterable<ReflectMessage>) checkKnown(item, at);
    if (field.fieldKind === 'map' && field.mapKind === 'message')
      for (const [, item] of reflected.get(field) as Iterable<[unknown, ReflectMessage]>) checkKnown(item, at);
  }
}

const MAY_BE_MISSING: ReadonlySet<string> = new Set(['approvals', 'term', 'instance']);

/**
 * An order without its tenure could not be refused when that tenure is over, so nothing of a fence may be missing (I2).
 * Only the term of the coordinator may be, and the process that is meant: a coordinator of an earlier release does not
 * know them. The receiver takes a missing term for the lowest one, and a missing process for any.
 */
function checkFence(message: ReflectMessage): void {
  const field = message.fields.find(({ name }) => name === 'fence');
  if (field === undefined) return;
  if (field.fieldKind !== 'message' || !message.isSet(field)) throw invalid('fence', 'is missing');
  const fence = message.get(field) as ReflectMessage;
  // Without explicit presence, an empty string and epoch 0 count as unset. Three parts may be missing.
  for (const part of fence.fields)
    if (!MAY_BE_MISSING.has(part.name) && !fence.isSet(part)) throw invalid(`fence.${part.name}`, 'is missing');
}

function checkEnums(message: ReflectMessage, path: string): void {
  // Most types are without an enum, and a heartbeat contains thousands of messages.
  if (!hasEnum(message.desc)) return;
  for (const field of message.fields) {
    const at = `${path}.${field.name}`;
    // `optional` and `oneof` fields may be left out; a field without presence cannot be.
    const isSaid = field.presence === FeatureSet_FieldPresence.IMPLICIT || message.isSet(field);
    if (field.fieldKind === 'enum' && isSaid) refuseUnspecified(field.enum, message.get(field), at);
    if (field.fieldKind === 'message' && message.isSet(field)) checkEnums(message.get(field) as ReflectMessage, at);
    if (field.fieldKind === 'list' && field.listKind !== 'scalar') {
      for (const item of message.get(field) as Iterable<unknown>) {
        if (field.listKind === 'enum') refuseUnspecified(field.enum, item, at);
        else checkEnums(item as ReflectMessage, at);
      }
    }
    if (field.fieldKind === 'map' && field.mapKind !== 'scalar') {
      for (const [, item] of message.get(field) as Iterable<[unknown, unknown]>) {
        if (field.mapKind === 'enum') refuseUnspecified(field.enum, item, at);
        else checkEnums(item as ReflectMessage, at);
      }
    }
  }
}

const withEnum = new Map<DescMessage, boolean>();

/** Whether a message of this type can have an enum, in itself or in what it contains. */
function hasEnum(type: DescMessage): boolean {
  const known = withEnum.get(type);
  if (known !== undefined) return known;
  // A type that contains itself counts as one that has some.
  withEnum.set(type, true);
  const found = type.fields.some((field) => {
    if (field.enum !== undefined) return true;
    return field.message !== undefined && hasEnum(field.message);
  });
  withEnum.set(type, found);
  return found;
}

function refuseUnspecified(type: DescEnum, value: unknown, at: string): void {
  if (value === 0 && type.value[0]?.name.endsWith('_UNSPECIFIED')) throw invalid(at, 'is unspecified');
}

function invalid(field: string, why: string): AntipodeError {
  return new AntipodeError('REQUEST_INVALID', `${field} ${why}`, { details: { field } });
}
