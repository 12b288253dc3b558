/** The effect of a list of revoked certificates: who is cut, and what each group loses. Read before it is brought in. */
import {
  type GetStatusResponse,
  type GroupState,
  parseIdentity,
  type Revocation,
  type RevocationList,
  revokedText,
} from '@antipode/protocol';

export interface RevocationPlan {
  readonly version: number;
  /** Entries that the list in force does not have, and those that only it has. */
  readonly added: readonly Revocation[];
  readonly removed: readonly Revocation[];
  /** Sites, coordinators, operators and applications that are refused from then on, as `site/b`. */
  readonly cut: readonly string[];
  /** For people, a sentence or two each. */
  readonly consequences: readonly string[];
}

const same = (one: Revocation, other: Revocation): boolean =>
  one.kind === other.kind && one.name === other.name && one.subject === other.subject;
const isUnchanged = (one: Revocation, other: Revocation): boolean =>
  same(one, other) && one.issuedBefore === other.issuedBefore;

/**
 * @param status of the coordinator that leads; undefined where none answers
 * @param own the identity of the one who asks
 */
export function revocationPlan(
  list: RevocationList,
  {
    inForce,
    status,
    own,
  }: { inForce: RevocationList | undefined; status: GetStatusResponse | undefined; own?: string },
): RevocationPlan {
  const before = inForce?.entries ?? [];
  const added = list.entries.filter((entry) => !before.some((one) => isUnchanged(one, entry)));
  const removed = before.filter((entry) => !list.entries.some((one) => isUnchanged(one, entry)));
  const names = [...new Set(added.flatMap(({ name }) => (parseIdentity(name) === undefined ? [] : [name])))];
  const cut = names.map((name) => name.split('/').slice(3).join('/'));
  return {
    version: list.version,
    added,
    removed,
    cut,
    consequences: [
      ...added.map((entry) => `Refused from then on: ${revokedText(entry)}. Reason: ${entry.reason}`),
      ...removed
        .filter((entry) => !list.entries.some((one) => same(one, entry)))
        .map((entry) => `NOT refused any more: ${revokedText(entry)}.`),
      ...(added.length + removed.length === 0 ? ['It changes nothing.'] : []),
      ...(own !== undefined && names.includes(own)
        ? ['This is your own certificate: your commands are refused too.']
        : []),
      ...added.filter(({ kind }) => kind === 'issuer').map(issuerText),
      ...cut.flatMap((peer) => consequencesOf(peer, status)),
      ...(cut.length > 0 && status === undefined
        ? ['No coordinator answers, so nobody can say which groups lose something.']
        : []),
    ],
  };
}

const issuerText = ({ name, subject }: Revocation): string =>
  `Every certificate that issuer ${name || subject.slice(-16)} has signed is refused, those of honest processes among them. Each of them needs a certificate of the authority or of another issuer. \`antipode certificate show\` says who issued a certificate.`;

function consequencesOf(peer: string, status: GetStatusResponse | undefined): string[] {
  const [kind, name = ''] = peer.split('/');
  switch (kind) {
    case 'site':
      return [
        `Site ${name} is cut off as if it were lost: no heartbeat, no order, no transfer, no vote. Its keys stay in its HSM, and revoking a certificate does not take them away.`,
        ...(status?.groups ?? []).flatMap((group) => groupText(name, group)),
      ];
    case 'coordinator':
      return [coordinatorText(name, status)];
    case 'operator':
      return [
        `Operator ${name} is refused everywhere, with every role. Signatures on approvals have keys of their own.`,
      ];
    default:
      return [`Application ${name} is refused everywhere. Its programs go on at the site where they are.`];
  }
}

function coordinatorText(name: string, status: GetStatusResponse | undefined): string {
  const others = (status?.coordinators ?? []).filter(({ coordinator }) => coordinator !== name);
  const next =
    status === undefined
      ? ''
      : others.length === 0
        ? ' There is no other coordinator: nobody leads until it has another certificate, and leases run out.'
        : ` Coordinator ${others.map(({ coordinator }) => coordinator).join(' or ')} leads then. Change the password of the database too.`;
  return `Coordinator ${name} is refused by every agent, operator and application.${next}`;
}

function groupText(site: string, { spec, members, witnesses, votingSites, activeSite, newest }: GroupState): string[] {
  const group = spec?.name ?? '';
  const own = members.find((member) => member.site === site);
  const isWitness = witnesses.some((witness) => witness.site === site);
  if (own === undefined && !isWitness) return [];
  const left = members.filter((member) => member.site !== site);
  const votes = `${votingSites - 1} of ${votingSites} votes are left, and a failover needs ${Math.floor(votingSites / 2) + 1}`;
  if (own === undefined) return [`Group ${group} loses a witness: ${votes}.`];
  if (activeSite !== site)
    return [
      `Group ${group} loses a standby: ${left.length} members are left, and ${votes}. The acknowledgements of site ${site} do not count while it is cut off.`,
    ];
  const [best = 0n] = left.map((member) => member.acknowledgedGeneration).sort((one, other) => (one < other ? 1 : -1));
  const behind = (newest?.generation ?? 0n) - best;
  const lost =
    behind > 0n
      ? `Generations up to ${newest?.generation} are there alone: ${behind} of them are lost to service.`
      : 'Everything that was captured is at another member.';
  return [
    `Group ${group} loses its ACTIVE member: it is not served until its lease has run out and another member is active. ${lost} Changes in its HSM since the last capture are nowhere else. ${votes[0]!.toUpperCase()}${votes.slice(1)}. If site ${site} can still be trusted for a minute, run \`antipode switchover ${group}\` first.`,
  ];
}

/** Whether an entry concerns what a person has named: an identity, or the first digits of a certificate. */
export function isNamed({ name, subject }: Revocation, what: string): boolean {
  const identity = parseIdentity(name);
  const short = identity === undefined ? name : `${identity.kind}/${identity.name}`;
  return what === name || what === short || (what.length >= 8 && subject.startsWith(what));
}
