/** An operator's manual work on the partitions of a site, whether the agent runs or not. */
import {
  CKA_ID_BYTES,
  fingerprint,
  type HsmProvider,
  hasOfficerKey,
  hasReceivingKey,
  type IdentityRecord,
  initialiseIdentity,
  markedId,
  openKeyring,
  trustedKeyLabel,
} from '@antipode/hsm-core';
import { AntipodeError, hasCode, type Log, systemPrng } from '@antipode/runtime';
import { openForCommand } from '../commands/beside-agent.ts';
import type { AgentConfig, PartitionSettings } from '../config.ts';
import { type Pin, Pins } from '../peers/pins.ts';
import { Journal } from '../storage/journal/journal.ts';

export interface PartitionIdentity {
  readonly partition: string;
  readonly serial: string;
  readonly identitySha256: string;
  readonly isNew: boolean;
  /** Whether domain keys reach it under a key that the fingerprint covers too. */
  readonly hasReceivingKey: boolean;
  /** Whether its security officer can bring trusted keys into it. */
  readonly hasOfficerKey: boolean;
  /** The pin that the operators of other sites add for this partition. */
  readonly pin: Pin;
}

/** @throws NOT_FOUND */
export function partitionSettings(config: Pick<AgentConfig, 'site' | 'partitions'>, name: string): PartitionSettings {
  const found = config.partitions.find((partition) => partition.name === name);
  if (found !== undefined) return found;
  const known = config.partitions.map((partition) => partition.name).join(', ');
  throw new AntipodeError('NOT_FOUND', `site ${config.site} has no partition ${name}, expected one of: ${known}`, {
    details: { partition: name },
  });
}

/**
 * Makes the identity key of a partition, or proves the one that is there. Safe to repeat.
 * @throws IDENTITY_MISSING when the journal knows an identity key that the token does not have
 * @throws ALREADY_EXISTS when the token has another name already: by it, a scratch partition could be a member (I7)
 */
export async function initialisePartition({
  config,
  name,
  log,
  replaceLost = false,
}: {
  config: AgentConfig;
  name: string;
  log: Log;
  /** Makes another identity key where the one in the journal is not in the token any more. */
  replaceLost?: boolean;
}): Promise<PartitionIdentity> {
  const settings = partitionSettings(config, name);
  const journal = Journal.open(config.dataFolder, { site: config.site });
  try {
    const provider = await openForCommand(settings, { ...config, log });
    try {
      journal.siteName.claim(config.site);
      const known = journal.identities.of(name);
      const isLost = await openKeyringOf(provider, known).then(
        () => false,
        (thrown: unknown) => {
          if (!replaceLost || !hasCode(thrown, 'IDENTITY_MISSING')) throw thrown;
          return true;
        },
      );
      if (known !== undefined && !isLost) return describe(config, name, known, false);
      const { serial: found } = await provider.describe();
      // Compare the serial number, and look for the key too: a serial number from the configuration says nothing of the
      // token.
      let other: ReturnType<Journal['identities']['all']>[number] | undefined;
      for (const one of journal.identities.all()) {
        if (one.partition === name) continue;
        if (one.record.serial === found) other ??= one;
        // A token of identity keys may hold those of several partitions.
        else if (settings.identityPartition !== undefined) continue;
        else if ((await provider.findIdentity(one.record)) !== undefined) other ??= one;
      }
      if (other !== undefined)
        throw new AntipodeError(
          'ALREADY_EXISTS',
          `partition ${other.partition} is the token with serial ${other.record.serial}`,
          {
            details: { partition: other.partition, serial: other.record.serial },
            hint: `Check \`tokenLabel\` and \`serial\` of partition ${name} in the configuration: each name needs its own token. If ${other.partition} was renamed, keep the old name.`,
          },
        );
      const record = await initialiseIdentity({
        provider,
        prng: systemPrng,
        announce: (serial, ckaId) => journal.identities.announce(serial, ckaId),
        withReceivingKey: receivesDomainKeys(settings),
        withOfficerKey: settings.officerKey ?? false,
      });
      // The token may have been initialised again under its serial number, or restored from an older copy.
      if (isLost) journal.tenure.beginAnew(found);
      journal.identities.add(name, record);
      if (known !== undefined) await forgetReceivingKeys(provider, known);
      return describe(config, name, record, true);
    } finally {
      await provider.close();
    }
  } finally {
    journal.close();
  }
}

