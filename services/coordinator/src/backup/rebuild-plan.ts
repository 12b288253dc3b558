/**
 * Plans how a coordinator without a database adopts the groups of its sites, by their own word. Pure.
 *
 * An epoch comes into force only when a majority of the voting sites has persisted it (design 7). So the epoch and owner
 * that a majority reports are those in force, whatever a minority says. Without such a majority nothing is adopted: a
 * site that is silent may know a later one. The exception is a group in which no majority can do without the sites that
 * report: then they know every epoch that came into force. Nobody is made active who was not (I1).
 *
 * Agents may lie. A seat counts if other members trust that partition by their own pins. A number counts if a second
 * site comes near to it.
 */
import {
  filterRules,
  type GenerationRef,
  MemberRole,
  type MovementName,
  movementName,
  roleName,
} from '@antipode/protocol';
import { majorityOf, type Role, type Seat } from '../model.ts';
import { EPOCH_JUMP_MAX } from '../operations/failover/plan.ts';
import {
  type Claim,
  claimsOf,
  filterOf,
  type Heard,
  highestBelievable,
  isElsewhere,
  isQuarantined,
  orderedBy,
  pinned,
  stopsOnLeaseLapse,
  type ToldVault,
  vaultsOf,
} from './told-groups.ts';

export interface AdoptedMember extends Seat {
  readonly role: Role;
  /** Its own word; undefined for a member that does not answer. */
  readonly told: { readonly epoch: bigint; readonly owner: string; readonly role: string } | undefined;
}

export interface Adoption {
  readonly group: string;
  readonly epoch: bigint;
  readonly owner: string;
  /** Whether it answers, and says itself that it is active. */
  readonly isOwnerHeard: boolean;
  readonly members: readonly AdoptedMember[];
  readonly scratch: readonly Seat[];
  readonly distributor: Seat | undefined;
  readonly filter: ReturnType<typeof filterRules>;
  readonly movement: MovementName | undefined;
  readonly onLeaseLapse: 'stop-serving' | undefined;
  /** The sites that may keep the active member alive without a coordinator. All of them, or more than there are. */
  readonly vouchers: readonly string[];
  /** Sites that are lost for good by the word of the operator. Without them there is no majority. */
  readonly lost: readonly string[];
  /** Vaults that may have been archives of the group. None of them is adopted. */
  readonly vaults: readonly ToldVault[];
  readonly highestNumber: bigint;
  readonly domainKeyVersion: number;
  readonly highestVersion: number;
  readonly refs: readonly GenerationRef[];
  readonly leftOut: readonly LeftOut[];
}

export interface LeftOut {
  readonly site: string;
  readonly reason: string;
}

export type GroupPlan =
  | ({ readonly verdict: 'adopt' } & Adoption)
  | {
      readonly verdict: 'undecided';
      readonly group: string;
      readonly reason: string;
      readonly leftOut: readonly LeftOut[];
    };

export interface RebuildOptions {
  /** Sites that are not believed, and do not count. */
  readonly without: readonly string[];
  /** Groups of which the operator says that they have no filter. */
  readonly unfiltered: readonly string[];
  /** Groups of which the operator says that every voting site is named. */
  readonly allNamed: readonly string[];
  /** Sites that vote without a seat, as the operator knows. */
  readonly witnesses: readonly string[];
  /** Sites of which the operator says that they are lost for good. */
  readonly lost: readonly string[];
}

/** Numbers are given out one by one. */
const NUMBER_JUMP_MAX = 1_000_000n;
const VERSION_JUMP_MAX = 1_000n;
/** A member that does not answer may have captured that many since. */
const SILENT_NUMBERS = 1_000n;

