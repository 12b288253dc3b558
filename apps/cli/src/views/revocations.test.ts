import { GetStatusResponseSchema } from '@antipode/protocol';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { revocationLines } from './revocations.ts';
import { isDegraded } from './status.ts';

const status = (init: MessageInitShape<typeof GetStatusResponseSchema>) =>
  create(GetStatusResponseSchema, { coordinator: 'main', isLeader: true, isQueueUp: true, ...init });
const held = (version: number, problem = '') => ({ version, hasRules: true, problem });

it('says nothing while all processes have one list, or there is none', () => {
  expect(revocationLines(status({ sites: [{ site: 'a', state: 'up', version: '1' }] }))).toEqual([]);
  const same = { site: 'a', state: 'up', version: '1', revocations: held(3) };
  expect(revocationLines(status({ revocations: held(3), sites: [same] }))).toEqual([]);
});

it('names a site that is refused, and processes with an older list, and degrades the whole', () => {
  const all = status({
    revocations: held(3),
    sites: [
      { site: 'a', state: 'down', version: '1', revocations: held(2), revoked: ['every certificate of site a'] },
      { site: 'b', state: 'up', version: '1', revocations: held(2) },
      { site: 'c', state: 'up', version: '1', revocations: held(3, 'two lists have version 3') },
    ],
  });
  const [refused, older, problem, ...more] = revocationLines(all);
  expect([refused, older, problem]).toEqual([
    expect.stringContaining('Site a is refused: every certificate'),
    expect.stringMatching(/Version 3 .* has not reached site b\./),
    'site c: two lists have version 3.',
  ]);
  expect([more, isDegraded(all)]).toEqual([[], true]);
});