/**
 * Destroys the receiving keys of a lost identity. Nobody would own them, and captures would report them as objects that
 * they cannot capture.
 */
async function forgetReceivingKeys(provider: HsmProvider, { ckaId, publicHalf }: IdentityRecord): Promise<void> {
  const old = await provider.findReceivingKey({ ckaId, identity: publicHalf });
  if (old !== undefined) await provider.destroy([old.handle]);
  const officer = await provider.findOfficerKey({ ckaId, identity: publicHalf });
  if (officer !== undefined) await provider.destroy([officer.handle]);
}

/** A distributor makes domain keys in its session, and keeps none. */
export const receivesDomainKeys = ({ role, receivingKey = true }: PartitionSettings): boolean =>
  role !== 'distributor' && receivingKey;

/** The state of a partition before it is initialised, and what `initialisePartition` would do. */
export interface InitialisationPlan {
  readonly isInitialised: boolean;
  readonly tokenLabel: string;
  /** The token that gets the identity key, where it is another. */
  readonly identityTokenLabel: string | undefined;
  readonly makesReceivingKey: boolean;
  readonly makesOfficerKey: boolean;
  /** Whether the module has room for a token that keeps the identity key. */
  readonly hasFreeSlot: boolean;
}

export async function planInitialisation({
  config,
  name,
  log,
}: {
  config: AgentConfig;
  name: string;
  log: Log;
}): Promise<InitialisationPlan> {
  const settings = partitionSettings(config, name);
  const { tokenLabel } = settings;
  const identityTokenLabel = settings.identityPartition?.tokenLabel;
  const makesReceivingKey = receivesDomainKeys(settings);
  const makesOfficerKey = makesReceivingKey && (settings.officerKey ?? false);
  const known = { tokenLabel, identityTokenLabel, makesReceivingKey, makesOfficerKey };
  const journal = Journal.open(config.dataFolder, { site: config.site });
  try {
    if (journal.identities.of(name) !== undefined) return { isInitialised: true, ...known, hasFreeSlot: false };
  } finally {
    journal.close();
  }
  const provider = await openForCommand(settings, { ...config, log });
  try {
    const { freeSlots } = await provider.describe();
    return { isInitialised: false, ...known, hasFreeSlot: freeSlots > 0 };
  } finally {
    await provider.close();
  }
}

export interface TrustedVersion {
  readonly group: string;
  readonly version: number;
}

/** Trusted keys that wait for the security officer, and whether he can bring them in at all. @throws IDENTITY_MISSING */
export function planTrust(config: AgentConfig, name: string): { serial: string; waiting: TrustedVersion[] } {
  const { serial, hasOfficerKey: canTrust } = showIdentity(config, name);
  if (!canTrust)
    throw new AntipodeError('IDENTITY_MISSING', `partition ${name} has no officer key`, {
      details: { partition: name },
      hint: `Set \`officerKey: true\` of partition ${name} before \`antipode partition init\`. An initialised partition needs a new identity, and every other site must trust it again. A token that does not enforce CKA_WRAP_WITH_TRUSTED gets no officer key.`,
    });
  const journal = Journal.open(config.dataFolder, { site: config.site });
  try {
    return { serial, waiting: journal.domainKeys.delivered(serial).map(({ group, version }) => ({ group, version })) };
  } finally {
    journal.close();
  }
}

/**
 * The security officer's step: brings delivered trusted keys into the token, in a worker of its own. Safe to repeat.
 * The agent may run: it reads its own keys again with the next order.
 * @throws PIN_REFUSED, PIN_LOCKED, IDENTITY_MISSING
 */
