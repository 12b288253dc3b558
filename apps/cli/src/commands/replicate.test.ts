import { GroupStateSchema, MemberRole } from '@antipode/protocol';
import { rejection } from '@antipode/runtime/testing';
import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import type { Operator } from '../operator.ts';
import { untilAcknowledged } from './replicate.ts';

interface Standby {
  readonly site: string;
  readonly acknowledged: number;
  readonly role?: MemberRole;
  readonly siteState?: string;
}

/** A coordinator that always says the same of its group; asked once, since no time may pass. */
function waiting(standbys: readonly Standby[], sites?: readonly string[]) {
  const members = standbys.map(({ site, acknowledged, role = MemberRole.STANDBY, siteState = 'up' }) => ({
    site,
    role,
    siteState,
    acknowledgedGeneration: BigInt(acknowledged),
  }));
  const group = create(GroupStateSchema, {
    members: [{ site: 'a', role: MemberRole.ACTIVE, siteState: 'up' }, ...members],
  });
  const operator = { getGroup: async () => ({ group }) } as unknown as Operator;
  return untilAcknowledged(operator, 'payments', {
    number: 8,
    timeoutMs: -1,
    ...(sites === undefined ? {} : { sites }),
  });
}

describe('a generation', () => {
  it.each<[string, Standby[], string[]?]>([
    [
      'every standby has it or a newer one',
      [
        { site: 'b', acknowledged: 8 },
        { site: 'c', acknowledged: 9 },
      ],
    ],
    [
      'the only one without it is down',
      [
        { site: 'b', acknowledged: 8 },
        { site: 'c', acknowledged: 1, siteState: 'down' },
      ],
    ],
    [
      'the only one without it is fenced',
      [
        { site: 'b', acknowledged: 8 },
        { site: 'c', acknowledged: 1, role: MemberRole.FENCED },
      ],
    ],
    [
      'the sites that were named have it',
      [
        { site: 'b', acknowledged: 1 },
        { site: 'c', acknowledged: 8 },
      ],
      ['c'],
    ],
  ])('is acknowledged where %s', async (_where, standbys, sites) => {
    expect((await waiting(standbys, sites)).members).toHaveLength(3);
  });

  it.each<[string, Standby[], string[]?]>([
    [
      'a standby lacks it',
      [
        { site: 'b', acknowledged: 8 },
        { site: 'c', acknowledged: 7 },
      ],
    ],
    ['no standby is up', [{ site: 'b', acknowledged: 8, siteState: 'down' }]],
    ['there is no standby', []],
    [
      'a site that was named lacks it, although it is down',
      [
        { site: 'b', acknowledged: 8 },
        { site: 'c', acknowledged: 1, siteState: 'down' },
      ],
      ['c'],
    ],
  ])('is not acknowledged where %s', async (_where, standbys, sites) => {
    expect((await rejection(waiting(standbys, sites))).code).toBe('TIMED_OUT');
  });
});
