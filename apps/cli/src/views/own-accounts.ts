/** The own words of sites, while no coordinator answers. Nobody has compared them. */
import { type OwnAccountResponse, type OwnSeat, roleName } from '@antipode/protocol';
import { duration, table } from '../output.ts';

/** A site that was asked. */
export interface Asked {
  readonly site: string;
  readonly address: string;
  /** Absent where it did not answer. */
  readonly account?: OwnAccountResponse;
  /** Code of its error. */
  readonly errorCode?: string;
}

function leaseCell({ role, leaseRemainingMs, vouchedBy, notVouchedBy }: OwnSeat): string {
  if (roleName(role) !== 'active') return '-';
  const left = leaseRemainingMs > 0n ? duration(leaseRemainingMs) : 'none';
  if (notVouchedBy.length > 0) return `${left} (not vouched for by ${notVouchedBy.join(', ')})`;
  return vouchedBy.length > 0 ? `${left} (vouched for by ${vouchedBy.join(', ')})` : left;
}

export function ownAccountsText(asked: readonly Asked[]): string {
  const sites = asked.map(({ site, address, account, errorCode = '' }) => [
    site,
    account === undefined ? `no answer (${errorCode})` : 'answers',
    address,
    account?.partitions.map(({ name, errorCode: code }) => `${name} ${code || 'ok'}`).join(', ') || '-',
    account === undefined
      ? '-'
      : account.coordinatorSilenceMs === undefined
        ? 'none since its start'
        : `${duration(account.coordinatorSilenceMs)} ago`,
  ]);
  const seats = asked.flatMap(({ site, account }) =>
    (account?.seats ?? []).map((seat) => [
      seat.group,
      site,
      seat.quarantine === '' ? (roleName(seat.role) ?? '?') : `${roleName(seat.role) ?? '?'} (quarantine)`,
      String(seat.epoch),
      seat.epochOwner || '-',
      leaseCell(seat),
    ]),
  );
  seats.sort((one, other) => (`${one[0]} ${one[1]}` < `${other[0]} ${other[1]}` ? -1 : 1));
  return [
    "No coordinator answers. This is each site's own word: nobody has compared it, and nothing is planned or promoted.",
    table(['SITE', 'AGENT', 'ADDRESS', 'PARTITIONS', 'LAST COORDINATOR'], sites),
    ...(seats.length === 0 ? [] : [table(['GROUP', 'SITE', 'ROLE', 'EPOCH', 'EPOCH OWNER', 'LEASE'], seats)]),
    'Bring a coordinator back: docs/runbooks/coordinator-lost.md.',
  ].join('\n\n');
}
