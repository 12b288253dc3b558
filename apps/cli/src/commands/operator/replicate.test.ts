import {
  GenerationStanding,
  GetGenerationRequestSchema,
  GetGenerationResponseSchema,
  GetGroupResponseSchema,
  GroupStateSchema,
  MemberRole,
} from '@antipode/protocol';
import { hex } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { lackingText, untilAcknowledged } from './replicate.ts';

const GENERATION = { epoch: 2, number: 8, manifestDigest: 'ab' };

/** A coordinator that answers so for the generation, one answer after the other; and what it was asked. */
function waiting(
  standings: readonly GenerationStanding[],
  sites?: readonly string[],
  { waitingSites = ['c'], timeoutMs = 60_000 } = {},
) {
  const group = create(GroupStateSchema, { members: [{ site: 'a', role: MemberRole.ACTIVE }] });
  const left = [...standings];
  const asked: string[] = [];
  const operator: Parameters<typeof untilAcknowledged>[0] = {
    getGroup: async () => create(GetGroupResponseSchema, { group }),
    getGeneration: async (request) => {
      const { generation, sites: wanted } = create(GetGenerationRequestSchema, request);
      asked.push(
        `${generation!.epoch} ${generation!.generation} ${hex(generation!.manifestDigest)} of ${wanted.join()}`,
      );
      const standing = left.shift();
      return create(GetGenerationResponseSchema, {
        ...(standing === undefined ? {} : { standing }),
        waitingSites,
        lackingSites: ['d'],
      });
    },
  };
  const state = untilAcknowledged(operator, 'payments', {
    generation: GENERATION,
    // No time may pass where one answer is all there is.
    timeoutMs: standings.length === 1 ? -1 : timeoutMs,
    ...(sites === undefined ? {} : { sites }),
  });
  return { state, asked };
}

describe('a generation', () => {
  it('is acknowledged when the coordinator says so, asked by epoch, number and digest', async () => {
    const { state, asked } = waiting([GenerationStanding.ACKNOWLEDGED]);
    const answer = await state;
    expect(answer.state.members).toHaveLength(1);
    expect(answer.lackingSites).toEqual(['d']);
    expect(asked).toEqual(['2 8 ab of ']);
  });

  it('is not waited for where no standby is up, and every member without it has a name', async () => {
    const pending = Array.from({ length: 20 }, () => GenerationStanding.PENDING);
    const { state, asked } = waiting(pending, undefined, { waitingSites: [], timeoutMs: 100 });
    expect((await state).lackingSites).toEqual(['d']);
    expect(asked.length).toBeLessThan(5);
    // With --require all each of them is waited for.
    const all = waiting([GenerationStanding.PENDING], ['d'], { waitingSites: [] });
    expect(await rejection(all.state)).toMatchObject({ code: 'TIMED_OUT' });
  });

  it('is waited for at the sites that were named', async () => {
    const { state, asked } = waiting([GenerationStanding.ACKNOWLEDGED], ['b', 'c']);
    await state;
    expect(asked).toEqual(['2 8 ab of b,c']);
  });

  it('is waited for while it is on its way, and while what follows from it is', async () => {
    const { PENDING, SUPERSEDED, ACKNOWLEDGED } = GenerationStanding;
    const { state, asked } = waiting([PENDING, SUPERSEDED, ACKNOWLEDGED]);
    await state;
    expect(asked).toHaveLength(3);
  });

  it.each([GenerationStanding.PENDING, GenerationStanding.SUPERSEDED])(
    'is not acknowledged in time while its standing is %i',
    async (standing) => {
      const error = await rejection(waiting([standing]).state);
      expect(error.code).toBe('TIMED_OUT');
      expect(error.message).toContain('not acknowledged by c');
    },
  );

  it.each([GenerationStanding.LOST, GenerationStanding.UNKNOWN])(
    'is an error of its own where its standing is %i',
    async (standing) => {
      expect((await rejection(waiting([standing]).state)).code).toBe('GENERATION_LOST');
    },
  );
});

it('names each member that lacks the generation, with the state of its site', () => {
  const members = [
    { site: 'a', role: MemberRole.ACTIVE, siteState: 'up' },
    { site: 'b', role: MemberRole.STANDBY, siteState: 'up' },
    { site: 'c', role: MemberRole.STANDBY, siteState: 'down' },
  ];
  const state = create(GroupStateSchema, { members });
  const text = lackingText({ generation: 7, lackingSites: ['c'], state });
  expect(text).toContain('NOT acknowledged by c (standby, its site is down)');
  expect(text).not.toContain('by b');
  expect(lackingText({ generation: 7, lackingSites: [], state })).toBe('');
});
