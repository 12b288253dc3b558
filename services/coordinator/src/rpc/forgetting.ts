/**
 * Operators retire a site, and take it back. Only what this system knows of the site is forgotten. Nothing at the site
 * changes, and events and evidence stay. A site with a place in a group is refused: its group has to let it go first.
 */
import { type Handlers, identityUri, isName, NAME_EXPECTED, type OperatorService } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import type { Group } from '../model.ts';
import { revokeSiteTokensOf } from '../store/tables/certificates/site-tokens.ts';
import { readOpenIntents } from '../store/tables/intents.ts';
import { forgetSite, readForgottenSites, readmitSite } from '../store/tables/sites/forgotten-sites.ts';
import { readSites } from '../store/tables/sites/sites.ts';
import type { RpcPorts } from './ports.ts';

type ForgettingHandlers = Pick<Handlers<typeof OperatorService>, 'forgetSite' | 'readmitSite'>;

export function forgettingHandlers(ports: RpcPorts): ForgettingHandlers {
  const { store, election, clock, cache, detector, forgotten, timeline } = ports;
  return {
    forgetSite: async ({ site, planOnly, keepCertificate }, { identity: { name: operator } }) => {
      requireName(site);
      await cache.refresh();
      const revoked = revocationOf(ports, site);
      const { sites, records, open } = await store.query(async (db) => ({
        sites: await readSites(db),
        records: await readForgottenSites(db),
        open: await readOpenIntents(db, { onUnreadable: () => 'an unreadable group refuses below' }),
      }));
      const before = records.find((one) => one.site === site);
      const address = before?.address ?? sites.find((one) => one.site === site)?.address;
      if (address === undefined)
        throw new AntipodeError(
          'NOT_FOUND',
          `no site ${site} is known, expected one of: ${sites.map((one) => one.site).join(', ')}`,
          {
            details: { site },
          },
        );
      requireUnused(site, { groups: cache.all, unreadable: cache.unreadable });
      const operation = open.find((one) => one.site === site);
      if (operation !== undefined)
        throw inUse(
          site,
          `operation ${operation.id.slice(0, 8)} (${operation.kind}) of group ${operation.group} has not ended there`,
        );
      if (detector.isUp(site))
        throw inUse(site, `its agent is heard at ${address}`, {
          hint: `Stop the agent of site ${site} and keep it from starting again. After some seconds without a heartbeat, repeat the command.`,
        });
      if (revoked === 'certificates in force' && !keepCertificate)
        throw new AntipodeError('APPROVAL_REQUIRED', `the certificates of site ${site} are in force`, {
          details: { site },
          hint: `Revoke them first: \`antipode certificate revoke site/${site}\`. Security operators sign that list, and every process obeys it. If the keys of its agent are known to be destroyed, add --keep-certificate.`,
        });
      const consequences = consequencesOf(site, revoked);
      if (planOnly) return { consequences, isNew: before === undefined };
      const record = { site, operator, atMs: clock.wallMs() };
      const isNew = await store.write(election.require(), async (trx, note) => {
        const isFirst = await forgetSite(trx, record);
        const tokens = await revokeSiteTokensOf(trx, { site, atMs: record.atMs, by: operator });
        if (isFirst) note({ kind: 'site-forgotten', site, details: { operator, address, tokens: String(tokens) } });
        return isFirst;
      });
      // From here on its heartbeats are refused. One that came meanwhile may have written its row again: it does not count.
      forgotten.add(before ?? { ...record, address });
      detector.forget(site);
      return { consequences, isNew, forgottenMs: BigInt(timeline.toWallMs(before?.atMs ?? record.atMs)) };
    },

    readmitSite: async ({ site }, { identity: { name: operator } }) => {
      requireName(site);
      const isNew = await store.write(election.require(), async (trx, note) => {
        const was = await readmitSite(trx, site);
        if (was) note({ kind: 'site-readmitted', site, details: { operator } });
        return was;
      });
      if (isNew) forgotten.remove(site);
      return { isNew };
    },
  };
}

function requireName(site: string): void {
  if (!isName(site))
    throw new AntipodeError('REQUEST_INVALID', `site: ${NAME_EXPECTED}`, { details: { field: 'site' } });
}

const inUse = (site: string, why: string, { hint }: { hint?: string } = {}): AntipodeError =>
  new AntipodeError('SITE_IN_USE', `site ${site} cannot be forgotten: ${why}`, {
    details: { site },
    ...(hint === undefined ? {} : { hint }),
  });

/** Every place that a group has at a site, in words. */
export function placesIn(
  { spec, members, joining }: Pick<Group, 'spec' | 'members' | 'joining'>,
  site: string,
): string[] {
  const has = (seats: readonly { readonly site: string }[] = []): boolean => seats.some((one) => one.site === site);
  return [
    ...(has(members) ? ['a member'] : []),
    ...(has(joining) ? ['a member that is joining'] : []),
    ...((spec.witnesses ?? []).includes(site) ? ['a witness'] : []),
    ...(has(spec.scratch) ? ['the site of a scratch partition'] : []),
    ...(spec.distributor?.site === site ? ['the site of the distributor'] : []),
    ...(has(spec.archives) ? ['the site of an archive'] : []),
  ];
}

/** @throws SITE_IN_USE */
function requireUnused(
  site: string,
  { groups, unreadable }: { groups: readonly Group[]; unreadable: readonly string[] },
): void {
  const places = groups.flatMap((group) => {
    const found = placesIn(group, site);
    return found.length === 0 ? [] : [`${found.join(' and ')} of group ${group.spec.name}`];
  });
  if (places.length > 0)
    throw inUse(site, `it is ${places.join('; ')}`, {
      hint: `Take it out of each of these groups first (\`antipode group remove-member\`, \`remove-witness\`, \`set-scratch\`, \`set-archive\`, \`set-distributor\` or \`delete\`).`,
    });
  if (unreadable.length > 0)
    throw inUse(site, `the records of group ${unreadable.join(', ')} cannot be read, so it may have a place there`, {
      hint: 'Run a coordinator of the release that wrote these records, or restore the database.',
    });
}

type Revocation = 'certificates in force' | 'certificates revoked' | 'no list';

function revocationOf({ revocations }: RpcPorts, site: string): Revocation {
  if (revocations === undefined || revocations.book.rules === undefined) return 'no list';
  const name = identityUri({ trustDomain: revocations.trustDomain, kind: 'site', name: site });
  return revocations.book.namedEntries(name).length > 0 ? 'certificates revoked' : 'certificates in force';
}

function consequencesOf(site: string, revoked: Revocation): string[] {
  return [
    `Site ${site} is not known any more: \`antipode status\`, metrics and notices do not name it. If its agent calls again, it is refused (SITE_FORGOTTEN), and \`antipode status\` says so.`,
    `Its tokens for joining end. Nothing at site ${site} changes: keys, domain keys and sealed generations stay in its partitions and stores. A holder of a PIN can open them.`,
    revoked === 'certificates revoked'
      ? 'Its certificates are revoked already.'
      : revoked === 'no list'
        ? 'This coordinator has no rules for revocation, so the certificates of the site stay valid until they end. Destroy the key of its agent.'
        : 'Its certificates stay in force, as --keep-certificate says. Other agents believe a holder of its key until they end.',
    `Trust in its partitions stays in pins.yaml of the other sites: \`antipode peer distrust\` takes it away there.`,
    'Events, and the evidence of drills, stay in the database.',
    `\`antipode site readmit ${site}\` takes it back.`,
  ];
}
