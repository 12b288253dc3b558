import { thrown } from '@antipode/runtime/testing';
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { HeartbeatRequestSchema } from './gen/antipode/v1/coordinator_pb.ts';
import { ChangeGroupRequestSchema, GroupSettingsSchema } from './gen/antipode/v1/operator_pb.ts';
import {
  CaptureRequestSchema,
  PingRequestSchema,
  SetRoleRequestSchema,
  SiteAgentService,
} from './gen/antipode/v1/site_agent_pb.ts';
import { type FenceSchema, MemberRole } from './gen/antipode/v1/types_pb.ts';
import { requireKnownFields, validateRequest } from './validate.ts';

const fence: MessageInitShape<typeof FenceSchema> = { group: 'payments', epoch: 1n, owner: 'a', requestId: 'r' };
const setRole = (init: MessageInitShape<typeof SetRoleRequestSchema>) => () =>
  validateRequest(SetRoleRequestSchema, create(SetRoleRequestSchema, init));

describe('a request', () => {
  it('passes when it is whole', () => {
    setRole({ fence, serial: 's', role: MemberRole.STANDBY })();
    setRole({ fence: { ...fence, instance: 'i' }, serial: 's', role: MemberRole.STANDBY })();
    setRole({ fence: { ...fence, approvals: { operationId: 'o' } }, serial: 's', role: MemberRole.STANDBY })();
    validateRequest(PingRequestSchema, create(PingRequestSchema));
    validateRequest(CaptureRequestSchema, create(CaptureRequestSchema, { fence }));
  });

  it.each<[string, MessageInitShape<typeof SetRoleRequestSchema>]>([
    ['fence', { role: MemberRole.STANDBY }],
    ['fence.group', { fence: { ...fence, group: '' }, role: MemberRole.STANDBY }],
    ['fence.epoch', { fence: { ...fence, epoch: 0n }, role: MemberRole.STANDBY }],
    ['fence.owner', { fence: { ...fence, owner: '' }, role: MemberRole.STANDBY }],
    ['fence.request_id', { fence: { ...fence, requestId: '' }, role: MemberRole.STANDBY }],
    ['SetRoleRequest.role', { fence }],
    ['SetRoleRequest.role', { fence, role: MemberRole.UNSPECIFIED }],
  ])('is refused without %s', (field, init) => {
    expect(thrown(setRole(init))).toMatchObject({ code: 'REQUEST_INVALID', details: { field } });
  });

  it('is refused for an enum that is unspecified deep inside a list, and not for what is not said', () => {
    const members = [{ group: 'a', role: MemberRole.ACTIVE }, { group: 'b' }];
    expect(
      thrown(() => validateRequest(HeartbeatRequestSchema, create(HeartbeatRequestSchema, { state: { members } }))),
    ).toMatchObject({ code: 'REQUEST_INVALID', details: { field: 'HeartbeatRequest.state.members.role' } });
    validateRequest(
      HeartbeatRequestSchema,
      create(HeartbeatRequestSchema, { state: { members: members.slice(0, 1) } }),
    );
    validateRequest(HeartbeatRequestSchema, create(HeartbeatRequestSchema));
  });
});

it('only what reads goes without a fence', () => {
  const unfenced = SiteAgentService.methods
    .filter(({ input }) => input.fields.every(({ name }) => name !== 'fence'))
    .map(({ name }) => name);
  expect(unfenced.sort()).toEqual([
    'Describe',
    'MatchFilter',
    'Ping',
    'ProbePeer',
    'PullBlobs',
    'PullManifest',
    'ReportStanding',
    'TellGroups',
    'Vouch',
  ]);
});

describe('a request of an operator', () => {
  /** As a later release sends it: with a field of a number that this release does not have. */
  const with9000 = (bytes: Uint8Array): Uint8Array => Uint8Array.from([...bytes, 0xc0, 0xb2, 0x04, 0x01]);
  const settings = (bytes: Uint8Array) =>
    create(ChangeGroupRequestSchema, {
      group: 'payments',
      change: { kind: { case: 'settings', value: fromBinary(GroupSettingsSchema, bytes) } },
    });
  const known = toBinary(GroupSettingsSchema, create(GroupSettingsSchema, { rpoSeconds: 60 }));

  it('is refused where a field of it is unknown, however deep', () => {
    requireKnownFields(ChangeGroupRequestSchema, settings(known));
    const outer = fromBinary(ChangeGroupRequestSchema, with9000(toBinary(ChangeGroupRequestSchema, settings(known))));
    expect(thrown(() => requireKnownFields(ChangeGroupRequestSchema, outer))).toMatchObject({
      code: 'REQUEST_INVALID',
      details: { field: 'ChangeGroupRequest.9000' },
    });
    const inner = thrown(() => requireKnownFields(ChangeGroupRequestSchema, settings(with9000(known))));
    expect(inner).toMatchObject({
      code: 'REQUEST_INVALID',
      details: { field: 'ChangeGroupRequest.change.settings.9000' },
    });
  });
});
