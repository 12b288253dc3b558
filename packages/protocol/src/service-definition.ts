/**
 * Translates a protobuf-es service into what grpc-js serves and calls. It supports unary and server-streaming methods
 * only. Bulk data is pulled by its destination, since grpc-js lets only the client widen the flow-control window
 * (facts: control-plane, C).
 *
 * `bytes` fields of a received message are views on the receive buffer. They are valid for as long as they are held,
 * but they keep the whole message in memory. Code that keeps one beyond the call must copy it.
 */

import { AntipodeError, invariant } from '@antipode/runtime';
import {
  type DescMessage,
  type DescMethod,
  type DescService,
  fromBinary,
  type Message,
  toBinary,
} from '@bufbuild/protobuf';
import type { MethodDefinition, ServiceDefinition } from '@grpc/grpc-js';
import { requestBytesMax, responseBytesMax } from './limits/message-limits.ts';

export function serviceDefinition(service: DescService): ServiceDefinition {
  return Object.fromEntries(service.methods.map((method) => [method.localName, methodDefinition(method)]));
}

/** The definition that a server registers. Requests stay undecoded until their sender and size are known. */
export function servedDefinition(service: DescService): ServiceDefinition {
  const asIs = (bytes: Buffer): Buffer => bytes;
  return Object.fromEntries(
    Object.entries(serviceDefinition(service)).map(([name, method]) => [name, { ...method, requestDeserialize: asIs }]),
  );
}

/** @throws REQUEST_INVALID when it is larger than its method allows, or no such message */
export const decodeRequest = (method: DescMethod, bytes: Uint8Array): Message =>
  decode(method, { schema: method.input, bytes, limit: requestBytesMax(methodName(method)) });

/** @throws REQUEST_INVALID when a peer answers with more than the method allows, or with no such message */
export const decodeResponse = (method: DescMethod, bytes: Uint8Array, answeredBy: string): Message =>
  decode(method, { schema: method.output, bytes, limit: responseBytesMax(methodName(method)), answeredBy });

function decode(
  method: DescMethod,
  { schema, bytes, limit, ...of }: { schema: DescMessage; bytes: Uint8Array; limit: number; answeredBy?: string },
): Message {
  const details = { method: methodName(method), bytes: bytes.length, limit, ...of };
  if (bytes.length > limit)
    throw new AntipodeError(
      'REQUEST_INVALID',
      `a ${schema.name} of ${bytes.length} bytes is too large, expected at most ${limit}`,
      { details },
    );
  try {
    return fromBinary(schema, bytes);
  } catch (cause) {
    throw new AntipodeError('REQUEST_INVALID', `the bytes received are not a valid ${schema.name}`, { details, cause });
  }
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
