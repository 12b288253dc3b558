/**
 * Plans how to reseat a group from what each of its members reports. Pure: first shown to an operator, then carried
 * out.
 */

import { isNewer } from '@antipode/protocol';
import { activeOf, type Group, majorityOf, votersOf } from '../../model.ts';
import { EPOCH_JUMP_MAX } from '../failover/plan.ts';

export interface Held {
  readonly epoch: bigint;
  readonly number: bigint;
  readonly manifestDigest: string;
}

/** A member's report about itself. */
export interface Account {
  readonly site: string;
  readonly serial: string;
  /** `none` if its journal knows of no seat. */
  readonly role: 'active' | 'standby' | 'fenced' | 'none';
  readonly epoch: bigint;
  readonly epochOwner: string;
  /** Captured or applied there. */
  readonly newest: Held | undefined;
  /** The highest version of the domain key in its partition; 0 for none. */
  readonly domainKeyVersion: number;
  readonly quarantine: string | undefined;
  /** Whether its agent knows the partition. An agent that has lost its journal can have forgotten it. */
  readonly hasPartition: boolean;
}

/** More versions than any group has in the time between two backups. */
const VERSION_JUMP_MAX = 1_000;

export type ReseatPlan =
  | { readonly obstacle: string }
  | {
      readonly obstacle?: undefined;
      /** `tenure`: a new one for everybody. `members`: those in quarantine, in the tenure that is in force. `failover`: nobody
       * is active, so the highest epoch is recorded and the failover that was under way is taken up. */
      readonly kind: 'tenure' | 'members' | 'failover';
      readonly active: string;
      readonly epoch: bigint;
      readonly owner: string;
      readonly seats: readonly Account[];
      /** Claims that this rests on and that nobody else confirms, in words for people. Absent for none. */
      readonly doubts?: readonly string[];
    };

/** A witness that answers. */
export interface WitnessAccount {
  readonly site: string;
  /** The highest epoch that it has persisted, and its owner; 0 for none. */
  readonly epoch: bigint;
  readonly epochOwner: string;
  readonly quarantine: string | undefined;
}

/**
 * @param options.wanted the site that an operator names; empty for the one that the journals name
 * @param options.isContradicted whether database and journals contradict each other; if not, only quarantined members
 * move
 * @param options.isIssued whether this reseat has issued the highest epoch already, which is not in force yet
 */
export function planReseat(
  group: Group,
  accounts: readonly Account[],
  {
    wanted,
    isContradicted,
    isIssued = false,
    witnesses = [],
  }: { wanted: string; isContradicted: boolean; isIssued?: boolean; witnesses?: readonly WitnessAccount[] },
): ReseatPlan {
  const voters = votersOf(group);
  const quorum = majorityOf(voters);
  const inflated = accounts.find(({ domainKeyVersion: one }) => one > group.highestVersion + VERSION_JUMP_MAX);
  if (inflated !== undefined)
    return {
      obstacle: `site ${inflated.site} reports version ${inflated.domainKeyVersion} of the domain key, which no sound partition can hold: the highest in the database is ${group.highestVersion}`,
    };
  const isBelievable = ({ epoch }: { readonly epoch: bigint }): boolean => epoch <= group.highestEpoch + EPOCH_JUMP_MAX;
  const honest = accounts.filter(isBelievable);
  const [liar] = [...accounts, ...witnesses].filter((account) => !isBelievable(account));
  if (liar !== undefined)
    return {
      obstacle: `site ${liar.site} reports epoch ${liar.epoch}, which no sound journal can have reached: the highest in the database is ${group.highestEpoch}`,
    };
  const quarantined = honest.filter(({ quarantine }) => quarantine !== undefined);
  if (isIssued && !isContradicted) {
    // Its owner was chosen when it was issued. By now the epoch itself may have ended the owner's tenure in its journal.
    const { highestEpoch: epoch, highestOwner: owner } = group;
    if (!honest.some(({ site }) => site === owner))
      return { obstacle: `site ${owner} does not answer, and epoch ${epoch} was issued to it` };
    return { kind: 'tenure', active: owner, epoch, owner, seats: honest };
  }
  if (!isContradicted) {
    if (quarantined.length === 0 && witnesses.every(({ quarantine }) => quarantine === undefined))
      return { obstacle: 'database and journals agree, and no member or witness is in quarantine' };
    if (wanted !== '' && wanted !== group.owner)
      return {
        obstacle: `site ${group.owner} is active; \`antipode failover ${group.spec.name} --to ${wanted}\` moves the group`,
      };
    // A failover that waits for their votes has issued the next epoch, and they have persisted it.
    const { highestEpoch: epoch, highestOwner: owner } = group;
    return { kind: 'members', active: group.owner, epoch, owner, seats: quarantined };
  }
  const votes = honest.length + witnesses.length;
  if (votes < quorum)
    return { obstacle: `only ${votes} of ${voters} voting sites answer; a new epoch needs a majority` };
  let highest = group.highestEpoch;
  let highestOwner = group.highestOwner;
  for (const { epoch, epochOwner } of [...honest, ...witnesses])
    if (epoch > highest) [highest, highestOwner] = [epoch, epochOwner];
  const claimants = honest.filter(({ site, role, epochOwner }) => role === 'active' && epochOwner === site);
  const claimant = claimants.reduce<Account | undefined>(
    (best, one) => (best === undefined || one.epoch > best.epoch ? one : best),
    undefined,
  );
  const doubtOf = claimCheck(group, [...honest, ...witnesses]);
  const doubt = claimant && doubtOf(claimant);
  if (wanted === '' && claimant !== undefined && doubt?.isRefuted === true)
    return {
      obstacle: `${doubt.text} Find out which of them is wrong. Then name the active site with --active, or stop the agent of site ${claimant.site} and repeat the command`,
    };
  // A person who names another one has looked.
  const believed = claimants.filter((one) => doubt?.isRefuted === true && doubtOf(one)?.isRefuted !== true);
  const recorded = activeOf(group)?.site;
  const byDatabase = honest.find(({ site, quarantine }) => site === recorded && quarantine !== undefined);
  const active = wanted === '' ? (claimant ?? byDatabase) : honest.find(({ site }) => site === wanted);
  if (wanted !== '' && active === undefined) return { obstacle: `site ${wanted} does not answer, or has no seat` };
  if (active !== undefined && active !== claimant && active !== byDatabase && !believed.includes(active))
    return {
      obstacle: `site ${active.site} was active neither by its journal nor by the database: reseat the group without --active first, then run \`antipode failover ${group.spec.name} --to ${active.site}\``,
    };
  if (active?.hasPartition === false)
    return {
      obstacle: `the journal of site ${active.site} no longer knows the partition: \`antipode failover ${group.spec.name}\` moves the group to a standby, and the partition must be initialised and trusted again`,
    };
  if (active === undefined) return { kind: 'failover', active: '', epoch: highest, owner: highestOwner, seats: [] };
  return {
    kind: 'tenure',
    active: active.site,
    epoch: highest + 1n,
    owner: active.site,
    seats: honest,
    ...doubtsOf(doubtOf(active)),
  };
}

