import { ResolveResponseSchema } from '@antipode/protocol';
import { create } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { doubtsAbout } from './resolve.ts';

const doubts = (siteState: string, partitionErrorCode = ''): string[] =>
  doubtsAbout(create(ResolveResponseSchema, { site: 'a', siteState, partitionErrorCode, isLeader: true }));

it('nothing speaks against a site that is up with its partition open', () => {
  expect(doubts('up')).toEqual([]);
});

it.each(['suspect', 'down', 'unknown', ''])('a site that is "%s" is not to be relied on', (state) => {
  expect(doubts(state)).toEqual([`site a is ${state || 'unknown'}`]);
});

it('a partition that cannot be used is named with its error', () => {
  expect(doubts('up', 'PIN_REFUSED').join()).toContain('PIN_REFUSED');
  expect(doubts('down', 'PIN_REFUSED')).toHaveLength(2);
});

it('a coordinator that does not lead is not to be relied on', () => {
  const place = create(ResolveResponseSchema, { site: 'a', siteState: 'up', isLeader: false });
  expect(doubtsAbout(place).join()).toContain('does not lead');
});