export function planRebuild(all: readonly Heard[], options: RebuildOptions): GroupPlan[] {
  const { without, unfiltered, allNamed, witnesses, lost } = options;
  // A site that is named twice has one vote.
  const heard = all.filter(
    ({ site }, at) => !without.includes(site) && all.findIndex((one) => one.site === site) === at,
  );
  const names = new Set(heard.flatMap(({ account }) => account?.members.map(({ group }) => group) ?? []));
  const plans = [...names].map((group) =>
    planGroup(group, heard, {
      without,
      known: witnesses,
      lost,
      isUnfiltered: unfiltered.includes(group),
      areAllNamed: allNamed.includes(group),
    }),
  );
  return withoutSharedSeats(plans).sort((one, other) => (one.group < other.group ? -1 : 1));
}

/** A partition is a member of one group only. The group that more sites confirm has it. */
function withoutSharedSeats(plans: readonly GroupPlan[]): GroupPlan[] {
  const sizeOf = (plan: GroupPlan): number => (plan.verdict === 'adopt' ? plan.members.length : 0);
  const taken = new Map<string, string>();
  return [...plans]
    .sort((one, other) => sizeOf(other) - sizeOf(one))
    .map((plan): GroupPlan => {
      if (plan.verdict !== 'adopt') return plan;
      const shared = plan.members.find(({ serial }) => taken.has(serial));
      for (const { serial } of plan.members) if (!taken.has(serial)) taken.set(serial, plan.group);
      if (shared === undefined) return plan;
      const { site, serial } = shared;
      const reason = `partition ${serial} of site ${site} is a member of group ${taken.get(serial)} as well`;
      return { verdict: 'undecided', group: plan.group, reason, leftOut: plan.leftOut };
    });
}

interface GroupOptions {
  readonly without: readonly string[];
  /** Witnesses. */
  readonly known: readonly string[];
  readonly lost: readonly string[];
  readonly isUnfiltered: boolean;
  readonly areAllNamed: boolean;
}

