/** What every request must keep, whatever its method: no enum left at zero, and a whole fence where there is one. */
import { AntipodeError } from '@antipode/runtime';
import type { DescMessage, Message } from '@bufbuild/protobuf';
import { reflect, type ReflectMessage } from '@bufbuild/protobuf/reflect';

/** @throws REQUEST_INVALID, naming the field */
export function validateRequest(schema: DescMessage, message: Message): void {
  const reflected = reflect(schema, message, false);
  checkFence(reflected);
  checkEnums(reflected, schema.name);
}

function checkFence(message: ReflectMessage): void {
  const field = message.fields.find(({ name }) => name === 'fence');
  if (field === undefined) return;
  if (field.fieldKind !== 'message' || !message.isSet(field)) throw invalid('fence', 'is missing');
  const fence = message.get(field) as ReflectMessage;
  for (const part of fence.fields) if (!fence.isSet(part)) throw invalid(`fence.${part.name}`, 'is missing');
}

function checkEnums(message: ReflectMessage, path: string): void {
  for (const field of message.fields) {
    const at = `${path}.${field.name}`;
    if (field.fieldKind === 'enum' && message.get(field) === 0) throw invalid(at, 'is unspecified');
    if (field.fieldKind === 'message' && message.isSet(field)) checkEnums(message.get(field) as ReflectMessage, at);
    if (field.fieldKind === 'list' && field.listKind === 'message') {
      for (const item of message.get(field) as Iterable<ReflectMessage>) checkEnums(item, at);
    }
  }
}

function invalid(field: string, why: string): AntipodeError {
  return new AntipodeError('REQUEST_INVALID', `${field} ${why}`, { details: { field } });
}
