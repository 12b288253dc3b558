/** Tokens with which machines join as sites: operators make, list and revoke them. Machines use them: joining.ts. */
import {
  type Handlers,
  isName,
  NAME_EXPECTED,
  type OperatorService,
  type SiteTokenSchema,
  TOKEN_ID,
} from '@antipode/protocol';
import { AntipodeError, hex } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  countOpenSiteTokens,
  insertSiteToken,
  readSiteToken,
  readSiteTokens,
  revokeSiteToken,
  type SiteTokenRecord,
} from '../../store/tables/certificates/site-tokens.ts';
import { readSites } from '../../store/tables/sites/sites.ts';
import type { RpcPorts } from '../ports.ts';

type SiteTokenHandlers = Pick<
  Handlers<typeof OperatorService>,
  'createSiteToken' | 'listSiteTokens' | 'revokeSiteToken'
>;

const TTL_MS_MIN = 60_000;
const TTL_MS_MAX = 86_400_000;
const DIGEST_BYTES = 32;
/** Of those that have not ended. More than a fleet that is set up in one day. */
const OPEN_MAX = 500;

/** Its end does not go by the clock on the wall, which somebody may set back. */
export function siteTokenHandlers({
  id: coordinator,
  store,
  election,
  clock,
  timeline,
  prng,
  joining,
  forgotten,
}: RpcPorts): SiteTokenHandlers {
  const messageOf = (record: SiteTokenRecord) =>
    siteTokenMessage(record, { nowMs: clock.wallMs(), toWallMs: (atMs) => timeline.toWallMs(atMs) });
  return {
    createSiteToken: async ({ site, secretDigest, ttlMs }, { identity }) => {
      const port = joining?.port();
      if (joining === undefined || port === undefined)
        throw new AntipodeError(
          'JOIN_NOT_OFFERED',
          `coordinator ${coordinator} has no address for machines that join`,
          {
            details: { coordinator },
          },
        );
      requireField('site', isName(site), NAME_EXPECTED);
      forgotten.require(site);
      requireField('secret_digest', secretDigest.length === DIGEST_BYTES, 'expected a SHA-256');
      const ttl = Number(ttlMs);
      requireField('ttl_ms', ttl >= TTL_MS_MIN && ttl <= TTL_MS_MAX, 'expected one minute to one day');
      const nowMs = clock.wallMs();
      const token: SiteTokenRecord = {
        id: hex(prng.bytes(8)),
        site,
        secretDigest: hex(secretDigest),
        createdBy: identity.name,
        createdMs: nowMs,
        expiresMs: nowMs + ttl,
        use: undefined,
        revoked: undefined,
      };
      const isKnownSite = await store.write(election.require(), async (trx, record) => {
        const open = await countOpenSiteTokens(trx, { atMs: nowMs });
        if (open >= OPEN_MAX)
          throw new AntipodeError(
            'REQUEST_INVALID',
            `${open} tokens have not ended yet, expected less than ${OPEN_MAX}`,
            {
              details: { open },
              hint: 'Wait until some of them have ended, or make them with a shorter --ttl.',
            },
          );
        await insertSiteToken(trx, token);
        const expires = new Date(timeline.toWallMs(token.expiresMs)).toISOString();
        record({ kind: 'site-token-created', site, details: { token: token.id, expires, operator: identity.name } });
        return (await readSites(trx)).some((one) => one.site === site);
      });
      return { token: messageOf(token), joinPort: port, hasIssuer: joining.hasIssuer, isKnownSite };
    },

    listSiteTokens: async () => ({ tokens: (await store.query(readSiteTokens)).map(messageOf) }),

    revokeSiteToken: async ({ id }, { identity }) => {
      requireField('id', TOKEN_ID.test(id), 'expected the id that `antipode site token list` shows');
      const token = await store.write(election.require(), async (trx, record) => {
        const isNew = await revokeSiteToken(trx, { id, atMs: clock.wallMs(), by: identity.name });
        const found = await readSiteToken(trx, id);
        if (found === undefined) throw new AntipodeError('NOT_FOUND', `there is no token ${id}`, { details: { id } });
        if (isNew)
          record({ kind: 'site-token-revoked', site: found.site, details: { token: id, operator: identity.name } });
        return found;
      });
      return { token: messageOf(token) };
    },
  };
}

function requireField(field: string, isGood: boolean, expected: string): void {
  if (!isGood) throw new AntipodeError('REQUEST_INVALID', `${field}: ${expected}`, { details: { field } });
}

export type SiteTokenState = 'open' | 'used' | 'expired' | 'revoked';

/** A token that was used can still be used by the same key until it ends. */
export function siteTokenState({ use, revoked, expiresMs }: SiteTokenRecord, nowMs: number): SiteTokenState {
  if (revoked !== undefined) return 'revoked';
  if (use !== undefined) return 'used';
  return nowMs >= expiresMs ? 'expired' : 'open';
}

function siteTokenMessage(
  record: SiteTokenRecord,
  { nowMs, toWallMs }: { nowMs: number; toWallMs: (atMs: number) => number },
): MessageInitShape<typeof SiteTokenSchema> {
  const wall = (atMs: number | undefined): bigint => (atMs === undefined ? 0n : BigInt(toWallMs(atMs)));
  return {
    id: record.id,
    site: record.site,
    createdBy: record.createdBy,
    createdMs: wall(record.createdMs),
    expiresMs: wall(record.expiresMs),
    usedMs: wall(record.use?.atMs),
    usedFrom: record.use?.from ?? '',
    usedKey: record.use?.key ?? '',
    revokedMs: wall(record.revoked?.atMs),
    revokedBy: record.revoked?.by ?? '',
    state: siteTokenState(record, nowMs),
  };
}
