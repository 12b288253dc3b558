/**
 * Lets machines join: whoever shows the secret of a token gets the certificate of the site that the token names, for the
 * key that uses the token first. Called from the door (protocol, join-door.ts), so nothing about the caller is known.
 *
 * A caller without the secret learns nothing: neither whether there is such a token, nor what became of it.
 */
import { timingSafeEqual } from 'node:crypto';
import {
  type JoinRequest,
  type JoinResponseSchema,
  readRequest,
  secretDigest,
  signRequest,
  TOKEN_ID,
} from '@antipode/protocol';
import { AntipodeError, type Clock, fromHex, type Log, sha256Hex } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { RenewableLeadership } from '../../election.ts';
import type { Store } from '../../store/store.ts';
import { readSiteToken, type SiteTokenRecord, takeSiteToken } from '../../store/tables/certificates/site-tokens.ts';
import { type IssuerFiles, readIssuer } from './renewals.ts';

export interface JoiningPorts {
  readonly store: Store;
  readonly election: Pick<RenewableLeadership, 'epoch' | 'renewIfLapsed'>;
  /** The timeline. */
  readonly clock: Clock;
  /** The clock on the wall, for the dates of certificates. */
  readonly calendarMs: () => number;
  readonly trustDomain: string;
  readonly issuer: IssuerFiles | undefined;
  /** Why the certificate of this coordinator is revoked. */
  readonly ownRefusal?: () => AntipodeError | undefined;
  /** PEM: the authorities of this trust domain. */
  readonly authoritiesPem: () => string;
  readonly log: Log;
}

/** One text for all that an outsider can try. */
const unknown = (): AntipodeError => new AntipodeError('SITE_TOKEN_REFUSED', 'the token is not known here');

const NOBODY = '0'.repeat(64);

/** @throws SITE_TOKEN_REFUSED, CERTIFICATE_REQUEST_INVALID, NOT_LEADER, DATABASE_UNAVAILABLE, CERTIFICATE_INVALID */
export async function answerJoin(
  { tokenId, secret, requestPem }: Pick<JoinRequest, 'tokenId' | 'secret' | 'requestPem'>,
  from: string,
  ports: JoiningPorts,
): Promise<MessageInitShape<typeof JoinResponseSchema>> {
  const { store, election, clock, log, issuer, trustDomain } = ports;
  // No site believes it, so a machine that joins here would be sent to a thief.
  const refused = ports.ownRefusal?.();
  if (refused !== undefined) throw refused;
  await election.renewIfLapsed();
  const { epoch } = election;
  // Not by whom: an outsider need not know the others.
  if (epoch === undefined) throw new AntipodeError('NOT_LEADER', 'this coordinator does not lead');
  const token = TOKEN_ID.test(tokenId) ? await store.query((db) => readSiteToken(db, tokenId)) : undefined;
  // Compared in any case, so that an unknown id takes as long.
  const isSecret = timingSafeEqual(secretDigest(secret), fromHex(token?.secretDigest ?? NOBODY));
  if (token === undefined || !isSecret) throw unknown();
  requireInForce(token, clock.wallMs());
  const request = await readRequest(requestPem);
  const { identity, spki } = request;
  if (identity.trustDomain !== trustDomain || identity.kind !== 'site' || identity.name !== token.site)
    throw new AntipodeError(
      'CERTIFICATE_REQUEST_INVALID',
      `the token is for site ${token.site}, and the request names another identity`,
    );
  const key = sha256Hex(spki);
  const { site, id } = token;
  const taken = await store.write(epoch, async (trx, record) => {
    const use = { key, atMs: clock.wallMs(), from };
    const isFirst = await takeSiteToken(trx, { id, use });
    const now = await readSiteToken(trx, id);
    if (isFirst) record({ kind: 'site-joined', site, details: { token: id, key, from, signed: issuer !== undefined } });
    else if (now?.use?.key !== key) record({ kind: 'site-token-refused', site, details: { token: id, key, from } });
    return now;
  });
  if (taken === undefined) throw unknown();
  requireInForce(taken, clock.wallMs());
  if (taken.use?.key !== key)
    throw new AntipodeError(
      'SITE_TOKEN_REFUSED',
      `another key has used the token of site ${site}, from ${taken.use?.from ?? 'an unknown address'}`,
    );
  const certificatePem =
    issuer === undefined
      ? ''
      : await signRequest(
          { authority: readIssuer(issuer), validDays: issuer.days, nowMs: ports.calendarMs() },
          request,
        );
  log.info('a machine joins', { site, token: id, from, signed: issuer !== undefined });
  return { certificatePem, authoritiesPem: ports.authoritiesPem() };
}

/** Told only to who has the secret. */
function requireInForce({ site, expiresMs, revoked }: SiteTokenRecord, nowMs: number): void {
  const why = revoked !== undefined ? `was revoked by ${revoked.by}` : nowMs >= expiresMs ? 'has expired' : undefined;
  if (why !== undefined) throw new AntipodeError('SITE_TOKEN_REFUSED', `the token of site ${site} ${why}`);
}
