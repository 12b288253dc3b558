/** Which objects of a partition each rule of a filter keeps at its site, by their names: for the people of the site. */
import { matchesByRule, type ObjectFilter } from '@antipode/hsm-core';
import { applicationObjects, withRulesOfSite } from '../partition/object-filter.ts';
import { type CommandPlace, usePartition } from './open-partition.ts';
import { NO_FILTER } from './partition-objects.ts';
import { type SiteObject, siteObject } from './site-object.ts';

export interface LocalRuleMatch {
  readonly kind: string;
  readonly rule: string;
  readonly objects: readonly SiteObject[];
}

/**
 * The rules of the site's own configuration are counted too. Without a filter, the rules are those that the partition is
 * captured with. @throws IDENTITY_MISSING when the partition is initialised and changed
 */
export function matchLocally(place: CommandPlace, filter?: ObjectFilter): Promise<LocalRuleMatch[]> {
  return usePartition(place, async ({ settings, provider, keyring, seat, journal }) => {
    const ofGroup = seat === undefined ? undefined : journal.decisions.filter(seat.group);
    const objects = await applicationObjects({ provider, keyring: keyring ?? { ownHandles: new Set<bigint>() } });
    const rules = withRulesOfSite(filter ?? ofGroup ?? NO_FILTER, settings);
    return matchesByRule(objects, rules).map(({ rule, objects: matched }) => ({
      kind: rule.kind,
      rule: rule.value,
      objects: matched.map((object) => siteObject(object)),
    }));
  });
}