function planGroup(
  group: string,
  heard: readonly Heard[],
  { without, known, lost, isUnfiltered, areAllNamed }: GroupOptions,
): GroupPlan {
  const leftOut: LeftOut[] = [];
  const undecided = (reason: string): GroupPlan => ({ verdict: 'undecided', group, reason, leftOut });
  const claims = claimsOf(group, heard);
  const mute = claims.filter(({ told }) => told === undefined).map(({ site }) => site);
  if (mute.length > 0)
    return undecided(`the agent of site ${mute.join(', ')} does not tell what it knows of the group: upgrade it`);
  const members = claims.filter((claim) => {
    const others = claims.filter(({ site }) => site !== claim.site);
    const count = pinned(others, 'member', claim);
    const isTrusted = others.length === 0 ? !isElsewhere(claim, heard) : count > 0 && count * 2 >= others.length;
    if (!isTrusted)
      leftOut.push({
        site: claim.site,
        reason: 'it says that it has a seat, and the others do not trust its partition',
      });
    return isTrusted;
  });
  // Where as many say the one thing as the other, the one that is left out may be the honest one.
  if (members.length * 2 <= claims.length)
    return undecided(
      `the sites do not agree on the members: ${leftOut.map(({ site }) => site).join(', ')} claims a seat, and the others do not trust it`,
    );
  /** By everybody's pins, but not by those of a single site. */
  const trustedBy = (role: string): Seat[] => {
    const seats = new Map(
      members.flatMap(({ told }) =>
        (told?.trusted ?? [])
          .filter((one) => one.role === role)
          .map(({ site, serial }) => [`${site} ${serial}`, { site, serial }]),
      ),
    );
    return [...seats.values()].filter((seat) => {
      const others = members.filter(({ site }) => site !== seat.site);
      return pinned(others, role, seat) * 2 >= Math.max(1, others.length);
    });
  };
  const trusted = (role: string): Seat[] => trustedBy(role).filter(({ site }) => !without.includes(site));
  // A member that the operator leaves out has no word, and its vote is missing: it may know a later epoch.
  const excluded = new Set(trustedBy('member').flatMap(({ site }) => (without.includes(site) ? [site] : [])));
  for (const site of excluded) leftOut.push({ site, reason: 'by --without; its vote is missing' });
  const absent = trusted('member').filter(({ site }) => !members.some((one) => one.site === site));
  const answering = new Set(heard.flatMap(({ site, account }) => (account === undefined ? [] : [site])));
  for (const { site } of absent)
    if (answering.has(site) && !leftOut.some((one) => one.site === site))
      leftOut.push({ site, reason: 'the others trust its partition, and it says that it has no seat' });
  const silent = absent.filter(({ site }) => !answering.has(site));
  // A site without a seat may be a witness: it votes if it has persisted an epoch, and may do so if it does not answer.
  const seated = new Set([...members, ...absent].map(({ site }) => site));
  const vouchers = new Set(members.flatMap(({ told }) => told?.vouchers ?? []).filter((one) => !without.includes(one)));
  const bystanders = heard.filter(({ site }) => !seated.has(site) && !leftOut.some((one) => one.site === site));
  const witnesses = bystanders.filter(({ account }) => account?.witnessed.some((one) => one.group === group));
  const unheard = [
    ...bystanders.flatMap(({ site, account }) => (account === undefined ? [site] : [])),
    ...[...vouchers].filter((site) => !seated.has(site) && !heard.some((one) => one.site === site)),
  ];
  const voters = seated.size + excluded.size + witnesses.length + unheard.length;
  // A journal that is an older copy does not know what it has persisted since. Anybody can say that it is a witness, so
  // another one must confirm that.
  const reports = [
    ...members.filter((one) => !one.isQuarantined).map(({ seat }) => ({ epoch: seat.epoch, owner: seat.epochOwner })),
    ...witnesses
      .filter(({ site, account }) => !isQuarantined(account, group) && (known.includes(site) || vouchers.has(site)))
      .flatMap(({ account }) => account?.witnessed.find((one) => one.group === group) ?? []),
  ];
  const byMajority = reports.find(
    ({ epoch, owner }) =>
      reports.filter((one) => one.epoch === epoch && one.owner === owner).length >= majorityOf(voters),
  );
  const missing = [...silent.map(({ site }) => site), ...unheard];
  const agreed = byMajority ?? agreedByTheLast(reports, { voters, missing, lost });
  if (agreed === undefined || agreed.epoch === 0n) {
    const said = [...new Set(reports.map(({ epoch, owner }) => `epoch ${epoch} of ${owner || 'nobody'}`))].join(', ');
    const absentees = [
      ...(missing.length === 0 ? [] : [`site ${missing.join(', ')} does not answer`]),
      ...(excluded.size === 0 ? [] : [`member ${[...excluded].join(', ')} is left out`]),
    ];
    return undecided(
      `no epoch is reported by ${majorityOf(voters)} of ${voters} voting sites (${[said, ...absentees].filter(Boolean).join('; ')})`,
    );
  }
  const { epoch, owner } = agreed;
  const kept = members.filter(({ site, seat }) => {
    const isBelievable = seat.epoch <= epoch + EPOCH_JUMP_MAX;
    if (!isBelievable)
      leftOut.push({ site, reason: `it reports epoch ${seat.epoch}, which no sound journal can have reached` });
    return isBelievable;
  });
  const own = kept.find(({ site }) => site === owner);
  if (own !== undefined && (own.seat.role !== MemberRole.ACTIVE || own.seat.epoch !== epoch))
    return undecided(
      `epoch ${epoch} was given to site ${owner}, which says that it is not active: a failover had begun`,
    );
  if (own === undefined && byMajority === undefined)
    return undecided(
      `epoch ${epoch} is of site ${owner}, which is lost, and nobody who is left tells whether it came into force`,
    );
  if (own === undefined && !silent.some(({ site }) => site === owner))
    return undecided(`epoch ${epoch} is of site ${owner}, which is not a member by the word of the others`);
  const twice = silent.find(({ site }, at) => silent.findIndex((one) => one.site === site) !== at);
  if (twice !== undefined)
    return undecided(`site ${twice.site} does not answer, and is trusted with several partitions`);
  const supporters = kept.filter(
    ({ seat, isQuarantined: isOlder }) => !isOlder && seat.epoch === epoch && seat.epochOwner === owner,
  );
  // A witness that nobody names could have voted for a silent member. The owner of a later epoch knows it, if it answers.
  const areVotersKnown = supporters.some(({ site, told }) => site === owner && (told?.vouchers.length ?? 0) > 0);
  const unknown = [...silent.map(({ site }) => site), ...excluded];
  if (unknown.length > 0 && !areVotersKnown && !areAllNamed)
    return undecided(
      `the word of member ${unknown.join(', ')} is missing, and no site tells which sites vote: a witness that is not named could have voted for a later epoch`,
    );
  const filter = filterOf(own, supporters);
  if (filter === undefined && !isUnfiltered)
    return undecided('no site that answers knows its filter, and objects that leave their site cannot be called back');
  const refsOf = ({ seat }: Claim) =>
    [seat.captured, seat.applied].filter((ref) => ref !== undefined).filter((ref) => ref.epoch <= epoch);
  const refs = supporters.flatMap(refsOf);
  // One number for each site: two of one site would vouch for each other.
  const numbers = supporters.map((claim) => ascending(refsOf(claim).map(({ generation }) => generation)).at(-1) ?? 0n);
  const highestNumber = highestBelievable(numbers, NUMBER_JUMP_MAX);
  const versions = supporters.map(({ seat }) => BigInt(seat.domainKeyVersion));
  const highestVersion = Number(highestBelievable(versions, VERSION_JUMP_MAX));
  const roleOf = (site: string, isSilent: boolean): Role =>
    site === owner ? 'active' : isSilent ? 'fenced' : 'standby';
  const seats = [...kept, ...silent];
  return {
    verdict: 'adopt',
    group,
    epoch,
    owner,
    isOwnerHeard: own !== undefined,
    members: [
      ...kept.map(({ site, serial, seat }) => ({
        site,
        serial,
        role: roleOf(site, seat.role === MemberRole.FENCED),
        told: { epoch: seat.epoch, owner: seat.epochOwner, role: roleName(seat.role) ?? 'unknown' },
      })),
      ...silent.map((seat) => ({ ...seat, role: roleOf(seat.site, true), told: undefined })),
    ],
    scratch: trusted('scratch'),
    distributor: trusted('distributor')[0],
    filter: filter ?? filterRules(undefined),
    movement: movementName(orderedBy(own, supporters)?.movement),
    onLeaseLapse: stopsOnLeaseLapse(own, supporters) ? 'stop-serving' : undefined,
    vouchers: [...new Set([...seats.map(({ site }) => site), ...vouchers])].filter((site) => site !== owner).sort(),
    lost: byMajority === undefined ? missing.sort() : [],
    vaults: vaultsOf(group, heard, seats),
    highestNumber: highestNumber + (unknown.length > 0 ? SILENT_NUMBERS : 0n),
    domainKeyVersion: Number(ascending(versions)[0] ?? 0n),
    highestVersion,
    refs: refs.filter(({ generation }) => generation <= highestNumber),
    leftOut,
  };
}

/**
 * The epoch that all reporting sites name, where every other voter is lost and no majority can form among the lost ones.
 * A later epoch in force would be persisted at a site that reports. Whether this one came into force is for its owner to
 * say.
 */
function agreedByTheLast(
  reports: readonly { readonly epoch: bigint; readonly owner: string }[],
  { voters, missing, lost }: { voters: number; missing: readonly string[]; lost: readonly string[] },
): { readonly epoch: bigint; readonly owner: string } | undefined {
  const others = voters - reports.length;
  const areLost = missing.length === others && missing.every((site) => lost.includes(site));
  if (!areLost || others >= majorityOf(voters)) return undefined;
  const [first] = reports;
  return reports.every(({ epoch, owner }) => epoch === first?.epoch && owner === first.owner) ? first : undefined;
}

const ascending = (values: readonly bigint[]): bigint[] => [...values].sort((one, other) => (one < other ? -1 : 1));