export async function trustDomainKeys({
  config,
  name,
  officerPinFile,
  log,
}: {
  config: AgentConfig;
  name: string;
  officerPinFile: string;
  log: Log;
}): Promise<TrustedVersion[]> {
  const { serial, waiting } = planTrust(config, name);
  if (waiting.length === 0) return [];
  const journal = Journal.open(config.dataFolder, { site: config.site });
  try {
    const identity = journal.identities.of(name)!;
    const provider = await openForCommand(partitionSettings(config, name), { ...config, serial, log });
    try {
      const records = journal.domainKeys.delivered(serial);
      const deliveries = records.map((record) => {
        const label = trustedKeyLabel(record);
        const ckaId = markedId({ identityId: identity.ckaId, label, random: systemPrng.bytes(CKA_ID_BYTES) });
        journal.identities.announce(serial, ckaId);
        return { sealed: record.sealed, ckaId, label };
      });
      const tags = await provider.trustKeys({ identity, officerPinFile, deliveries });
      for (const [index, { group, version }] of records.entries())
        journal.domainKeys.addTrusted(serial, {
          group,
          version,
          ckaId: deliveries[index]!.ckaId,
          checkTag: tags[index]!,
        });
      return records.map(({ group, version }) => ({ group, version }));
    } finally {
      await provider.close();
    }
  } finally {
    journal.close();
  }
}

async function openKeyringOf(provider: HsmProvider, identity: IdentityRecord | undefined): Promise<void> {
  if (identity !== undefined) await openKeyring({ provider, identity, domainKeys: [], announced: [] });
}

/** Groups in which the journal has a seat. */
export function seatedGroups(dataFolder: string): string[] {
  const journal = Journal.open(dataFolder);
  try {
    return journal.tenure.seats().map(({ group }) => group);
  } finally {
    journal.close();
  }
}

/** The partition of this site that is a member of a group. @throws NOT_FOUND */
export function seatedPartition(
  { dataFolder, partitions }: AgentConfig,
  group: string,
): { name: string; serial: string } {
  const journal = Journal.open(dataFolder);
  try {
    const seat = journal.tenure.seat(group);
    const found = partitions.find(({ name }) => journal.identities.of(name)?.serial === seat?.serial);
    if (seat !== undefined && found !== undefined) return { name: found.name, serial: seat.serial };
    const others = journal.tenure.seats().map((one) => one.group);
    throw new AntipodeError('NOT_FOUND', `no partition of this site is a member of group ${group}`, {
      details: { group },
      hint: others.length === 0 ? 'This site is in no group yet.' : `This site is a member of: ${others.join(', ')}.`,
    });
  } finally {
    journal.close();
  }
}

/** @throws IDENTITY_MISSING */
export function showIdentity(config: AgentConfig, name: string): PartitionIdentity {
  partitionSettings(config, name);
  const journal = Journal.open(config.dataFolder, { site: config.site });
  try {
    const record = journal.identities.of(name);
    if (record === undefined)
      throw new AntipodeError('IDENTITY_MISSING', `partition ${name} has not been initialised`, {
        details: { partition: name },
        hint: `Run \`antipode partition init ${name}\` at this site. It makes the identity key.`,
      });
    return describe(config, name, record, false);
  } finally {
    journal.close();
  }
}

/** Trusts partitions of other sites for a group. Safe to repeat; returns how many are new. @throws ALREADY_EXISTS */
export function pinPartitions({
  config,
  group,
  pins,
}: {
  config: AgentConfig;
  group: string;
  pins: readonly Pin[];
}): number {
  // The journal knows our own identities, and a pin of them could only disagree with it. A distributor is the
  // exception: only its pin says which groups it serves.
  return new Pins(config.pinsFile).add(
    group,
    pins.filter(({ site, role }) => site !== config.site || role === 'distributor'),
  );
}

function describe(
  config: AgentConfig,
  partition: string,
  { serial, publicHalf }: IdentityRecord,
  isNew: boolean,
): PartitionIdentity {
  const { role } = partitionSettings(config, partition);
  const identity = fingerprint(publicHalf);
  const pin = { site: config.site, serial, identity, role };
  return {
    partition,
    serial,
    identitySha256: identity,
    isNew,
    hasReceivingKey: hasReceivingKey(publicHalf),
    hasOfficerKey: hasOfficerKey(publicHalf),
    pin,
  };
}
