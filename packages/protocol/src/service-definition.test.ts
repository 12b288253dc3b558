import { create, equals, toBinary } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { CoordinatorService, HeartbeatRequestSchema } from './gen/antipode/v1/coordinator_pb.ts';
import { PullBlobsRequestSchema, PullBlobsResponseSchema, SiteAgentService } from './gen/antipode/v1/site_agent_pb.ts';
import { MemberRole } from './gen/antipode/v1/types_pb.ts';
import { decodeRequest, methodName, serviceDefinition } from './service-definition.ts';

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

it('takes the heartbeat of a site with a thousand groups', () => {
  const seats = Array.from({ length: 1_000 }, (_, index) => ({
    group: `group-${index}`,
    serial: `${index}`.padStart(16),
  }));
  const head = { epoch: 1n, generation: 9n, manifestDigest: new Uint8Array(32), contentDigest: new Uint8Array(32) };
  const request = create(HeartbeatRequestSchema, {
    state: {
      members: seats.map((seat) => ({ ...seat, role: MemberRole.STANDBY, captured: head, applied: head })),
      partitions: seats.map(({ serial, group }) => ({
        serial,
        tokenLabel: group,
        module: '/usr/lib/softhsm/libsofthsm2.so',
        identitySha256: '0'.repeat(64),
        domainKeys: [{ group, version: 1, neededFor: 'the newest generation of the group is sealed by it' }],
      })),
    },
  });
  const bytes = toBinary(HeartbeatRequestSchema, request);
  expect(bytes.length).toBeGreaterThan(256 * 1024);
  expect(decodeRequest(CoordinatorService.method.heartbeat, bytes)).toMatchObject({
    state: { members: { length: 1_000 } },
  });
});
