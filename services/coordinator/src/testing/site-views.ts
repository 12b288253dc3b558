/** Sites as the detector sees them: what an agent said is a whole message, as it comes off the wire. */
import { type DescribeResponse, DescribeResponseSchema, type MemberStateSchema } from '@antipode/protocol';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { SiteView } from '../sites/detector.ts';

export type Said = MessageInitShape<typeof DescribeResponseSchema>;

/** A member by the word of its agent. */
export type SaidOfMember = Omit<MessageInitShape<typeof MemberStateSchema>, '$typeName' | '$unknown'>;

/** Its seats are those of its partition in SPEC, where they do not name another one. */
function heard(site: string, said: Said): DescribeResponse {
  const state = create(DescribeResponseSchema, { site, ...said });
  for (const member of state.members) if (member.serial === '') member.serial = `serial-${site}`;
  return state;
}

/** A site that is up, and what its agent says of itself; `undefined` for one that was not heard. */
export function siteView(site: string, said: Said | undefined, rest: Partial<Omit<SiteView, 'state'>> = {}): SiteView {
  return {
    site,
    status: 'up',
    reason: '',
    address: `${site}:1`,
    instance: '',
    lastMs: 0,
    lastWallMs: undefined,
    failedRounds: 0,
    state: said && heard(site, said),
    ...rest,
  };
}
