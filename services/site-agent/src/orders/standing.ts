/** Tells a member of a group what this site holds of it. A member that is to be promoted asks (promotion-guard.ts). */
import { nameRef, type ReportStandingRequest, type ReportStandingResponseSchema } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { newestHere, type Site } from '../site.ts';

const NONCES_MAX = 16;

/** @throws PEER_REFUSED for a site without a pinned partition, REQUEST_INVALID */
export async function reportStanding(
  site: Site,
  { group, nonces }: ReportStandingRequest,
  caller: string,
): Promise<MessageInitShape<typeof ReportStandingResponseSchema>> {
  if (!site.trust.knowsSite(group, caller))
    throw new AntipodeError('PEER_REFUSED', `no partition of site ${caller} is pinned for group ${group}`, {
      details: { group, site: caller },
    });
  if (nonces.length > NONCES_MAX)
    throw new AntipodeError('REQUEST_INVALID', `at most ${NONCES_MAX} nonces a call`, { details: { field: 'nonces' } });
  const seat = site.journal.tenure.seat(group);
  const newest = seat === undefined ? undefined : await newestHere(site, seat);
  const isQuarantined = site.journal.tenure.quarantine(group) !== undefined;
  return {
    // The journal may be an older copy, so what it lacks is not the last word of this site.
    epoch: isQuarantined ? 0n : (site.journal.tenure.fence(group)?.epoch ?? 0n),
    ...(newest === undefined ? {} : { newest: nameRef({ ...newest, manifestDigest: newest.digest }) }),
    used: nonces.flatMap((nonce) => {
      const use = site.journal.approvals.use(nonce);
      return use === undefined ? [] : [{ nonce, operationId: use.operation }];
    }),
  };
}
