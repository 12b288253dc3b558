import { create, equals } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { PullBlobsRequestSchema, PullBlobsResponseSchema, SiteAgentService } from './gen/antipode/v1/site_agent_pb.ts';
import { methodName, serviceDefinition } from './service-definition.ts';

const definition = serviceDefinition(SiteAgentService);

it('defines every method under its full path, streaming from the server where it streams', () => {
  expect(Object.keys(definition).sort()).toEqual(SiteAgentService.methods.map(({ localName }) => localName).sort());
  expect(definition['pullBlobs']).toMatchObject({
    path: '/antipode.v1.SiteAgentService/PullBlobs',
    requestStream: false,
    responseStream: true,
  });
  expect(definition['capture']).toMatchObject({ requestStream: false, responseStream: false });
});

it('gives back what it has written, of requests and responses', () => {
  const { pullBlobs } = definition;
  const request = create(PullBlobsRequestSchema, { group: 'payments', sha256: [Uint8Array.of(1, 2)] });
  const response = create(PullBlobsResponseSchema, { blobs: [Uint8Array.of(3), new Uint8Array()] });
  const requested = pullBlobs!.requestDeserialize(pullBlobs!.requestSerialize(request)) as typeof request;
  const responded = pullBlobs!.responseDeserialize(pullBlobs!.responseSerialize(response)) as typeof response;
  expect(equals(PullBlobsRequestSchema, requested, request)).toBe(true);
  expect(equals(PullBlobsResponseSchema, responded, response)).toBe(true);
});

it('names a method as the authorisation table does', () => {
  expect(methodName(SiteAgentService.method.pullBlobs)).toBe('SiteAgentService/PullBlobs');
});
