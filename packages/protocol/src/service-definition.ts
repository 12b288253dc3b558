/** From a protobuf-es service to what grpc-js serves and calls. `bytes` are views on the receive buffer: copy what is kept. */
import { type DescMethod, type DescService, fromBinary, type Message, toBinary } from '@bufbuild/protobuf';
import type { MethodDefinition, ServiceDefinition } from '@grpc/grpc-js';

export function serviceDefinition(service: DescService): ServiceDefinition {
  return Object.fromEntries(service.methods.map((method) => [method.localName, methodDefinition(method)]));
}

export const methodName = (method: DescMethod): string => `${method.parent.name}/${method.name}`;

export const isServerStream = ({ methodKind }: DescMethod): boolean => methodKind === 'server_streaming';

function methodDefinition(method: DescMethod): MethodDefinition<Message, Message> {
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
