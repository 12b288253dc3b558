/**
 * Which objects of a partition a group would protect, before or after there is one. A preview of a capture tells it: the
 * steps of a real capture, under the domain key of the partition, or under one that the token lends for the time of the
 * check. Nothing in the token changes, and nothing is stored.
 */
import {
  type HsmProvider,
  type Keyring,
  type ObjectFilter,
  type PreviewOptions,
  previewCapture,
  type UncapturedReason,
} from '@antipode/hsm-core';
import { type Clock, systemPrng } from '@antipode/runtime';
import type { PartitionSettings } from '../config.ts';
import { withRulesOfSite } from '../partition/object-filter.ts';
import type { Journal } from '../storage/journal/journal.ts';
import type { Seat } from '../storage/journal/tenure.ts';
import { type CommandPlace, usePartition } from './open-partition.ts';
import { NO_FILTER, rulesByHandle } from './partition-objects.ts';
import { makersOf, type Program } from './programs.ts';
import { type SiteObject, siteObject } from './site-object.ts';

export interface CheckedObject extends SiteObject {
  /** Whether a capture takes it. */
  readonly isProtected: boolean;
  readonly reason?: UncapturedReason;
  /** The rules of a filter that keep it at its site. */
  readonly rules?: readonly string[];
  /** Of an unextractable key: the programs that make such keys. One, where its names tell which. */
  readonly madeBy?: readonly Program[];
}

export interface PartitionCheck {
  readonly partition: string;
  /** The group that the partition is in. */
  readonly group?: string;
  /** Whether everything is protected that no rule keeps at its site. */
  readonly isProtected: boolean;
  readonly objects: readonly CheckedObject[];
}

/** The parts of an open partition that a check needs. */
export interface CheckedPartition {
  readonly settings: Pick<PartitionSettings, 'name' | 'exclude'>;
  readonly provider: HsmProvider;
  readonly keyring: Keyring | undefined;
  readonly seat: Seat | undefined;
  readonly journal: Journal;
  readonly clock: Clock;
}

/** `filter` is that of a group; without it, the one that the partition is captured with. @throws NOT_FOUND */
export function checkPartition(
  place: CommandPlace,
  { filter }: { filter?: ObjectFilter } = {},
): Promise<PartitionCheck> {
  return usePartition(place, (open) => checkOf(open, filter));
}

export async function checkOf(open: CheckedPartition, filter?: ObjectFilter): Promise<PartitionCheck> {
  const { settings, seat, provider, clock, journal } = open;
  const group = seat?.group;
  const ofGroup = group === undefined ? undefined : journal.decisions.filter(group);
  const rules = withRulesOfSite(filter ?? ofGroup ?? NO_FILTER, settings);
  const movement = group === undefined ? 'sealed' : journal.decisions.movement(group);
  const looking = { provider, clock, prng: systemPrng, epoch: 1n, previous: undefined, filter: rules, movement };
  const preview = await underDomainKey(open, (keys) => previewCapture({ ...looking, ...keys }));
  const all = preview.objects.map(({ object }) => object);
  const byRule = rulesByHandle(preview.objects, rules);
  const objects = preview.objects.map(({ object, reason }): CheckedObject => {
    const shown = siteObject(object);
    if (reason === undefined) return { ...shown, isProtected: true };
    const why = { ...shown, isProtected: false, reason };
    if (reason === 'excluded') return { ...why, rules: byRule.get(object.handle) ?? [] };
    return reason === 'unextractable' ? { ...why, madeBy: makersOf(object, all) } : why;
  });
  return {
    partition: settings.name,
    ...(group === undefined ? {} : { group }),
    isProtected: objects.every(({ isProtected, reason }) => isProtected || reason === 'excluded'),
    objects: objects.sort((a, b) => Number(a.isProtected) - Number(b.isProtected)),
  };
}

type Keys = Pick<PreviewOptions, 'keyring' | 'group' | 'domainKeyVersion'>;

/** The domain key in use, or a lent one. It is given back when the work has ended. */
async function underDomainKey<T>(
  { settings, seat, provider, keyring, journal }: CheckedPartition,
  work: (keys: Keys) => Promise<T>,
): Promise<T> {
  const [inUse] = seat === undefined || keyring === undefined ? [] : keyring.domainKeys(seat.group);
  if (seat !== undefined && keyring !== undefined && inUse !== undefined)
    return work({ keyring, group: seat.group, domainKeyVersion: inUse.version });
  // Before `partition init` has recorded an identity, an interrupted one may have left a key of ours.
  const ownHandles =
    keyring?.ownHandles ??
    new Set(await provider.findUnder(journal.identities.announced((await provider.describe()).serial)));
  const lent = { ...(await provider.lendDomainKey()), version: 1 };
  try {
    const lending = { ownHandles, domainKey: () => lent, domainKeys: () => [] };
    return await work({ keyring: lending, group: settings.name, domainKeyVersion: lent.version });
  } finally {
    await provider.forget([lent.handle]);
  }
}
