/**
 * Decides which objects of a partition stay at this site. Orders bring the rules of the group. The rules of the site's
 * own configuration apply as well, and no order can lift them. Labels of objects never leave this file: a caller from
 * elsewhere gets counts and ids.
 */
import {
  type Handle,
  type HsmProvider,
  isExcluded,
  matchesByRule,
  type ObjectFilter,
  type ObservedObject,
} from '@antipode/hsm-core';
import { filterRules, type MatchFilterRequest, type MatchFilterResponseSchema } from '@antipode/protocol';
import { hex } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { PartitionSettings } from '../config.ts';
import type { Site } from '../site.ts';

/** These rules, and those of the partition's own configuration. */
export function withRulesOfSite(filter: ObjectFilter, { exclude }: Pick<PartitionSettings, 'exclude'>): ObjectFilter {
  if (exclude === undefined) return filter;
  const { ids, labels, classes, ignoreCase } = exclude;
  return {
    ...filter,
    ofSite: { excludeIds: ids, excludeLabels: labels, excludeClasses: classes, ignoreCase },
  };
}

/** A list for people; the count beside it is whole. */
const IDS_TOLD_MAX = 100;

/** Answers an operator elsewhere, who may know only counts and ids. */
export async function matchFilter(
  site: Site,
  { serial, filter, before }: MatchFilterRequest,
  signal?: AbortSignal,
): Promise<MessageInitShape<typeof MatchFilterResponseSchema>> {
  const partition = site.partitions.bySerial(serial);
  const objects = await partition.use(applicationObjects, signal);
  const rules = matchesByRule(objects, filterRules(filter));
  return {
    rules: rules.map(({ rule: { kind, value }, objects: matched }) => ({
      kind,
      rule: value,
      ...told(matched),
    })),
    ...(before === undefined
      ? {}
      : {
          change: changeBetween(
            objects,
            [before, filter].map((one) => withRulesOfSite(filterRules(one), partition.settings)),
          ),
        }),
  };
}

/** The objects that only one of the two filters keeps at this site. */
function changeBetween(objects: readonly ObservedObject[], filters: readonly ObjectFilter[]) {
  const [before, after] = filters as [ObjectFilter, ObjectFilter];
  const onlyBy = (one: ObjectFilter, other: ObjectFilter): ObservedObject[] =>
    objects.filter((object) => isExcluded(object, one) && !isExcluded(object, other));
  return { excluded: told(onlyBy(after, before)), included: told(onlyBy(before, after)) };
}

const told = (objects: readonly ObservedObject[]) => ({
  objects: objects.length,
  ckaIds: objects
    .map(({ attributes: { id } }) => hex(id ?? new Uint8Array()))
    .sort()
    .slice(0, IDS_TOLD_MAX),
});

/** All but our own keys. */
export async function applicationObjects({
  provider,
  keyring,
}: {
  readonly provider: Pick<HsmProvider, 'inventory'>;
  readonly keyring: { readonly ownHandles: ReadonlySet<Handle> };
}): Promise<ObservedObject[]> {
  return (await provider.inventory()).filter(({ handle }) => !keyring.ownHandles.has(handle));
}