const doubtsOf = (doubt: Doubt | undefined) => (doubt === undefined ? {} : { doubts: [doubt.text] });

interface Doubt {
  readonly text: string;
  /** It cannot be true, if those who deny it are sound. */
  readonly isRefuted: boolean;
}

/**
 * An agent may lie about its role, or run on the folder of another system. A claim about an epoch that the database knows
 * needs no proof. Any other epoch was in force only if most voting sites had persisted it. So a claim is refuted where too
 * many of them answer and have not. A site in quarantine refutes nothing, since it may have forgotten. With two voting
 * sites a person may have replaced the vote of the other one.
 */
function claimCheck(
  group: Group,
  answers: readonly Pick<Account, 'site' | 'epoch' | 'epochOwner' | 'quarantine'>[],
): (claim: Account) => Doubt | undefined {
  const voters = votersOf(group);
  const mayLack = voters - (voters === 2 ? 1 : majorityOf(voters));
  return ({ site, role, epoch, epochOwner }) => {
    const isOnRecord =
      epoch < group.highestEpoch || (epoch === group.highestEpoch && epochOwner === group.highestOwner);
    if (role !== 'active' || isOnRecord) return undefined;
    const others = answers.filter((one) => one.site !== site && one.quarantine === undefined);
    const denying = others.filter((one) => one.epoch < epoch || (one.epoch === epoch && one.epochOwner !== epochOwner));
    if (denying.length < others.length && denying.length <= mayLack) return undefined;
    const claims = `Site ${site} says that it is active in epoch ${epoch}.`;
    return denying.length > mayLack
      ? {
          isRefuted: true,
          text: `${claims} Sites ${denying.map((one) => one.site).join(', ')} have not persisted that epoch, and no epoch is in force without a majority.`,
        }
      : {
          isRefuted: false,
          text: `${claims} No other site that answers has persisted that epoch, so nobody confirms it.`,
        };
  };
}

/** Generations that a member is known to have held and its own journal does not know, newest first. */
export function missedBy(
  { site, newest }: Pick<Account, 'site' | 'newest'>,
  recorded: readonly (Held & { readonly site: string })[],
): Held[] {
  const missed = new Map<string, Held>();
  for (const { site: holder, epoch, number, manifestDigest } of recorded)
    if (holder === site && isNewer({ epoch, number }, newest))
      missed.set(manifestDigest, { epoch, number, manifestDigest });
  return [...missed.values()].sort((one, other) => (isNewer(one, other) ? -1 : 1));
}
