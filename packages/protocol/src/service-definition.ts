/**
 * From a protobuf-es service to what grpc-js serves and calls. Unary and server-streaming methods only: bulk data is
 * pulled by its destination, since grpc-js lets only the client widen the flow-control window (facts: control-plane, C).
 *
 * `bytes` fields of a received message are views on the receive buffer: valid for as long as they are held, but they keep
 * the whole message alive. Whoever keeps one beyond the call copies it.
 */

import { invariant } from '@antipode/runtime';
import { type DescMethod, type DescService, fromBinary, type Message, toBinary } from '@bufbuild/protobuf';
import type { MethodDefinition, ServiceDefinition } from '@grpc/grpc-js';

/** Of one message, on both sides: room for 10,000 digests or a data object of 4 MiB, not for filling the memory. */
export const MESSAGE_BYTES_MAX = 16 * 1024 * 1024;

export function serviceDefinition(service: DescService): ServiceDefinition {
  return Object.fromEntries(service.methods.map((method) => [method.localName, methodDefinition(method)]));
}

/** `Service/Method`, as in the authorisation table, spans and logs. */
export const methodName = (method: DescMethod): string => `${method.parent.name}/${method.name}`;

export const isServerStream = ({ methodKind }: DescMethod): boolean => methodKind === 'server_streaming';

function methodDefinition(method: DescMethod): MethodDefinition<Message, Message> {
  invariant(
    method.methodKind === 'unary' || isServerStream(method),
    `${methodName(method)} streams from the client, which is not supported`,
  );
  const serialise = (schema: typeof method.input) => (message: Message) => {
    const bytes = toBinary(schema, message);
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  };
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    originalName: method.localName,
    requestStream: false,
    responseStream: isServerStream(method),
    requestSerialize: serialise(method.input),
    requestDeserialize: (bytes) => fromBinary(method.input, bytes),
    responseSerialize: serialise(method.output),
    responseDeserialize: (bytes) => fromBinary(method.output, bytes),
  };
}
